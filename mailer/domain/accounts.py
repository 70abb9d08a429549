"""Rules for accounts of staff: passwords, sessions, links by mail, and the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Protocol

from mailer.domain.errors import UserError
from mailer.domain.permissions import Role
from mailer.domain.states import IssueEventKind
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, read_address

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 256
"""More is refused before it is hashed."""
MAX_NAME_CHARS = 100
RECOVERY_CODES = 10
INVITATION_LIFETIME = timedelta(days=7)
RESET_LIFETIME = timedelta(hours=1)


class AccountLinkKind(StrEnum):
    """What a link in a mail to staff is for."""

    invitation = "invitation"
    password_reset = "password_reset"  # noqa: S105


LINK_LIFETIME = {AccountLinkKind.invitation: INVITATION_LIFETIME, AccountLinkKind.password_reset: RESET_LIFETIME}


class AuditAction(StrEnum):
    """What the audit log records."""

    signed_in = "signed_in"
    sign_in_refused = "sign_in_refused"
    signed_out = "signed_out"
    session_ended = "session_ended"
    password_changed = "password_changed"  # noqa: S105
    reset_requested = "reset_requested"
    second_factor_on = "second_factor_on"
    second_factor_off = "second_factor_off"
    identity_linked = "identity_linked"
    identity_unlinked = "identity_unlinked"
    invited = "invited"
    account_created = "account_created"
    roles_changed = "roles_changed"
    account_disabled = "account_disabled"
    account_enabled = "account_enabled"
    document_imported = "document_imported"
    text_written = "text_written"
    issue_begun = "issue_begun"
    language_begun = "language_begun"
    language_removed = "language_removed"
    texts_ready = "texts_ready"
    issue_deleted = "issue_deleted"
    issue_policy_changed = "issue_policy_changed"
    text_requested = "text_requested"
    text_reminded = "text_reminded"
    text_handed_in = "text_handed_in"
    text_sent_back = "text_sent_back"
    text_taken_in = "text_taken_in"
    text_request_withdrawn = "text_request_withdrawn"
    story_added = "story_added"
    story_copied = "story_copied"
    story_removed = "story_removed"
    story_moved = "story_moved"
    story_held_over = "story_held_over"
    story_restored = "story_restored"
    sections_ordered = "sections_ordered"
    contact_changed = "contact_changed"
    issue_tested = "issue_tested"
    header_image_changed = "header_image_changed"
    story_picture_changed = "story_picture_changed"
    picture_deleted = "picture_deleted"
    """From the library of a newsletter."""
    issue_approved = "issue_approved"
    issue_reopened = "issue_reopened"
    issue_scheduled = "issue_scheduled"
    issue_unscheduled = "issue_unscheduled"
    issue_paused = "issue_paused"
    issue_resumed = "issue_resumed"
    issue_limited = "issue_limited"
    issue_cancelled = "issue_cancelled"
    relay_suspended = "relay_suspended"
    relay_released = "relay_released"
    worker_drained = "worker_drained"
    worker_released = "worker_released"
    address_suppressed = "address_suppressed"
    suppression_lifted = "suppression_lifted"
    deliveries_retried = "deliveries_retried"
    deliveries_resolved = "deliveries_resolved"
    subscriber_opened = "subscriber_opened"
    subscriber_changed = "subscriber_changed"
    subscribers_exported = "subscribers_exported"
    newsletter_changed = "newsletter_changed"
    contact_card_changed = "contact_card_changed"
    list_uploaded = "list_uploaded"
    list_imported = "list_imported"
    list_cancelled = "list_cancelled"


ISSUE_ACTIONS = {
    IssueEventKind.created: AuditAction.issue_begun,
    IssueEventKind.imported: AuditAction.document_imported,
    IssueEventKind.written: AuditAction.text_written,
    IssueEventKind.language_begun: AuditAction.language_begun,
    IssueEventKind.language_removed: AuditAction.language_removed,
    IssueEventKind.texts_ready: AuditAction.texts_ready,
    IssueEventKind.story_added: AuditAction.story_added,
    IssueEventKind.story_copied: AuditAction.story_copied,
    IssueEventKind.story_removed: AuditAction.story_removed,
    IssueEventKind.story_moved: AuditAction.story_moved,
    IssueEventKind.story_held_over: AuditAction.story_held_over,
    IssueEventKind.story_restored: AuditAction.story_restored,
    IssueEventKind.section_order: AuditAction.sections_ordered,
    IssueEventKind.contact_changed: AuditAction.contact_changed,
    IssueEventKind.tested: AuditAction.issue_tested,
    IssueEventKind.header_image: AuditAction.header_image_changed,
    IssueEventKind.story_picture: AuditAction.story_picture_changed,
    IssueEventKind.policy: AuditAction.issue_policy_changed,
    IssueEventKind.approved: AuditAction.issue_approved,
    IssueEventKind.reopened: AuditAction.issue_reopened,
    IssueEventKind.scheduled: AuditAction.issue_scheduled,
    IssueEventKind.unscheduled: AuditAction.issue_unscheduled,
    IssueEventKind.limited: AuditAction.issue_limited,
    IssueEventKind.paused: AuditAction.issue_paused,
    IssueEventKind.resumed: AuditAction.issue_resumed,
    IssueEventKind.cancelled: AuditAction.issue_cancelled,
}
"""What the audit log says of an entry in an issue's log that somebody caused."""


class ActingStaff(Protocol):
    """Somebody who is signed in and does something."""

    @property
    def account(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def roles(self) -> Sequence[Role]: ...
    @property
    def network(self) -> str:
        """The network of the request, shortened."""


Actor = ActingStaff | str
"""Who does something: somebody who is signed in, or a user of the command line by name."""
THE_SERVICE = ""
"""The actor of what the service does by itself."""


def name_of(actor: Actor) -> str:
    return actor if isinstance(actor, str) else actor.name


def account_of(actor: Actor) -> int | None:
    return None if isinstance(actor, str) else actor.account


@dataclass(frozen=True, slots=True)
class SessionLifetime:
    """When a session ends by itself."""

    idle: timedelta = timedelta(hours=2)
    absolute: timedelta = timedelta(hours=14)
    second_factor: timedelta = timedelta(minutes=5)
    """How long a sign-in waits for the code of the second factor."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider of OpenID Connect."""

    issuer: str
    subject: str
    """The provider's name for the person, which never changes and is never given to anybody else."""
    address: str
    is_verified: bool
    """Whether the provider says that the address is theirs."""
    is_multi_factor: bool
    """Whether the provider says that it asked for more than one factor (``amr`` has ``mfa``, RFC 8176)."""


class IdentityProblem(StrEnum):
    """Why somebody whom the provider has identified is not signed in."""

    unverified = "unverified"
    unknown = "unknown"
    disabled = "disabled"
    invitation_expired = "invitation_expired"
    other_identity = "other_identity"
    """The account is linked with somebody else at the same provider: the address has a new owner there."""


class PasswordRefused(UserError, ValueError):
    """The password does not meet the rules. The message says which."""


def check_password(password: str, address: str, name: str) -> None:
    """Raise PasswordRefused for a password that is too short, too long or easy to guess.

    Length counts, not kinds of characters (NIST SP 800-63B, section 3.1.1.2).
    """
    if len(password) < MIN_PASSWORD_CHARS:
        raise PasswordRefused(f"The password has {len(password)} characters. Use at least {MIN_PASSWORD_CHARS}.")
    if len(password) > MAX_PASSWORD_CHARS:
        raise PasswordRefused(f"The password is too long. Use at most {MAX_PASSWORD_CHARS} characters.")
    folded = password.casefold()
    if len(set(folded)) < 5:
        raise PasswordRefused("The password repeats the same few characters. Use several words instead.")
    words = [address.partition("@")[0].casefold(), name.casefold(), "password", "newsletter"]
    rest = folded
    for word in words:
        rest = rest.replace(word, "") if len(word) > 2 else rest
    if len(rest) < MIN_PASSWORD_CHARS // 2:
        raise PasswordRefused("The password is close to your name, your address or a common word. Use several words.")


def normalize_address(text: str) -> str:
    """Return the spelling under which an account's address is kept. What is no address is only folded."""
    try:
        return read_address(text.strip())[1].casefold()
    except ValueError:
        return text.strip().casefold()[:MAX_ADDRESS_OCTETS]


def shorten_network(host: str) -> str:
    """Return the network of an IP address for the audit log: ``192.0.2.0/24``, /48 for IPv6, or an empty string."""
    try:
        ip = ip_address(host)
    except ValueError:
        return ""
    return str(ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
