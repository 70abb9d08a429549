"""Letting go of what has been kept long enough."""

from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.settling import WORTH_KEEPING
from mailer.models import Sweep

_REQUESTS = "DELETE FROM signup WHERE created_at < :before"
_CHANGES = "DELETE FROM address_change WHERE created_at < :before"
_NOTES = "DELETE FROM note WHERE created_at < :before"
_FEEDBACK = """
UPDATE feedback SET subscriber_id = NULL, detail = '{}' WHERE at < :before AND subscriber_id IS NOT NULL
"""
_DELIVERIES = """
UPDATE delivery SET reply = substring(reply from :kept)
WHERE finished_at < :before AND reply <> coalesce(substring(reply from :kept), '')
"""


def let_go(session: Session, what: str, before: datetime) -> int:
    """Let go one kind of thing from before a time; returns how many rows."""
    statements = {
        "requests": _REQUESTS,
        "changes of address": _CHANGES,
        "notes": _NOTES,
        "feedback": _FEEDBACK,
        "replies": _DELIVERIES,
    }
    values = {"before": before, "kept": WORTH_KEEPING} if what == "replies" else {"before": before}
    return session.connection().execute(text(statements[what]), values).rowcount


def gone_since(session: Session, before: datetime, limit: int) -> list[tuple[int, bytes]]:
    """Subscribers, with their hashes, who have had no subscription since a time."""
    query = """
        SELECT r.id, r.address_hash FROM subscriber r
        WHERE r.created_at < :before AND NOT EXISTS (
            SELECT FROM subscription s WHERE s.subscriber_id = r.id
              AND (s.state <> 'unsubscribed' OR s.changed_at >= :before))
        ORDER BY r.id LIMIT :limit
    """
    return [
        (row.id, row.address_hash) for row in session.execute(text(query), {"before": before, "limit": limit})
    ]


def begin(session: Session, now: datetime, apart: timedelta) -> Sweep | None:
    """A new sweep; None when the last one is too near. Holds against others until the transaction ends."""
    session.execute(text("LOCK TABLE sweep IN EXCLUSIVE MODE"))
    last = session.scalar(select(Sweep).order_by(Sweep.at.desc()).limit(1))
    if last is not None and now - last.at < apart:
        return None
    sweep = Sweep(at=now, removed={})
    session.add(sweep)
    session.flush()
    return sweep


def sweeps(session: Session, limit: int) -> list[Sweep]:
    """The latest first."""
    return list(session.scalars(select(Sweep).order_by(Sweep.at.desc()).limit(limit)))


def finish(session: Session, sweep: int, removed: dict[str, int]) -> None:
    session.get_one(Sweep, sweep).removed = dict(removed)
