"""Throttles of relays and destinations, and the daily usage of relays that are warming up."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.throttling import ThrottleScope, ThrottleState
from mailer.models import RelayDailyUsage
from mailer.models import Throttle as Row


def _from_row(row: Row) -> ThrottleState:
    return ThrottleState(**{name: getattr(row, name) for name in ThrottleState.__dataclass_fields__})


def load_all(session: Session) -> dict[tuple[ThrottleScope, str], ThrottleState]:
    """Return all throttles; there are few, and usually none."""
    return {(row.scope, row.name): _from_row(row) for row in session.scalars(select(Row))}


def update(
    session: Session, scope: ThrottleScope, name: str, transition: Callable[[ThrottleState], ThrottleState]
) -> tuple[ThrottleState, ThrottleState]:
    """Lock a throttle, creating it if missing, and apply ``transition``; return (state before, state after)."""
    blank = insert(Row).values(**asdict(ThrottleState(scope, name)))
    # One statement inserts or locks the row: between two statements another worker could delete it.
    upsert = blank.on_conflict_do_update(index_elements=[Row.scope, Row.name], set_={"name": blank.excluded.name})
    row = session.scalars(upsert.returning(Row), execution_options={"populate_existing": True}).one()
    before = _from_row(row)
    changed = transition(before)
    if changed.is_idle:
        session.execute(delete(Row).where(Row.scope == scope, Row.name == name))
    else:
        for field, value in asdict(changed).items():
            setattr(row, field, value)
        session.flush()
    session.expunge(row)
    return before, changed


def delete_recovered(session: Session, slowed_before: datetime) -> None:
    """Delete throttles last slowed down before this time; they are back at full rate by now."""
    session.execute(delete(Row).where(Row.open_until.is_(None), Row.slowed_at < slowed_before))


def acquire_probe(session: Session, scope: ThrottleScope, name: str, now: datetime, lease: timedelta) -> bool:
    """Return whether this worker may probe a half-open breaker; only one worker at a time may."""
    query = """
        UPDATE throttle SET probe_lease_until = :until
        WHERE scope = :scope AND name = :name AND open_until <= :now
          AND (probe_lease_until IS NULL OR probe_lease_until <= :now)
        RETURNING 1
    """
    values = {"scope": scope.value, "name": name, "now": now, "until": now + lease}
    return session.execute(text(query), values).first() is not None


def release_probe(session: Session, scope: ThrottleScope, name: str) -> None:
    """Let another worker probe a half-open breaker."""
    query = "UPDATE throttle SET probe_lease_until = NULL WHERE scope = :scope AND name = :name"
    session.execute(text(query), {"scope": scope.value, "name": name})


def lock_daily_sent(session: Session, relay: str, day: date) -> int:
    """Lock a relay's daily usage until the transaction ends; return the number of messages submitted that day."""
    session.execute(insert(RelayDailyUsage).values(relay=relay, day=day, sent=0).on_conflict_do_nothing())
    query = (
        select(RelayDailyUsage.sent).where(RelayDailyUsage.relay == relay, RelayDailyUsage.day == day).with_for_update()
    )
    return session.scalars(query).one()


def daily_sent(session: Session, relay: str, day: date) -> int:
    """Return the number of messages submitted to a relay that day, without a lock."""
    query = select(RelayDailyUsage.sent).where(RelayDailyUsage.relay == relay, RelayDailyUsage.day == day)
    return session.scalar(query) or 0


def add_daily_sent(session: Session, relay: str, day: date, count: int) -> None:
    """Add to a relay's daily usage. Call ``lock_daily_sent`` first in the same transaction."""
    query = "UPDATE relay_daily_usage SET sent = sent + :count WHERE relay = :relay AND day = :day"
    session.execute(text(query), {"relay": relay, "day": day, "count": count})
