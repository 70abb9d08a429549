"""Retention: a daily sweep lets go of what has been kept long enough, and writes down how much that was."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.suppressions import ERASED
from mailer.store import personal_data, rate_limits, retention
from mailer.store.database import Database

_MIN_INTERVAL = timedelta(hours=23)
_RATE_LIMIT_RETENTION = timedelta(days=2)
_CHUNK_SIZE = 200


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days that things are kept; 0: for good."""

    request_days: int
    transactional_days: int
    feedback_days: int
    delivery_days: int
    inactive_days: int


def run_if_due(database: Database, policy: RetentionPolicy, now: datetime) -> dict[str, int] | None:
    """The daily sweep, unless there was one within a day; what it let go, by kind."""
    return run(database, policy, now, _MIN_INTERVAL)


def run(
    database: Database, policy: RetentionPolicy, now: datetime, min_interval: timedelta = timedelta(0)
) -> dict[str, int] | None:
    """Let go of what is old; returns how many rows of each kind. None when the last sweep is too near."""
    with database.transaction() as session:
        begun = retention.start_run(session, now, min_interval)
        if begun is None:
            return None
        number = begun.id
    removed: dict[str, int] = {}
    days = {
        "requests": policy.request_days,
        "changes of address": policy.request_days,
        "transactional emails": policy.transactional_days,
        "feedback": policy.feedback_days,
        "replies": policy.delivery_days,
    }
    for what, kept in days.items():
        if kept:
            with database.transaction() as session:
                removed[what] = retention.delete_expired(session, what, now - timedelta(days=kept))
    with database.transaction() as session:
        removed["attempts"] = rate_limits.delete_expired(session, now - _RATE_LIMIT_RETENTION)
    if policy.inactive_days:
        removed["readers"] = _delete_inactive(database, now - timedelta(days=policy.inactive_days), now)
    with database.transaction() as session:
        retention.finish_run(session, number, removed)
    return removed


def _delete_inactive(database: Database, before: datetime, now: datetime) -> int:
    """Erase readers who left long ago. The keyed hash stays, so that no old list brings them back."""
    count = 0
    while True:
        with database.transaction() as session:
            gone = retention.inactive_since(session, before, _CHUNK_SIZE)
            for subscriber, address_hash in gone:
                personal_data.erase(session, subscriber, now)
                personal_data.erase_requests(session, address_hash)
                personal_data.suppress_hash(session, address_hash, ERASED)
        count += len(gone)
        if len(gone) < _CHUNK_SIZE:
            return count


def list_runs(database: Database, limit: int = 30) -> list[tuple[datetime, dict[str, int]]]:
    """What the latest sweeps let go, the latest first."""
    with database.transaction() as session:
        return [(row.at, dict(row.deleted_counts)) for row in retention.list_runs(session, limit)]
