"""Deletion of data past its retention period."""

from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.personal_data import RetentionCategory
from mailer.domain.resolution import RETAINED_REPLY_PATTERN
from mailer.models import RetentionRun

_STATEMENTS = {
    RetentionCategory.requests: "DELETE FROM signup WHERE created_at < :before",
    RetentionCategory.address_changes: "DELETE FROM address_change WHERE created_at < :before",
    RetentionCategory.transactional_emails: """
        WITH tests AS (DELETE FROM issue_test WHERE created_at < :before)
        DELETE FROM transactional_email WHERE created_at < :before
    """,
    RetentionCategory.unrecognized_mails: "DELETE FROM unrecognized_mail WHERE at < :before",
    RetentionCategory.text_requests: """
        WITH gone AS (
            SELECT r.* FROM text_request r JOIN issue i ON i.id = r.issue_id
            WHERE i.finished_at < :before OR r.expires_at < :before
        ), nameless AS (
            UPDATE text_version v SET actor = '' FROM gone
            WHERE v.kind = 'contributed' AND v.actor = gone.name AND v.issue_id = gone.issue_id
              AND (v.subject, v.subject_id, v.language) = (gone.subject, gone.subject_id, gone.language)
        )
        DELETE FROM text_request r USING gone WHERE r.id = gone.id
    """,
    RetentionCategory.text_versions: """
        DELETE FROM text_version v USING issue i WHERE i.id = v.issue_id AND i.finished_at < :before
    """,
    RetentionCategory.feedback: """
        UPDATE feedback SET subscriber_id = NULL, detail = '{}' WHERE at < :before AND subscriber_id IS NOT NULL
    """,
    RetentionCategory.replies: """
        UPDATE delivery SET last_reply = substring(last_reply from :kept), resolved_by = NULL, resolution_note = NULL
        WHERE finished_at < :before
          AND (last_reply <> coalesce(substring(last_reply from :kept), '') OR resolved_by IS NOT NULL)
    """,
}


def delete_expired(session: Session, category: RetentionCategory, before: datetime) -> int:
    """Delete or redact one category of data older than ``before``; return how many rows."""
    values = {"before": before, "kept": RETAINED_REPLY_PATTERN}
    return session.connection().execute(text(_STATEMENTS[category]), values).rowcount


def inactive_since(session: Session, before: datetime, limit: int) -> list[tuple[int, bytes]]:
    """Return (id, address hash) of subscribers who have had no subscription since ``before``."""
    query = """
        SELECT r.id, r.address_hash FROM subscriber r
        WHERE r.created_at < :before AND NOT EXISTS (
            SELECT FROM subscription s WHERE s.subscriber_id = r.id
              AND (s.state <> 'unsubscribed' OR s.changed_at >= :before))
        ORDER BY r.id LIMIT :limit
    """
    return [(row.id, row.address_hash) for row in session.execute(text(query), {"before": before, "limit": limit})]


def start_run(session: Session, now: datetime, min_interval: timedelta) -> RetentionRun | None:
    """Start a retention run, or return None if the last one was too recent.

    Blocks other runs until the transaction ends.
    """
    session.execute(text("LOCK TABLE retention_run IN EXCLUSIVE MODE"))
    last = session.scalar(select(RetentionRun).order_by(RetentionRun.at.desc()).limit(1))
    if last is not None and now - last.at < min_interval:
        return None
    run = RetentionRun(at=now, deleted_counts={})
    session.add(run)
    session.flush()
    return run


def list_runs(session: Session, limit: int) -> list[RetentionRun]:
    """Return the latest retention runs, newest first."""
    return list(session.scalars(select(RetentionRun).order_by(RetentionRun.at.desc()).limit(limit)))


def finish_run(session: Session, run_id: int, deleted_counts: dict[RetentionCategory, int]) -> None:
    session.get_one(RetentionRun, run_id).deleted_counts = {
        category.value: count for category, count in deleted_counts.items()
    }
