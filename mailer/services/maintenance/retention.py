"""Retention: a daily run deletes expired data and records the number of deleted rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.personal_data import RetentionCategory
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.store import personal_data, rate_limits, retention
from mailer.store.database import Database

_MIN_INTERVAL = timedelta(hours=23)
_RATE_LIMIT_RETENTION = timedelta(days=2)
_UNRECOGNIZED_MAIL_DAYS = 30
_TEXT_REQUEST_DAYS = 28
"""After the issue was sent or cancelled, or the link has expired."""
_TEXT_VERSION_DAYS = 365
"""After the issue was sent or cancelled. What was sent stays in the archive."""
_CHUNK_SIZE = 200


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The retention periods in days; 0 keeps the data without limit."""

    request_days: int
    transactional_days: int
    feedback_days: int
    delivery_days: int
    inactive_days: int


def run_if_due(database: Database, policy: RetentionPolicy, now: datetime) -> dict[RetentionCategory, int] | None:
    """Run the daily deletion. Return counts by category, or None if the last run was too recent."""
    return run(database, policy, now, _MIN_INTERVAL)


def run(
    database: Database, policy: RetentionPolicy, now: datetime, min_interval: timedelta = timedelta(0)
) -> dict[RetentionCategory, int] | None:
    """Delete expired data. Return counts by category, or None if the last run was too recent."""
    with database.transaction() as session:
        started_run = retention.start_run(session, now, min_interval)
        if started_run is None:
            return None
        run_id = started_run.id
    deleted: dict[RetentionCategory, int] = {}
    periods = {
        RetentionCategory.requests: policy.request_days,
        RetentionCategory.address_changes: policy.request_days,
        RetentionCategory.transactional_emails: policy.transactional_days,
        RetentionCategory.feedback: policy.feedback_days,
        RetentionCategory.replies: policy.delivery_days,
        RetentionCategory.unrecognized_mails: _UNRECOGNIZED_MAIL_DAYS,
        RetentionCategory.text_requests: _TEXT_REQUEST_DAYS,
        RetentionCategory.text_versions: _TEXT_VERSION_DAYS,
    }
    for category, days in periods.items():
        if days:
            with database.transaction() as session:
                deleted[category] = retention.delete_expired(session, category, now - timedelta(days=days))
    with database.transaction() as session:
        deleted[RetentionCategory.attempts] = rate_limits.delete_expired(session, now - _RATE_LIMIT_RETENTION)
    if policy.inactive_days:
        deleted[RetentionCategory.subscribers] = _delete_inactive(
            database, now - timedelta(days=policy.inactive_days), now
        )
    with database.transaction() as session:
        retention.finish_run(session, run_id, deleted)
    return deleted


def _delete_inactive(database: Database, before: datetime, now: datetime) -> int:
    """Erase subscribers who unsubscribed from everything before a time. Return their number.

    The keyed hash of the address is kept, so that importing an old list does not add them again.
    """
    count = 0
    while True:
        with database.transaction() as session:
            inactive = retention.inactive_since(session, before, _CHUNK_SIZE)
            for subscriber, address_hash in inactive:
                personal_data.erase(session, subscriber, now)
                personal_data.erase_requests(session, address_hash)
                personal_data.suppress_hash(session, address_hash, SuppressionReason.erased, SuppressionSource.system)
        count += len(inactive)
        if len(inactive) < _CHUNK_SIZE:
            return count


def list_runs(database: Database, limit: int = 30) -> list[tuple[datetime, dict[str, int]]]:
    """Return the time and counts of the latest runs, newest first."""
    with database.transaction() as session:
        return [(row.at, dict(row.deleted_counts)) for row in retention.list_runs(session, limit)]
