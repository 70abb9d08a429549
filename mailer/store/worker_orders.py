"""Orders to workers, which each of them reads."""

from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.metrics import DrainOrder, host_of
from mailer.models import DrainOrder as Row


def list_all(session: Session) -> list[DrainOrder]:
    """Return the orders to drain, the oldest first."""
    return [
        DrainOrder(row.name, row.ordered_by, row.ordered_at, row.reason)
        for row in session.scalars(select(Row).order_by(Row.ordered_at, Row.name))
    ]


def is_drained(session: Session, worker: str) -> bool:
    query = select(Row.name).where(Row.name.in_([worker, host_of(worker)])).limit(1)
    return session.scalar(query) is not None


def add(session: Session, order: DrainOrder) -> bool:
    """Give an order; return False if there is one of this name, which stays."""
    given = insert(Row).values(**asdict(order)).on_conflict_do_nothing().returning(Row.name)
    return session.scalar(given) is not None


def take_back(session: Session, name: str) -> bool:
    """Return whether there was such an order."""
    return session.scalar(delete(Row).where(Row.name == name).returning(Row.name)) is not None
