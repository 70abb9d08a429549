"""What holds relays and destinations back, and what a relay that warms up has sent."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.throttling import Kind, Throttle
from mailer.models import RelayDay
from mailer.models import Throttle as Row


def _read(row: Row) -> Throttle:
    return Throttle(**{name: getattr(row, name) for name in Throttle.__dataclass_fields__})


def present(session: Session) -> dict[tuple[Kind, str], Throttle]:
    """Everything that is held back; few rows, mostly none."""
    return {(row.kind, row.name): _read(row) for row in session.scalars(select(Row))}


def change(
    session: Session, kind: Kind, name: str, how: Callable[[Throttle], Throttle]
) -> tuple[Throttle, Throttle]:
    """Change what holds one back, alone: others who want to wait. Returns what was in force, and what is now."""
    blank = insert(Row).values(**asdict(Throttle(kind, name)))
    # One statement: between two of them, somebody else may delete the row.
    held = blank.on_conflict_do_update(
        index_elements=[Row.kind, Row.name], set_={"name": blank.excluded.name}
    )
    row = session.scalars(held.returning(Row), execution_options={"populate_existing": True}).one()
    before = _read(row)
    changed = how(before)
    if changed.is_idle:
        session.execute(delete(Row).where(Row.kind == kind, Row.name == name))
    else:
        for field, value in asdict(changed).items():
            setattr(row, field, value)
        session.flush()
    session.expunge(row)
    return before, changed


def forget(session: Session, slowed_before: datetime) -> None:
    """Drop what was slowed down long ago and has won everything back since."""
    session.execute(delete(Row).where(Row.shut_until.is_(None), Row.slowed_at < slowed_before))


def probe(session: Session, kind: Kind, name: str, now: datetime, lease: timedelta) -> bool:
    """Whether this worker may try a half-open breaker: one at a time may."""
    query = """
        UPDATE throttle SET probed_until = :until
        WHERE kind = :kind AND name = :name AND shut_until <= :now
          AND (probed_until IS NULL OR probed_until <= :now)
        RETURNING 1
    """
    values = {"kind": kind.value, "name": name, "now": now, "until": now + lease}
    return session.execute(text(query), values).first() is not None


def end_probe(session: Session, kind: Kind, name: str) -> None:
    """Somebody else may try a half-open breaker."""
    query = "UPDATE throttle SET probed_until = NULL WHERE kind = :kind AND name = :name"
    session.execute(text(query), {"kind": kind.value, "name": name})


def handed(session: Session, relay: str, day: date) -> int:
    """How many messages a relay that warms up was handed on a day; nobody else counts until the end of this
    transaction."""
    session.execute(insert(RelayDay).values(relay=relay, day=day, handed=0).on_conflict_do_nothing())
    query = select(RelayDay.handed).where(RelayDay.relay == relay, RelayDay.day == day).with_for_update()
    return session.scalars(query).one()


def handed_on(session: Session, relay: str, day: date) -> int:
    """The same for those who only look."""
    query = select(RelayDay.handed).where(RelayDay.relay == relay, RelayDay.day == day)
    return session.scalar(query) or 0


def count_handed(session: Session, relay: str, day: date, more: int) -> None:
    """Count messages of a relay that warms up. Call ``handed`` first in the same transaction."""
    query = "UPDATE relay_day SET handed = handed + :more WHERE relay = :relay AND day = :day"
    session.execute(text(query), {"relay": relay, "day": day, "more": more})
