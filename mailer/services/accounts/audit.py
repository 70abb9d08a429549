"""The audit log, for those who may read it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mailer.domain.accounts import AuditAction
from mailer.models import AuditEvent
from mailer.services.accounts.staff import Staff
from mailer.store import audit_log
from mailer.store.database import Database

PAGE_SIZE = 50


def search(database: Database, action: AuditAction | None, actor: str, before: int | None) -> list[AuditEvent]:
    """Return a page of the newest events that match, with ids below ``before``."""
    with database.transaction() as session:
        return audit_log.search(session, action=action, actor=actor, before=before, limit=PAGE_SIZE)


def record(
    database: Database,
    staff: Staff,
    at: datetime,
    action: AuditAction,
    object_kind: str = "",
    object_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write a line of the audit log."""
    with database.transaction() as session:
        staff.record(session, at, action, object_kind, object_id, detail)
