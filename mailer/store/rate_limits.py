"""Rate-limit counters shared by all processes. They store keyed hashes, not addresses or networks."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from mailer.models import RateLimitWindow

_WINDOW_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)


def hit(session: Session, subject_hash: bytes, now: datetime, window: timedelta) -> int:
    """Count one attempt by ``subject_hash`` (a keyed hash) in the current window; return the new count."""
    query = """
        INSERT INTO rate_limit_window (subject_hash, window_start, hits) VALUES (:subject_hash, :window_start, 1)
        ON CONFLICT (subject_hash, window_start) DO UPDATE SET hits = rate_limit_window.hits + 1 RETURNING hits
    """
    values = {"subject_hash": subject_hash, "window_start": _window_start(now, window)}
    return int(session.execute(text(query), values).scalar_one())


def acquire(session: Session, subject_hash: bytes, now: datetime, window: timedelta, limit: int) -> bool:
    """Count one attempt if fewer than ``limit`` were counted in the current window. Return whether it was."""
    query = """
        INSERT INTO rate_limit_window (subject_hash, window_start, hits) VALUES (:subject_hash, :window_start, 1)
        ON CONFLICT (subject_hash, window_start) DO UPDATE SET hits = rate_limit_window.hits + 1
        WHERE rate_limit_window.hits < :limit RETURNING hits
    """
    values = {"subject_hash": subject_hash, "window_start": _window_start(now, window), "limit": limit}
    return session.execute(text(query), values).scalar_one_or_none() is not None


def _window_start(now: datetime, window: timedelta) -> datetime:
    return now - (now - _WINDOW_ORIGIN) % window


def delete_expired(session: Session, before: datetime) -> int:
    """Delete windows that began before this time; return how many."""
    return session.connection().execute(delete(RateLimitWindow).where(RateLimitWindow.window_start < before)).rowcount
