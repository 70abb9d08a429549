"""Roles of staff, and the permissions that each of them has."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """What a page or an action needs."""

    read_issues = "read_issues"
    """See issues, their editions and what is missing."""
    write = "write"
    """Import texts and pictures in any language, and remove stories."""
    translate_texts = "translate_texts"
    """Import texts in the languages of the role."""
    approve = "approve"
    schedule = "schedule"
    """Schedule, pause, resume, slow down and cancel."""
    read_reports = "read_reports"
    read_addresses = "read_addresses"
    """See who a reader is. Opening a reader's page is recorded."""
    change_subscribers = "change_subscribers"
    change_newsletter = "change_newsletter"
    operate = "operate"
    """See and steer queues, relays and deliveries."""
    read_audit_log = "read_audit_log"
    manage_accounts = "manage_accounts"


class Role(StrEnum):
    author = "author"
    translator = "translator"
    approver = "approver"
    coordinator = "coordinator"
    ops = "ops"
    administrator = "administrator"


_P = Permission
ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.author: frozenset({_P.read_issues, _P.write, _P.translate_texts}),
    Role.translator: frozenset({_P.read_issues, _P.translate_texts}),
    Role.approver: frozenset({_P.read_issues, _P.approve, _P.read_reports}),
    Role.coordinator: frozenset(
        {
            _P.read_issues,
            _P.write,
            _P.translate_texts,
            _P.approve,
            _P.schedule,
            _P.read_reports,
            _P.read_addresses,
            _P.change_subscribers,
            _P.change_newsletter,
        }
    ),
    Role.ops: frozenset({_P.read_issues, _P.schedule, _P.read_reports, _P.read_addresses, _P.operate}),
    Role.administrator: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """A role that an account has, for one newsletter or for all of them."""

    role: Role
    newsletter: int | None = None
    """None for all newsletters."""
    languages: tuple[str, ...] = ()
    """The only languages for which ``translate_texts`` and ``approve`` are granted; empty for all."""

    def allows(self, permission: Permission, newsletter: int | None, language: str | None) -> bool:
        """Return whether the role allows something. ``newsletter`` None stands for the service as a whole."""
        if permission not in ROLE_PERMISSIONS[self.role]:
            return False
        if self.newsletter is not None and self.newsletter != newsletter:
            return False
        return language is None or not self.languages or language in self.languages


def allows(
    grants: Iterable[RoleGrant], permission: Permission, newsletter: int | None = None, language: str | None = None
) -> bool:
    """Return whether any role allows something, for a newsletter and, if given, in a language.

    ``newsletter`` None stands for the service as a whole, which only roles for all newsletters cover.
    """
    return any(grant.allows(permission, newsletter, language) for grant in grants)


def newsletters_with(grants: Iterable[RoleGrant], permission: Permission) -> frozenset[int] | None:
    """Return the newsletters for which any role gives a permission; None for all."""
    found = set()
    for grant in grants:
        if permission in ROLE_PERMISSIONS[grant.role]:
            if grant.newsletter is None:
                return None
            found.add(grant.newsletter)
    return frozenset(found)
