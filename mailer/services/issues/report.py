"""The report of an issue: its progress, its deliveries by language, and the ledger audit."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from mailer.domain.languages import match_language
from mailer.domain.outcomes import redact_addresses
from mailer.domain.queue_status import DeliveryCounts
from mailer.domain.states import IssueEventKind, IssueState, SkipReason
from mailer.models import Issue
from mailer.store import audit as ledger_audit
from mailer.store import deliveries, digests, editions, feedback, issues, newsletters, transactional
from mailer.store import figures as figures_store
from mailer.store import outcomes as outcomes_store
from mailer.store.audit import LedgerFinding
from mailer.store.database import Database, Session
from mailer.store.outcomes import Outcome
from mailer.store.transactional import SeedCounts

__all__ = ["DeliveryCounts", "LedgerFinding"]

MAX_FAILURE_GROUPS = 20
MAX_DOMAINS = 20
PREVIOUS_ISSUES = 5
_AUDITED_FOR = timedelta(hours=1)
"""The sums of a ledger do not change with every fault of it, so it is not trusted for longer."""
_COUNTED_AHEAD_FOR = timedelta(hours=1)
"""After the end of an issue: then most bounces are back."""


@dataclass(frozen=True, slots=True)
class IssueStatus:
    """The state of an issue at one moment.

    ``counts`` add up: candidates = sent + failed + skipped + pending + uncertain.
    """

    issue: int
    newsletter: str
    number: str
    state: IssueState
    scheduled_at: datetime | None
    waiting: bool
    """Whether it is scheduled, and so late that it waits until somebody schedules it again."""
    ready_at: datetime | None
    finished_at: datetime | None
    counts: DeliveryCounts
    editions: int
    stale_editions: int
    per_second: float
    digest_of: list[str]
    """Only for a digest: the numbers of its issues."""
    bounced: int
    """How many were accepted and came back. They are among ``counts.sent``, or failed if nobody knew before."""


def status(database: Database, issue: int, now: datetime) -> IssueStatus:
    """Return the state of an issue. Raises IssueNotFound."""
    bounced = _counted(database, issue, "bounced", lambda session: feedback.count_bounced(session, issue))
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        counts = deliveries.counts(session, issue)
        rate = 0.0
        if row.ready_at:
            seconds = ((row.finished_at or now) - row.ready_at) / timedelta(seconds=1)
            rate = (counts.sent + counts.failed + counts.uncertain) / max(seconds, 0.001)
        return IssueStatus(
            issue=issue,
            newsletter=newsletters.by_id(session, row.newsletter_id).slug,
            number=row.number,
            state=row.state,
            scheduled_at=row.scheduled_at,
            waiting=_is_waiting(session, row),
            ready_at=row.ready_at,
            finished_at=row.finished_at,
            counts=counts,
            editions=editions.count(session, issue),
            stale_editions=editions.count_stale(session, issue),
            per_second=rate,
            digest_of=digests.source_numbers(session, row),
            bounced=bounced,
        )


def progress_version(database: Database, issue: int) -> str:
    """Return a text that changes with an issue's state and counts. Raises IssueNotFound."""
    with database.transaction() as session:
        return f"{issues.by_id(session, issue).state} {deliveries.counts(session, issue)}"


def newsletter_of(database: Database, issue: int) -> int:
    """Return the issue's newsletter. Raises IssueNotFound."""
    with database.transaction() as session:
        return issues.by_id(session, issue).newsletter_id


def list_issues(
    database: Database,
) -> list[tuple[int, str, str, IssueState, DeliveryCounts, datetime | None, bool, list[str]]]:
    """Return (id, newsletter, number, state, counts, sending time, waiting, digest of) of every issue, newest first.

    The sending time is None unless the issue is scheduled. ``waiting`` and ``digest_of`` are as in IssueStatus.
    """
    with database.transaction() as session:
        return [
            (
                row.id,
                slug,
                row.number,
                row.state,
                deliveries.counts(session, row.id),
                _goes_out_at(row),
                _is_waiting(session, row),
                digests.source_numbers(session, row),
            )
            for row, slug in issues.list_all(session)
        ]


def _is_waiting(session: Session, row: Issue) -> bool:
    return row.state is IssueState.scheduled and issues.is_waiting(session, row.id)


def _goes_out_at(row: Issue) -> datetime | None:
    return row.scheduled_at if row.state is IssueState.scheduled else None


def _counted(
    database: Database, issue: int, name: str, count: Callable[[Session], Any], max_age: timedelta | None = None
) -> Any:
    """Return figures that need all deliveries of an issue, as JSON: as they were kept, or counted now."""
    with database.transaction() as session:
        figures, version = figures_store.find(session, issue, name, max_age)
    if figures is not None:
        return figures
    began = time.monotonic()
    with database.transaction() as session:
        figures = count(session)
    seconds = time.monotonic() - began
    with database.transaction() as session:
        figures_store.save(session, issue, name, version, seconds, figures)
    return figures


def count_ahead(database: Database, now: datetime) -> None:
    """Count what the reports of issues on their way show, so that nobody waits for it."""
    with database.transaction() as session:
        on_their_way = issues.on_their_way(session, now - _COUNTED_AHEAD_FOR)
    for issue in on_their_way:
        status(database, issue, now)
        for count in (skipped_by_reason, by_language, failures, outcomes):
            count(database, issue)


def skipped_by_reason(database: Database, issue: int) -> dict[SkipReason, int]:
    """Return the number of skipped readers by reason."""
    counted = _counted(database, issue, "skip_reasons", lambda session: deliveries.count_skip_reasons(session, issue))
    return {SkipReason(reason): number for reason, number in counted.items()}


def count_by_edition(database: Database, issue: int) -> Counter[tuple[str, int]]:
    """Return (language, section mask) → readers with a delivery of that edition."""
    counted = _counted(database, issue, "editions", lambda session: deliveries.count_by_edition(session, issue))
    return Counter({(language, sections): number for language, sections, number in counted})


def count_seeds(database: Database, issue: int) -> SeedCounts:
    """Return what became of the issue for the addresses of the seed list. They are in no other figure."""
    with database.transaction() as session:
        return transactional.count_seeds(session, issue)


def held_by_digests(database: Database, issue: int) -> dict[int | None, int]:
    """Return digest → how many readers get the issue in it; under None, how many wait for a digest."""
    with database.transaction() as session:
        return digests.count_held(session, issue)


@dataclass(slots=True)
class LanguageRow:
    """A row of the report by language: the readers whose first preference matches ``language``."""

    language: str
    """A language of the newsletter, or empty for readers of other languages or none."""
    subscribers: int = 0
    editions: int = 0
    sent: int = 0
    fell_back: int = 0
    """Readers who were sent an edition, or a story in it, in another language."""
    not_sent: int = 0


def by_language(database: Database, issue: int) -> list[LanguageRow]:
    """Return a row for each requested language, largest first; other languages last."""
    rows = _counted(database, issue, "languages", lambda session: [asdict(row) for row in _languages(session, issue)])
    return [LanguageRow(**row) for row in rows]


def _languages(session: Session, issue: int) -> list[LanguageRow]:
    row = issues.by_id(session, issue)
    languages = newsletters.by_id(session, row.newsletter_id).languages
    rows: dict[str, LanguageRow] = {}
    editions_by_language: dict[str, set[int]] = {}
    for share in deliveries.language_shares(session, issue):
        requested = share.requested_language
        language = (match_language(requested, languages) if requested else None) or ""
        line = rows.setdefault(language, LanguageRow(language))
        line.subscribers += share.subscribers
        line.sent += share.sent
        line.fell_back += share.sent if share.received_language != language else share.with_fallback
        line.not_sent += share.without_stories
        language_editions = editions_by_language.setdefault(language, set())
        language_editions.update(share.editions)
        line.editions = len(language_editions)
    return sorted(rows.values(), key=lambda line: (not line.language, -line.subscribers, line.language))


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What became of the mail to some readers. ``name``: a language, a section's key, a domain or an issue's number."""

    name: str
    outcome: Outcome
    on: date | None = None
    """Only for an issue: the day on which sending began."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of an issue's mail. A reader of several sections is counted in each of them."""

    languages: Sequence[OutcomeRow]
    sections: Sequence[OutcomeRow]
    domains: Sequence[OutcomeRow]
    """Those with most readers."""


def outcomes(database: Database, issue: int) -> Outcomes:
    """Return what became of an issue's mail, by language, section and receiving domain."""
    counted = _counted(database, issue, "outcomes", lambda session: _outcomes(session, issue))
    return Outcomes(*([OutcomeRow(name, Outcome(*figures)) for name, figures in rows] for rows in counted))


def _outcomes(session: Session, issue: int) -> list[list[tuple[str, Outcome]]]:
    row = issues.by_id(session, issue)
    languages: dict[str, Outcome] = {}
    known = {section.bit: section.key for section in issues.sections(session, row)}
    sections: dict[str, Outcome] = {}
    for language, mask, outcome in outcomes_store.by_edition(session, issue):
        languages[language] = _plus(languages.get(language), outcome)
        for bit, key in known.items():
            if mask >> bit & 1:
                sections[key] = _plus(sections.get(key), outcome)
    by_size = sorted(languages.items(), key=lambda item: (-sum(item[1][:2]), item[0]))
    in_order = [(key, sections[key]) for key in known.values() if key in sections]
    return [by_size, in_order, outcomes_store.by_domain(session, issue, MAX_DOMAINS)]


def _plus(sum_so_far: Outcome | None, more: Outcome) -> Outcome:
    return Outcome(*map(sum, zip(sum_so_far, more, strict=True))) if sum_so_far else more


def with_previous(database: Database, issue: int) -> list[OutcomeRow]:
    """Return the outcome of an issue, and of the issues of its newsletter that were sent before it, newest first."""
    with database.transaction() as session:
        known = [
            (row.id, row.number, row.ready_at) for row in issues.sent_up_to(session, issue, limit=PREVIOUS_ISSUES + 1)
        ]
    rows = []
    for id, number, began in known:
        figures = _counted(database, id, "outcome", partial(outcomes_store.of_issue, issue=id))
        rows.append(OutcomeRow(number, Outcome(*figures), began.date() if began else None))
    return rows


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed deliveries of an issue whose last replies have the same code."""

    code: str
    """Such as ``550 5.1.1``; empty without a reply."""
    deliveries: int
    example: str


def failures(database: Database, issue: int) -> list[FailureGroup]:
    """Return the failed deliveries by the code of the last reply, with addresses removed from the example."""
    rows = _counted(
        database, issue, "failures", lambda session: deliveries.failure_groups(session, issue, MAX_FAILURE_GROUPS)
    )
    with database.transaction() as session:
        # Replies are not kept with the figures, since they can name a reader.
        replies = deliveries.replies(session, issue, [subscriber for _, _, subscriber in rows])
    return [
        FailureGroup(code, number, redact_addresses(replies.get(subscriber, ""))) for code, number, subscriber in rows
    ]


def events(database: Database, issue: int) -> list[tuple[datetime, str, IssueEventKind, str]]:
    """Return (time, actor, kind, detail) of an issue's log entries, oldest first. The service's own have no actor."""
    with database.transaction() as session:
        return [
            (event.at, issues.actor_name(session, event), event.kind, event.detail)
            for event in issues.events(session, issue)
        ]


def audit(database: Database, issue: int) -> list[LedgerFinding]:
    """Return the inconsistencies in the ledger of an issue. Raises IssueNotFound."""
    with database.transaction() as session:
        ledger_audit.use_repeatable_read(session)
        issues.by_id(session, issue)
        return ledger_audit.findings(session, issue)


def findings(database: Database, issue: int) -> list[LedgerFinding]:
    """Return what ``audit`` found within the last hour, if the ledger's sums are the same. Raises IssueNotFound."""
    rows = _counted(database, issue, "findings", lambda _: audit(database, issue), _AUDITED_FOR)
    return [LedgerFinding(*row) for row in rows]


def count_resent(database: Database, issue: int) -> int:
    """Return how many readers may have received an issue twice because it was resent."""
    with database.transaction() as session:
        return deliveries.count_resent(session, issue)
