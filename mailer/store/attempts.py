"""How often something was tried: limits that hold for all processes, and keep nobody's address or network."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from mailer.models import Attempt

_START = datetime(2020, 1, 1, tzinfo=UTC)


def count(session: Session, who: bytes, now: datetime, window: timedelta) -> int:
    """Count one more attempt by ``who`` (a keyed hash) in the present window; returns how many that makes."""
    query = """
        INSERT INTO attempt (who, since, count) VALUES (:who, :since, 1)
        ON CONFLICT (who, since) DO UPDATE SET count = attempt.count + 1 RETURNING count
    """
    since = now - (now - _START) % window
    return int(session.execute(text(query), {"who": who, "since": since}).scalar_one())


def forget(session: Session, before: datetime) -> int:
    """Drop windows that began before this; returns how many."""
    return session.connection().execute(delete(Attempt).where(Attempt.since < before)).rowcount
