"""The audit log, for those who may read it."""

from mailer.domain.accounts import AuditAction
from mailer.models import AuditEvent
from mailer.store import audit_log
from mailer.store.database import Database

PAGE_SIZE = 50


def search(database: Database, action: AuditAction | None, actor: str, before: int | None) -> list[AuditEvent]:
    """Return a page of the newest events that match, with ids below ``before``."""
    with database.transaction() as session:
        return audit_log.search(session, action=action, actor=actor, before=before, limit=PAGE_SIZE)
