"""The audit log of what staff did."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor, AuditAction, name_of
from mailer.models import AuditEvent


def record(
    session: Session,
    at: datetime | None,
    actor: Actor,
    action: AuditAction,
    *,
    account: int | None = None,
    object_kind: str = "",
    object_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
    network: str = "",
) -> None:
    """Write a line. ``at``: None for the database's time. ``account`` and ``network``: of an actor given by name."""
    roles: list[str] = []
    if not isinstance(actor, str):
        account, network, roles = actor.account, actor.network, [*actor.roles]
    session.add(
        AuditEvent(
            at=at or func.clock_timestamp(),
            account_id=account,
            actor=name_of(actor),
            roles=roles,
            action=action,
            object_kind=object_kind,
            object_id=object_id,
            detail=dict(detail or {}),
            network=network,
        )
    )


def search(
    session: Session,
    *,
    action: AuditAction | None = None,
    actor: str = "",
    object_kind: str = "",
    object_id: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditEvent]:
    """Return the newest events that match, with ids below ``before``. ``actor``: a part of the name."""
    query = select(AuditEvent)
    if action:
        query = query.where(AuditEvent.action == action)
    if actor:
        query = query.where(AuditEvent.actor.icontains(actor, autoescape=True))
    if object_kind:
        query = query.where(AuditEvent.object_kind == object_kind)
    if object_id is not None:
        query = query.where(AuditEvent.object_id == object_id)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return list(session.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)))


def last_change_of_newsletter(session: Session, newsletter: int) -> AuditEvent | None:
    """Return the latest change of a newsletter's settings at the desk."""
    action = AuditAction.newsletter_changed
    return next(iter(search(session, action=action, object_kind="newsletter", object_id=newsletter, limit=1)), None)
