"""Subscribers from a file, many at once: which are known, and inserting the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import OperationalError
from psycopg.errors import DeadlockDetected, UniqueViolation
from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.subscriber_csv import CsvSubscribers, RowChoices
from mailer.store.database import DatabaseDown, execute_driver_sql

# Hashes are passed as one concatenated value. The planner cannot see how many there are, so it always uses the index,
# however large the tables and however old their statistics.
_IN_HASHES = """
= ANY (ARRAY(SELECT substr(%(hashes)s, 16 * n + 1, 16) FROM generate_series(0, %(count)s - 1) n))
"""
_SUPPRESSED = f"SELECT address_hash FROM suppression WHERE address_hash {_IN_HASHES}"
_KNOWN = f"""
SELECT r.address_hash, r.id, t.subscriber_id IS NOT NULL
FROM subscriber r LEFT JOIN subscription t ON t.newsletter_id = %(newsletter)s AND t.subscriber_id = r.id
WHERE r.address_hash {_IN_HASHES}
"""
_LOCK_SUBSCRIBERS = "SELECT id FROM subscriber WHERE id = ANY(%(ids)s) ORDER BY id FOR KEY SHARE"
# One row with an array: thousands of small objects would trigger Python's garbage collector.
_ALLOCATE_IDS = "SELECT array_agg(nextval('subscriber_id_seq')) FROM generate_series(1, %(count)s)"


@dataclass(frozen=True, slots=True)
class KnownSubscriber:
    """What is stored about an address that a file names."""

    name: str
    languages: tuple[str, ...]
    time_zone: str
    sections: int | None
    """None without a subscription to the newsletter."""


def known_subscribers(session: Session, newsletter: int, hashes: Sequence[bytes]) -> dict[bytes, KnownSubscriber]:
    """Return hash → subscriber, of those who have not left the newsletter and are not suppressed."""
    values = {"hashes": b"".join(hashes), "count": len(hashes), "newsletter": newsletter}
    return {
        address_hash: KnownSubscriber(name, tuple(languages), zone, sections)
        for address_hash, name, languages, zone, sections in execute_driver_sql(session, _KNOWN_PREFERENCES, values)
    }


_KNOWN_PREFERENCES = f"""
SELECT r.address_hash, r.name, r.languages, r.time_zone, t.sections
FROM subscriber r LEFT JOIN subscription t ON t.newsletter_id = %(newsletter)s AND t.subscriber_id = r.id
WHERE r.address_hash {_IN_HASHES} AND coalesce(t.state, 'active') = 'active'
  AND NOT EXISTS (SELECT FROM suppression x WHERE x.address_hash = r.address_hash)
"""


class ConcurrentChange(RuntimeError):
    """Another transaction added or removed some of the same subscribers. Roll back and import the rows again."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """How many rows of one transaction were added, known or suppressed; each row counts once."""

    added: int
    known: int
    suppressed: int


def bulk_insert(
    session: Session,
    newsletter: int,
    new_subscribers: CsvSubscribers,
    hmac_pads: tuple[bytes, bytes],
    *,
    all_new: bool = False,
) -> BulkResult:
    """Insert subscribers and subscriptions, with ids in the order of the rows. Each address may occur only once.

    Existing subscriptions keep their preferences, and suppressed addresses are not stored. ``all_new`` saves time by
    not looking for existing subscribers. ``hmac_pads`` are those of the keyed hash of addresses.
    Raises ConcurrentChange and DatabaseDown.
    """
    cursor = session.connection().connection.cursor()
    try:
        return _bulk_insert(cursor, newsletter, new_subscribers, hash_keys(new_subscribers, hmac_pads), all_new)
    except (UniqueViolation, DeadlockDetected):
        raise ConcurrentChange(ConcurrentChange.__doc__) from None
    except OperationalError as error:
        raise DatabaseDown(f"The database stopped accepting subscribers: {str(error).splitlines()[0]}") from error


def hash_keys(new_subscribers: CsvSubscribers, hmac_pads: tuple[bytes, bytes]) -> list[bytes]:
    """Return HMAC-SHA256 cut to 16 bytes, like Tokens.address_hash. Precomputed pads halve the time."""
    inner_pad, outer_pad = map(sha256, hmac_pads)
    hashes = []
    for key in new_subscribers.address_keys:
        inner, outer = inner_pad.copy(), outer_pad.copy()
        inner.update(key.encode())
        outer.update(inner.digest())
        hashes.append(outer.digest()[:16])
    return hashes


def _bulk_insert(
    cursor: Any, newsletter: int, new_subscribers: CsvSubscribers, hashes: Sequence[bytes], all_new: bool
) -> BulkResult:
    joined = b"".join(hashes)
    values = {"hashes": joined, "count": len(hashes), "newsletter": newsletter}
    suppressed = {address_hash for (address_hash,) in cursor.execute(_SUPPRESSED, values)}
    known = {} if all_new else {row[0]: row[1:] for row in cursor.execute(_KNOWN, values)}
    known_or_suppressed = known.keys() | suppressed
    subscribed = {address_hash for address_hash, (_, is_subscribed) in known.items() if is_subscribed} - suppressed
    without_subscription = known.keys() - subscribed - suppressed
    if without_subscription:
        locked = cursor.execute(
            _LOCK_SUBSCRIBERS, {"ids": [known[address_hash][0] for address_hash in without_subscription]}
        )
        if len(locked.fetchall()) < len(without_subscription):
            raise ConcurrentChange(ConcurrentChange.__doc__)
    ids = iter(cursor.execute(_ALLOCATE_IDS, {"count": len(hashes) - len(known_or_suppressed)}).fetchone()[0] or ())
    subscribers, subscriptions = [], []
    # Many rows of a file share these objects, so each is formatted once.
    line_ends: dict[int, tuple[str, str]] = {}
    formatted_times: dict[int, str] = {}

    def format_choices(row_choices: RowChoices) -> tuple[str, str]:
        preferences, source, _ = row_choices
        language = preferences.languages[0] if preferences.languages else ""
        line_ends[id(row_choices)] = formatted = (
            f"{{{','.join(preferences.languages)}}}\t{preferences.time_zone}\n",
            f"{newsletter}\tactive\t{preferences.sections}\t{_escape_copy(source)}\t{language}\n",
        )
        return formatted

    for address_hash, hex_hash, address, name, choices, consent_time in zip(
        hashes,
        joined.hex(" ", 16).split(),
        new_subscribers.addresses,
        new_subscribers.names,
        new_subscribers.choices,
        new_subscribers.consent_times,
        strict=True,
    ):
        subscriber_end, subscription_end = line_ends.get(id(choices)) or format_choices(choices)
        formatted_time = formatted_times.get(id(consent_time)) or formatted_times.setdefault(
            id(consent_time), consent_time.isoformat()
        )
        if address_hash not in known_or_suppressed:
            subscriber = next(ids)
            if "\\" in name or "\\" in address:
                name, address = _escape_copy(name), _escape_copy(address)
            subscribers.append(f"\\\\x{hex_hash}\t{subscriber}\t{address}\t{name}\t{subscriber_end}")
        elif address_hash in without_subscription:
            subscriber = known[address_hash][0]
        else:
            continue
        subscriptions.append(f"{subscriber}\t{formatted_time}\t{subscription_end}")
    # Sorted by hash, they are inserted into the largest index in half the time.
    subscribers.sort()
    for table, lines in (
        ("subscriber (address_hash, id, address, name, languages, time_zone)", subscribers),
        (
            "subscription (subscriber_id, consent_at, newsletter_id, state, sections, consent_source,"
            " consent_language)",
            subscriptions,
        ),
    ):
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write("".join(lines))
    return BulkResult(added=len(subscriptions), known=len(subscribed), suppressed=len(suppressed))


def _escape_copy(value: str) -> str:
    """Escape text without line breaks and tabs for COPY."""
    return value.replace("\\", "\\\\")


def analyze(session: Session) -> None:
    """Update the planner's statistics after a large import; autovacuum can take a minute to do so."""
    session.execute(text("ANALYZE subscriber, subscription"))
