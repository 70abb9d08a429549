"""What a list of subscribers says, before anything of it is imported."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mailer.domain.section_parser import SectionParser
from mailer.domain.subscriber_csv import CsvSubscribers, RejectedRow, SubscriberCsv
from mailer.services.subscribers.csv_import import Progress, load_newsletter, open_list
from mailer.services.subscribers.staff_changes import SubscriberChange, compare
from mailer.store.database import Database

_CHUNK_LINES = 5_000
_SAMPLE_LINES = 8
_SHOWN_REJECTS = 8
_SHOWN_CHANGES = 20
_SHOWN_VALUES = 20
_MAX_CELL_CHARS = 80


@dataclass(slots=True)
class ListSummary:
    """How a list was understood. Everything in it is text or a number, so that it can be kept as JSON."""

    columns: list[str] = field(default_factory=list)
    """As the file names them."""
    lines: int = 0
    """Without blank ones; the sum of the next three counts."""
    new: int = 0
    """Of people who do not get this newsletter. Some may have left it, or be suppressed: they are not added."""
    known: int = 0
    rejected: int = 0
    changed: int = 0
    """Those known for whom the list has other preferences."""
    languages: list[tuple[str, int]] = field(default_factory=list)
    """The first language of each line, the most frequent first; empty for none."""
    sources: list[tuple[str, int]] = field(default_factory=list)
    """The evidence of consent, the most frequent first."""
    first_consent: str = ""
    last_consent: str = ""
    """Days."""
    sample: list[dict[str, str]] = field(default_factory=list)
    """Some lines, as they were understood."""
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    """Line number, reason and address of some rejected lines."""
    changes: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=list)
    """Address, and preference before and after, of some whom the list would change."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(
    database: Database,
    source: Path,
    slug: str,
    *,
    hmac_pads: tuple[bytes, bytes],
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> ListSummary:
    """Return how a list is understood. Nothing is written. Raises ImportRefused and NewsletterNotFound."""
    newsletter, names = load_newsletter(database, slug)
    sections = SectionParser(names)
    summary = ListSummary()
    languages: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    days: set[datetime] = set()
    with open_list(source) as (file, text, size):
        layout = SubscriberCsv(text, names, now)
        summary.columns = [column[:_MAX_CELL_CHARS] for column in layout.columns if column]
        for good, bad in layout.read(text, _CHUNK_LINES):
            known, changes = compare(database, newsletter, sections, good, hmac_pads)
            summary.known += known
            summary.new += len(good) - known
            summary.rejected += len(bad)
            summary.changed += len(changes)
            summary.lines += len(good) + len(bad)
            for choices in good.choices:
                languages[choices.preferences.languages[0] if choices.preferences.languages else ""] += 1
                sources[choices.consent_source[:_MAX_CELL_CHARS]] += 1
            if good.consent_times:
                days |= {min(good.consent_times), max(good.consent_times)}
                days = {min(days), max(days)}
            summary.sample += _sample(good, sections, _SAMPLE_LINES - len(summary.sample))
            summary.rejects += _quote_rejects(bad, _SHOWN_REJECTS - len(summary.rejects))
            summary.changes += _quote_changes(changes, _SHOWN_CHANGES - len(summary.changes))
            on_progress(Progress(summary.lines, file.tell(), size))
    summary.languages = languages.most_common(_SHOWN_VALUES)
    summary.sources = sources.most_common(_SHOWN_VALUES)
    if days:
        summary.first_consent, summary.last_consent = min(days).date().isoformat(), max(days).date().isoformat()
    return summary


def _sample(rows: CsvSubscribers, sections: SectionParser, count: int) -> list[dict[str, str]]:
    if count <= 0:
        return []
    return [
        {
            "address": row.address,
            "name": row.name,
            "languages": " ".join(row.choices.preferences.languages),
            "sections": sections.write(row.choices.preferences.sections),
            "time_zone": row.choices.preferences.time_zone,
            "consent": f"{row.choices.consent_source[:_MAX_CELL_CHARS]}, {row.consented_at.date().isoformat()}",
        }
        for row, _ in zip(rows, range(count), strict=False)
    ]


def _quote_rejects(rows: Sequence[RejectedRow], count: int) -> list[tuple[int, str, str]]:
    return [(row.line, row.reason, " ".join(row.fields)[:_MAX_CELL_CHARS]) for row in rows[: max(count, 0)]]


def _quote_changes(changes: Sequence[SubscriberChange], count: int) -> list[tuple[str, list[tuple[str, str, str]]]]:
    return [
        (change.address, [(one.field, one.before, one.after) for one in change.differences])
        for change in changes[: max(count, 0)]
    ]
