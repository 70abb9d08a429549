"""Subscribers, their subscriptions and consents, and the addresses that must not be mailed."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.states import SubscriptionState
from mailer.models.base import Base, Mask, enum_of


class Subscriber(Base):
    __tablename__ = "subscriber"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    address: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Keyed hash of the normalised address, 16 bytes: what suppressions are matched by."""
    name: Mapped[str] = mapped_column(server_default="")
    languages: Mapped[list[str]]
    """BCP 47 tags in order of preference."""
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Subscription(Base):
    __tablename__ = "subscription"

    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"), primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True
    )
    state: Mapped[SubscriptionState] = mapped_column(enum_of(SubscriptionState, "subscription_state"))
    sections: Mapped[int] = mapped_column(Mask)
    """Sections followed. Bits of sections that do not exist yet are set for who follows new ones too."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index(None, "subscriber_id"),)


class Consent(Base):
    """Append-only evidence: what someone agreed to or withdrew, in which words, where and when."""

    __tablename__ = "consent"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), index=True
    )
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    kind: Mapped[str]
    given: Mapped[bool]
    source: Mapped[str]
    wording: Mapped[str] = mapped_column(server_default="")
    language: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime]


class Suppression(Base):
    """An address that must not be mailed, known only by its keyed hash: it outlives the subscriber."""

    __tablename__ = "suppression"

    address_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    reason: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
