"""Changes of readers' preferences by staff: of one reader, or of all whom a CSV file gives other preferences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mailer.domain.errors import UserError
from mailer.domain.preferences import Preferences
from mailer.domain.section_parser import SectionParser
from mailer.domain.subscriber_csv import CsvSubscriber, CsvSubscribers, SubscriberCsv
from mailer.services.subscribers.csv_import import load_newsletter, open_list
from mailer.services.subscribers.preferences import save_for
from mailer.store import newsletters, subscriber_import
from mailer.store.database import Database
from mailer.store.subscriber_import import KnownSubscriber

_CHUNK_LINES = 5_000


class NotSubscribed(UserError, LookupError):
    """The address has no active subscription to the newsletter."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A preference before and after a change, as text for staff."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SubscriberChange:
    """What changes for one reader."""

    address: str
    address_hash: bytes
    values: Mapping[str, Any]
    """Name of a field of Preferences → its new value."""
    differences: tuple[Difference, ...]


def section_parser(database: Database, slug: str) -> SectionParser:
    """Return the parser of a newsletter's sections. Raises NewsletterNotFound."""
    return SectionParser(load_newsletter(database, slug)[1])


def section_titles(database: Database, slug: str) -> list[tuple[str, str]]:
    """Return (key, title in the newsletter's default language) of the sections, in order. Raises NewsletterNotFound."""
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        return [
            (section.key, newsletter.localize(section.titles).text)
            for section in newsletters.sections(session, newsletter.id)
        ]


def set_preferences(
    database: Database, slug: str, address_hash: bytes, values: Mapping[str, Any], now: datetime
) -> tuple[Difference, ...]:
    """Change the preferences of one reader; return the differences. Raises NewsletterNotFound and NotSubscribed."""
    sections = section_parser(database, slug)
    saved = save_for(database, slug, address_hash, values, now)
    if saved is None:
        raise NotSubscribed(f"This address is not subscribed to {slug}. See: mailer subscribers show ADDRESS.")
    return _differences(saved[0], values, sections)


def find_changes(
    database: Database, source: Path, slug: str, *, hmac_pads: tuple[bytes, bytes], now: datetime
) -> Iterator[SubscriberChange]:
    """Yield what a CSV file would change for readers who are known. Empty cells change nothing.

    Those who have left the newsletter or are suppressed are passed over. Raises ImportRefused and NewsletterNotFound.
    """
    newsletter, names = load_newsletter(database, slug)
    sections = SectionParser(names)
    with open_list(source) as (_, text, _size):
        for good, _ in SubscriberCsv(text, names, now).read(text, _CHUNK_LINES):
            yield from compare(database, newsletter, sections, good, hmac_pads)[1]


def compare(
    database: Database,
    newsletter: int,
    sections: SectionParser,
    rows: CsvSubscribers,
    hmac_pads: tuple[bytes, bytes],
) -> tuple[int, list[SubscriberChange]]:
    """Return how many rows are of readers of the newsletter, and what they would change for those who are known."""
    hashes = subscriber_import.hash_keys(rows, hmac_pads)
    with database.transaction() as session:
        known = subscriber_import.known_subscribers(session, newsletter, hashes)
    changes = []
    for row, address_hash in zip(rows, hashes, strict=True):
        if stored := known.get(address_hash):
            wanted = _wanted(row, stored)
            if differences := _differences(stored, wanted, sections):
                values = {difference.field: wanted[difference.field] for difference in differences}
                changes.append(SubscriberChange(row.address, address_hash, values, differences))
    return sum(stored.sections is not None for stored in known.values()), changes


def update_from_csv(
    database: Database,
    source: Path,
    slug: str,
    *,
    hmac_pads: tuple[bytes, bytes],
    now: datetime,
    on_change: Callable[[int], None] | None = None,
) -> int:
    """Make the changes that ``find_changes`` finds, each in a transaction of its own; return their number.

    ``on_change`` is told the number after each.
    """
    changed = 0
    for change in find_changes(database, source, slug, hmac_pads=hmac_pads, now=now):
        if save_for(database, slug, change.address_hash, change.values, now):
            changed += 1
            if on_change:
                on_change(changed)
    return changed


def _wanted(row: CsvSubscriber, stored: KnownSubscriber) -> dict[str, Any]:
    """Return the preferences that a row gives to a subscriber."""
    given = row.choices.given if stored.sections is not None else tuple(n for n in row.choices.given if n != "sections")
    values = {name: getattr(row.choices.preferences, name) for name in given}
    return ({"name": row.name} if row.name else {}) | values


def _differences(
    before: Preferences | KnownSubscriber, values: Mapping[str, Any], sections: SectionParser
) -> tuple[Difference, ...]:
    """Return the differences that can be seen: bits of sections that do not exist are none."""

    def describe(name: str, value: Any) -> str:
        if name == "sections":
            return sections.write(value).replace(" ", ", ")
        return ", ".join(value) if isinstance(value, tuple) else value

    pairs = ((name, describe(name, getattr(before, name)), describe(name, value)) for name, value in values.items())
    return tuple(Difference(name, old, new) for name, old, new in pairs if old != new)
