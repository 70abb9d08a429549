"""Editions, batches and the delivery ledger."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.feedback import FeedbackKind
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import BatchState, DeliveryState, SkipReason
from mailer.models.base import Base, SectionMask, enum_of


class Edition(Base):
    __tablename__ = "edition"

    id: Mapped[int] = mapped_column(primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"))
    language: Mapped[str]
    sections: Mapped[int] = mapped_column(SectionMask)
    sources: Mapped[int] = mapped_column(SectionMask, default=0, server_default="0")
    """Only in a digest: a mask of its issues, by their positions in ``Issue.digest_source_ids``; otherwise 0."""
    revision: Mapped[int] = mapped_column(default=0)
    """The issue's revision that was rendered; 0 before the first rendering."""
    subject: Mapped[str] = mapped_column(default="")
    story_count: Mapped[int] = mapped_column(default=0)
    fallback_count: Mapped[int] = mapped_column(default=0)
    """Number of stories in another language than the edition's."""
    html: Mapped[str] = mapped_column(default="")
    """The web view, without slots."""
    message: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    slots: Mapped[list[Any]] = mapped_column(default=list)
    """``[[offset in message, slot], …]``: see mailer.domain.message."""

    __table_args__ = (UniqueConstraint("issue_id", "language", "sections", "sources"),)


class LanguageChoice(Base):
    """The language that an issue's subscribers with given preferences get, and its sections with a story."""

    __tablename__ = "language_choice"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"), primary_key=True)
    languages: Mapped[list[str]] = mapped_column(primary_key=True)
    sources: Mapped[int] = mapped_column(SectionMask, primary_key=True, default=0, server_default="0")
    """As in ``Edition``."""
    language: Mapped[str | None]
    sections: Mapped[int] = mapped_column(SectionMask)


class Batch(Base):
    """A range of subscribers of one issue: the unit that is expanded, claimed and counted."""

    __tablename__ = "batch"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"))
    first_subscriber_id: Mapped[int] = mapped_column(BigInteger)
    last_subscriber_id: Mapped[int] = mapped_column(BigInteger)
    """Both ends are included."""
    state: Mapped[BatchState] = mapped_column(enum_of(BatchState, "batch_state"), default=BatchState.planned)
    due_at: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(default=0)
    """Increased by each claim. A worker with an older epoch can no longer write."""
    lease_until: Mapped[datetime | None]
    worker: Mapped[str] = mapped_column(default="")
    enqueued_at: Mapped[datetime | None]
    is_retry: Mapped[bool] = mapped_column(default=False)
    """Whether only deferred deliveries are left, which go through the retry queue."""
    candidates: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    uncertain: Mapped[int] = mapped_column(default=0)
    progressed_at: Mapped[datetime | None]
    """When one of its deliveries was last finished."""

    __table_args__ = (
        Index("ix_batch_issue_id", "issue_id", "first_subscriber_id"),
        Index("ix_batch_uncertain", "issue_id", postgresql_where=text("uncertain > 0")),
        Index("ix_batch_unfinished", "state", "due_at", postgresql_where=text("state <> 'done'")),
    )


class BatchRefusal(Base):
    """How many deliveries of a batch wait or failed, by domain and reply: see mailer.store.refusals."""

    __tablename__ = "batch_refusal"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    relay: Mapped[str] = mapped_column(primary_key=True)
    """Empty if no relay has seen them."""
    code: Mapped[str] = mapped_column(primary_key=True)
    """Such as ``450 4.2.1``; empty without one."""
    wording: Mapped[int] = mapped_column(primary_key=True)
    """A hash of the reply without what differs between readers; 0 without a reply."""
    deferred: Mapped[int]
    """Waiting for another attempt."""
    held: Mapped[int]
    """Due, and not attempted."""
    failed: Mapped[int]
    next_due_at: Mapped[datetime | None]
    """Of the deferred ones."""
    example: Mapped[int] = mapped_column(BigInteger)
    """A subscriber whose delivery has the reply."""

    __table_args__ = (Index("ix_batch_refusal_waiting", "batch_id", postgresql_where=text("deferred > 0 OR held > 0")),)


class Delivery(Base):
    """The ledger: exactly one row for each subscriber to whom an issue is or would have been sent."""

    __tablename__ = "delivery"

    issue_id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    due_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    edition_id: Mapped[int | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[DeliveryState] = mapped_column(enum_of(DeliveryState, "delivery_state"))
    skip_reason: Mapped[SkipReason | None] = mapped_column(enum_of(SkipReason, "skip_reason"))
    digest_id: Mapped[int | None]
    """Only if skipped as ``digest_only``: the digest that holds the issue for the subscriber, if there is one yet."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    policy_refusals: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts that were refused by policy: after some of them the delivery has failed."""
    last_reply: Mapped[str | None]
    """The relay's last reply, such as ``250 2.0.0 Ok``, or the reply quoted in a bounce."""
    relay: Mapped[str | None]
    """The name of the relay that gave the reply."""
    resends: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """How often it was resent after an uncertain outcome. If not 0, the subscriber may have got it twice."""

    resolution: Mapped[Resolution | None] = mapped_column(enum_of(Resolution, "delivery_resolution"))
    """How it was resolved since its last attempt, other than by the relay's reply."""
    resolution_source: Mapped[ResolutionSource | None] = mapped_column(enum_of(ResolutionSource, "resolution_source"))
    resolved_by: Mapped[str | None]
    """Only for ``staff``: who decided."""
    resolution_note: Mapped[str | None]
    """Only for ``staff``: on what grounds."""

    __table_args__ = (
        Index(
            "ix_delivery_awaiting_digest",
            "issue_id",
            "subscriber_id",
            postgresql_where=text("skip_reason = 'digest_only' AND digest_id IS NULL"),
        ),
        {"postgresql_partition_by": "LIST (issue_id)"},
    )


class DeliveryOrder(Base):
    """An order to retry or resolve all deliveries that match a filter: see mailer.services.delivery.bulk."""

    __tablename__ = "delivery_order"

    id: Mapped[int] = mapped_column(primary_key=True)
    resolution: Mapped[Resolution] = mapped_column(enum_of(Resolution, "delivery_resolution"))
    filter: Mapped[dict[str, Any]]
    """The fields of mailer.store.delivery_search.DeliveryFilter."""
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    after_issue: Mapped[int | None]
    after_subscriber: Mapped[int | None] = mapped_column(BigInteger)
    """The last delivery that was looked at; None at the beginning."""
    ordered_by: Mapped[str]
    reason: Mapped[str]
    ordered_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_delivery_order_unfinished", "id", postgresql_where=text("finished_at IS NULL")),)


class IssueFigures(Base):
    """Figures of an issue that need all its deliveries: see mailer.store.figures."""

    __tablename__ = "issue_figures"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
    """What the ledger was like when they were counted."""
    seconds: Mapped[float]
    """How long that took."""
    figures: Mapped[Any] = mapped_column(JSONB)
    counted_at: Mapped[datetime]


class UnrecognizedMail(Base):
    """The beginning of a mail to a return path that is neither a bounce nor an automatic reply, kept for a while."""

    __tablename__ = "unrecognized_mail"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"))
    subscriber_id: Mapped[int] = mapped_column(BigInteger)
    beginning: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (UniqueConstraint("subscriber_id", "issue_id"),)


class Feedback(Base):
    """A bounce, complaint, unsubscribe, open or click."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[FeedbackKind] = mapped_column(enum_of(FeedbackKind, "feedback_kind"))
    at: Mapped[datetime]
    newsletter_id: Mapped[int | None] = mapped_column(ForeignKey("newsletter.id"))
    issue_id: Mapped[int | None] = mapped_column(ForeignKey("issue.id"), index=True)
    subscriber_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
