"""Retention: a daily sweep lets go of what has been kept long enough, and writes down how much that was."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.suppressions import ERASED
from mailer.store import attempts, people, retention
from mailer.store.database import Database

_APART = timedelta(hours=23)
_ATTEMPTS = timedelta(days=2)
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Keep:
    """Days that things are kept; 0: for good."""

    requests: int
    notes: int
    feedback: int
    deliveries: int
    left: int


def sweep_if_due(database: Database, keep: Keep, now: datetime) -> dict[str, int] | None:
    """The daily sweep, unless there was one within a day; what it let go, by kind."""
    return sweep(database, keep, now, _APART)


def sweep(
    database: Database, keep: Keep, now: datetime, apart: timedelta = timedelta(0)
) -> dict[str, int] | None:
    """Let go of what is old; returns how many rows of each kind. None when the last sweep is too near."""
    with database.transaction() as session:
        begun = retention.begin(session, now, apart)
        if begun is None:
            return None
        number = begun.id
    removed: dict[str, int] = {}
    days = {
        "requests": keep.requests,
        "changes of address": keep.requests,
        "notes": keep.notes,
        "feedback": keep.feedback,
        "replies": keep.deliveries,
    }
    for what, kept in days.items():
        if kept:
            with database.transaction() as session:
                removed[what] = retention.let_go(session, what, now - timedelta(days=kept))
    with database.transaction() as session:
        removed["attempts"] = attempts.forget(session, now - _ATTEMPTS)
    if keep.left:
        removed["readers"] = _forget_the_gone(database, now - timedelta(days=keep.left), now)
    with database.transaction() as session:
        retention.finish(session, number, removed)
    return removed


def _forget_the_gone(database: Database, before: datetime, now: datetime) -> int:
    """Erase readers who left long ago. The keyed hash stays, so that no old list brings them back."""
    count = 0
    while True:
        with database.transaction() as session:
            gone = retention.gone_since(session, before, _AT_ONCE)
            for subscriber, address_hash in gone:
                people.erase(session, subscriber, now)
                people.erase_requests(session, address_hash)
                people.leave_hash(session, address_hash, ERASED)
        count += len(gone)
        if len(gone) < _AT_ONCE:
            return count


def reports(database: Database, limit: int = 30) -> list[tuple[datetime, dict[str, int]]]:
    """What the latest sweeps let go, the latest first."""
    with database.transaction() as session:
        return [(row.at, dict(row.removed)) for row in retention.sweeps(session, limit)]
