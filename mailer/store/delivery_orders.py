"""Orders that change many deliveries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.domain.resolution import Resolution
from mailer.models import DeliveryOrder


def add(
    session: Session,
    resolution: Resolution,
    only: Mapping[str, Any],
    total: int,
    ordered_by: str,
    reason: str,
    now: datetime,
) -> int:
    """Add an order; return its id."""
    order = DeliveryOrder(
        resolution=resolution, filter=dict(only), total=total, ordered_by=ordered_by, reason=reason, ordered_at=now
    )
    session.add(order)
    session.flush()
    return order.id


def find(session: Session, order: int) -> DeliveryOrder | None:
    return session.get(DeliveryOrder, order)


def claim(session: Session, order: int) -> DeliveryOrder | None:
    """Lock an unfinished order; return None if it is finished or another process has locked it."""
    query = select(DeliveryOrder).where(DeliveryOrder.id == order, DeliveryOrder.finished_at.is_(None))
    return session.scalar(query.with_for_update(skip_locked=True))


def unfinished(session: Session) -> Sequence[int]:
    return session.scalars(
        select(DeliveryOrder.id).where(DeliveryOrder.finished_at.is_(None)).order_by(DeliveryOrder.id)
    ).all()
