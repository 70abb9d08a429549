"""Requests that await confirmation, transactional emails, rate-limit counters and retention runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.consents import ConsentChannel
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models.base import Base, SectionMask, enum_of
from mailer.models.subscriber import consent_channel


class Signup(Base):
    """A sign-up at an address. Until it is confirmed, only the confirmation email is sent there."""

    __tablename__ = "signup"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    address: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    name: Mapped[str] = mapped_column(default="")
    languages: Mapped[list[str]]
    sections: Mapped[int] = mapped_column(SectionMask)
    language: Mapped[str]
    """Language of the sign-up page."""
    wording: Mapped[str]
    """The consent text that the page showed."""
    channel: Mapped[ConsentChannel] = mapped_column(consent_channel)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    confirmed_at: Mapped[datetime | None]


class AddressChange(Base):
    """A change of a subscriber's address, which both addresses must confirm."""

    __tablename__ = "address_change"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), index=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    """The newsletter that sends the emails about it."""
    address: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    old_confirmed_at: Mapped[datetime | None]
    new_confirmed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    done_at: Mapped[datetime | None]


class IssueTest(Base):
    """An edition as it was when somebody asked for a test of it or the issue went out, and an address that gets it."""

    __tablename__ = "issue_test"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), index=True)
    address: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    message: Mapped[bytes] = mapped_column(LargeBinary)
    slots: Mapped[list[Any]]
    """``message`` and ``slots`` are what ``CompiledMessage.serialize`` returned."""
    html: Mapped[str] = mapped_column(server_default="", default="")
    """Its web view. Empty for an address of the seed list, whose link leads to that of the edition."""
    seed: Mapped[bool] = mapped_column(server_default="false", default=False)
    """Whether it goes to an address of the seed list, with the issue itself."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("uq_issue_test_seed", "issue_id", "address_hash", unique=True, postgresql_where=text("seed")),
    )


class TransactionalEmail(Base):
    """An email about a subscription or an account. Its recipient and content follow from the rows that it refers to."""

    __tablename__ = "transactional_email"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[TransactionalEmailKind] = mapped_column(enum_of(TransactionalEmailKind, "transactional_email_kind"))
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    subscriber_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), index=True
    )
    signup_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("signup.id", ondelete="CASCADE"), index=True)
    change_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("address_change.id", ondelete="CASCADE"), index=True
    )
    account_link_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("account_link.id", ondelete="CASCADE"), index=True
    )
    issue_test_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("issue_test.id", ondelete="CASCADE"), index=True
    )
    text_request_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("text_request.id", ondelete="CASCADE"), index=True
    )
    language: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    policy_refusals: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    sent_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    last_reply: Mapped[str] = mapped_column(default="")

    __table_args__ = (
        Index(
            "ix_transactional_email_due",
            "due_at",
            postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL"),
        ),
        CheckConstraint(
            "num_nonnulls(subscriber_id, signup_id, change_id, account_link_id, issue_test_id, text_request_id) > 0",
            name="recipient",
        ),
    )


class RateLimitWindow(Base):
    """Number of attempts in a time window. ``subject_hash`` is a keyed hash of an address or network."""

    __tablename__ = "rate_limit_window"

    subject_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    window_start: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    hits: Mapped[int]


class RetentionRun(Base):
    """One retention run, with the number of deleted rows by category."""

    __tablename__ = "retention_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    deleted_counts: Mapped[dict[str, Any]]
