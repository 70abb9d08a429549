"""Accounts of staff, their roles and sessions, and the audit log. Staff are not subscribers."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.accounts import AccountLinkKind, AuditAction
from mailer.domain.permissions import Role
from mailer.models.base import Base, enum_of


class Account(Base):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    language: Mapped[str] = mapped_column(default="en")
    """Of the pages for staff."""
    password_hash: Mapped[str] = mapped_column(default="")
    """An Argon2 hash; empty before the invitation is accepted."""
    openid_issuer: Mapped[str | None]
    openid_subject: Mapped[str | None]
    """Who the owner is at the provider of OpenID Connect, since the first sign-in there."""
    totp_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Encrypted. Set but not confirmed while the second factor is being set up."""
    totp_confirmed_at: Mapped[datetime | None]
    totp_last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """The time step of the last code, which is not accepted again (RFC 6238, section 5.2)."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("openid_issuer", "openid_subject"),)

    @property
    def is_accepted(self) -> bool:
        """Whether the owner has signed in or chosen a password: until then the account is only an invitation."""
        return bool(self.password_hash or self.openid_subject)


class AccountRole(Base):
    __tablename__ = "account_role"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    role: Mapped[Role] = mapped_column(enum_of(Role, "role"))
    newsletter_id: Mapped[int | None] = mapped_column(ForeignKey("newsletter.id"))
    """None for all newsletters."""
    languages: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    """The only languages that the role may translate and approve; empty for all."""

    __table_args__ = (UniqueConstraint("account_id", "role", "newsletter_id", postgresql_nulls_not_distinct=True),)


class RecoveryCode(Base):
    """A code for one sign-in without the second factor."""

    __tablename__ = "recovery_code"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None]


class StaffSession(Base):
    __tablename__ = "staff_session"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    needs_code: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether the code of the second factor is still to be entered."""
    agent: Mapped[str]
    """The browser, as it names itself."""
    network: Mapped[str]
    """The network that signed in, shortened."""


class AccountLink(Base):
    """A link in a mail to staff. It works once."""

    __tablename__ = "account_link"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[AccountLinkKind] = mapped_column(enum_of(AccountLinkKind, "account_link_kind"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    invited_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AuditEvent(Base):
    """The append-only log of what staff did."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    actor: Mapped[str]
    """The name at that time, also of who used the command line."""
    roles: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    """Those of the account at that time."""
    action: Mapped[AuditAction] = mapped_column(enum_of(AuditAction, "audit_action"))
    object_kind: Mapped[str] = mapped_column(default="")
    object_id: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    network: Mapped[str] = mapped_column(default="")
    """The network of the request, shortened."""

    __table_args__ = (Index("ix_audit_event_object", "object_kind", "object_id"),)
