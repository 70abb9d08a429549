"""Somebody who is signed in, and what they may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Permission, Role, RoleGrant, allows, newsletters_with
from mailer.store import audit_log
from mailer.store.database import Session


@dataclass(frozen=True, slots=True)
class Staff:
    """An account in one session."""

    account: int
    session: int
    name: str
    address: str
    language: str
    grants: tuple[RoleGrant, ...]
    network: str
    """The network of the present request, shortened."""
    needs_code: bool = False
    """Whether the code of the second factor is still to be entered: nothing else is allowed until then."""
    has_second_factor: bool = False
    has_password: bool = True
    """Whether the account has one, or its owner signs in at a provider of OpenID Connect only."""

    def may(self, permission: Permission, newsletter: int | None = None, language: str | None = None) -> bool:
        """Return whether this account may do something: see mailer.domain.permissions.allows."""
        return not self.needs_code and allows(self.grants, permission, newsletter, language)

    def may_write(self, newsletter: int, language: str, source_language: str) -> bool:
        """Return whether this account may change a text in a language: that of its source only with ``write``."""
        needed = Permission.write if language == source_language else Permission.translate_texts
        return self.may(needed, newsletter, language)

    def may_anywhere(self, permission: Permission) -> bool:
        """Return whether any newsletter, or the service as a whole, gives the permission."""
        return not self.needs_code and newsletters_with(self.grants, permission) != frozenset()

    def newsletters(self, permission: Permission) -> frozenset[int] | None:
        """Return the newsletters that give a permission; None for all."""
        return frozenset() if self.needs_code else newsletters_with(self.grants, permission)

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(dict.fromkeys(grant.role for grant in self.grants))

    def record(
        self,
        session: Session,
        at: datetime,
        action: AuditAction,
        object_kind: str = "",
        object_id: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a line of the audit log in this transaction."""
        audit_log.record(
            session,
            at,
            self,
            action,
            object_kind=object_kind,
            object_id=object_id,
            detail=detail,
        )
