"""Subscribers, their subscriptions and consents, and suppressions."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.states import Frequency, SubscriptionState
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models.base import Base, SectionMask, enum_of

consent_channel = enum_of(ConsentChannel, "consent_channel")


class Subscriber(Base):
    __tablename__ = "subscriber"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    address: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Keyed hash of the normalised address, 16 bytes. Suppressions are matched by it."""
    name: Mapped[str] = mapped_column(server_default="")
    languages: Mapped[list[str]]
    """BCP 47 tags in order of preference."""
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    text_only: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether emails are sent without HTML."""
    address_changed_at: Mapped[datetime | None]
    """When the address last changed.

    Older magic links are invalid, and bounces of earlier mail concern the old address.
    """
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    # For searches: see mailer.store.subscriber_lists.
    __table_args__ = (
        Index(
            "ix_subscriber_address",
            func.lower(text("address")).label("folded"),
            postgresql_ops={"folded": "text_pattern_ops"},
            postgresql_include=["id"],
        ),
        Index(
            "ix_subscriber_domain",
            func.lower(func.split_part(text("address"), text("'@'"), text("2"))).label("folded"),
            postgresql_ops={"folded": "text_pattern_ops"},
            postgresql_include=["id"],
        ),
        Index(
            "ix_subscriber_name",
            text("to_tsvector('simple', name)"),
            postgresql_using="gin",
            postgresql_where=text("name <> ''"),
        ),
    )


class SubscriberAlias(Base):
    """Maps the id of a merged subscriber to the one that replaced it, so that old links keep working."""

    __tablename__ = "subscriber_alias"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The id of the merged subscriber, which is never used again."""
    subscriber_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), index=True)


class Subscription(Base):
    """A subscriber's subscription to a newsletter.

    It has no foreign keys, which took more than half the time of a large import. Newsletters are never deleted,
    store.subscribers.lock keeps a subscriber from being erased while a subscription is inserted, and a trigger on
    ``subscriber`` deletes their subscriptions. Lookups by ``subscriber_id`` alone use the primary key (a skip scan).
    """

    __tablename__ = "subscription"

    newsletter_id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    state: Mapped[SubscriptionState] = mapped_column(enum_of(SubscriptionState, "subscription_state"))
    sections: Mapped[int] = mapped_column(SectionMask)
    """Sections followed. Bits of sections that do not exist yet are set if new sections are followed too."""
    frequency: Mapped[Frequency] = mapped_column(
        enum_of(Frequency, "frequency"), default=Frequency.each, server_default=Frequency.each
    )
    paused_until: Mapped[datetime | None]
    tracking: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether the subscriber agreed to individual tracking. Set only together with a row in ``consent``."""
    previous_preferences: Mapped[dict[str, Any] | None]
    """The preferences that the last change replaced, for undo: see mailer.domain.preferences.snapshot."""
    previous_at: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    consent_source: Mapped[str | None]
    """Only for an imported subscription: the consent source in the file.

    The evidence of an imported consent is kept here instead of in a row of ``consent``. store.subscribers.consents
    returns both.
    """
    consent_language: Mapped[str | None]
    consent_at: Mapped[datetime | None]


class Consent(Base):
    """Append-only evidence of a consent given or withdrawn: its wording, channel and time.

    The first consent of an imported subscription is kept in the row of the subscription instead.
    """

    __tablename__ = "consent"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("subscriber.id", ondelete="CASCADE"), index=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    kind: Mapped[ConsentKind] = mapped_column(enum_of(ConsentKind, "consent_kind"))
    given: Mapped[bool]
    channel: Mapped[ConsentChannel] = mapped_column(consent_channel)
    note: Mapped[str] = mapped_column(server_default="")
    """Only for ``csv_import``: the consent source in the file."""
    wording: Mapped[str] = mapped_column(server_default="")
    language: Mapped[str] = mapped_column(server_default="")
    requested_at: Mapped[datetime | None]
    """When the form was submitted, for a consent that was confirmed later."""
    at: Mapped[datetime]


class AddressKey(Base):
    """The fingerprint of the key that addresses are hashed with: one row, stored at the first start."""

    __tablename__ = "address_key"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default="1")
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Suppression(Base):
    """An address that must not be mailed, stored as a keyed hash. It outlives the subscriber."""

    __tablename__ = "suppression"

    address_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    reason: Mapped[SuppressionReason] = mapped_column(enum_of(SuppressionReason, "suppression_reason"))
    source: Mapped[SuppressionSource] = mapped_column(enum_of(SuppressionSource, "suppression_source"))
    note: Mapped[str] = mapped_column(server_default="")
    """The reply in a bounce, or a note by staff. It must not contain an address, since it outlives the subscriber."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)

    __table_args__ = (
        Index("ix_suppression_refused", "created_at", postgresql_where=text("reason = 'repeated_refusals'")),
    )
