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
    window_start = now - (now - _WINDOW_ORIGIN) % window
    return int(session.execute(text(query), {"subject_hash": subject_hash, "window_start": window_start}).scalar_one())


def delete_expired(session: Session, before: datetime) -> int:
    """Delete windows that began before this time; return how many."""
    return session.connection().execute(delete(RateLimitWindow).where(RateLimitWindow.window_start < before)).rowcount
