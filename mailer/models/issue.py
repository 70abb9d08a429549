"""An issue, its stories and their translations, contacts and pictures."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.states import (
    IssueEventKind,
    IssueState,
    MissingTranslationPolicy,
    PauseReason,
    StoryChangeKind,
    TextSubject,
    TranslationStatus,
    VersionKind,
)
from mailer.models.base import Base, enum_of

_translation_status = enum_of(TranslationStatus, "translation_status")
_text_subject = enum_of(TextSubject, "text_subject")


class Issue(Base):
    __tablename__ = "issue"

    id: Mapped[int] = mapped_column(primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    number: Mapped[str]
    """As printed in the header: ``2026/3``."""
    issue_date: Mapped[date]
    state: Mapped[IssueState] = mapped_column(enum_of(IssueState, "issue_state"), default=IssueState.draft)
    missing_translations: Mapped[MissingTranslationPolicy] = mapped_column(
        enum_of(MissingTranslationPolicy, "missing_translation_policy"),
        default=MissingTranslationPolicy.fallback,
    )
    pause_reason: Mapped[PauseReason | None] = mapped_column(enum_of(PauseReason, "pause_reason"))
    """Set while the issue is paused. The event log has the person and details."""
    revision: Mapped[int] = mapped_column(default=1)
    """Increased by every change of content. Editions of an older revision are rendered again."""
    plan_revision: Mapped[int] = mapped_column(default=1, server_default="1")
    """The revision since which only texts were written: a plan that was shown since then is as it was."""
    digest_month: Mapped[date | None]
    """Only for a digest: the first day of the month at whose end it was due."""
    digest_source_ids: Mapped[list[int]] = mapped_column(ARRAY(Integer), default=list, server_default="{}")
    """Only for a digest: the issues that it holds, oldest first. ``Edition.sources`` is a mask of their positions."""
    section_order: Mapped[list[int]] = mapped_column(ARRAY(Integer), default=list, server_default="{}")
    """Sections in print order, if it differs from the newsletter's. Those that are not listed follow in that order."""
    header_image_id: Mapped[int | None] = mapped_column(ForeignKey("picture.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    scheduled_at: Mapped[datetime | None]
    """When to freeze the audience: at the time to send, or when ``local_time`` is reached in the first time zone.

    At most two years ahead, as ``local_time``.
    """
    local_time: Mapped[datetime | None] = mapped_column(DateTime(timezone=False))
    """Send at this time in each subscriber's time zone."""
    max_rate: Mapped[float | None]
    """Rate limit in messages per second; None for no limit."""
    frozen_at: Mapped[datetime | None]
    """When the audience was frozen and divided into batches."""
    ready_at: Mapped[datetime | None]
    """When all deliveries and editions were ready and sending began."""
    finished_at: Mapped[datetime | None]
    """When it was first sent completely, or cancelled."""
    retried_at: Mapped[datetime | None]
    """When deliveries were last retried by hand. Feedback received before this does not resolve them."""

    __table_args__ = (
        Index(
            "uq_issue_newsletter_id_number",
            "newsletter_id",
            "number",
            unique=True,
            postgresql_where=text("state <> 'cancelled'"),
        ),
        UniqueConstraint("newsletter_id", "digest_month"),
        # Later changes of the row cannot violate these, since now() only grows.
        CheckConstraint("scheduled_at BETWEEN '2000-01-01Z' AND now() + interval '732 days'", name="scheduled_at"),
        CheckConstraint("local_time BETWEEN '2000-01-01' AND now() + interval '733 days'", name="local_time"),
    )


class IssueTranslation(Base):
    """An issue's front matter in one language."""

    __tablename__ = "issue_translation"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[TranslationStatus] = mapped_column(_translation_status, default=TranslationStatus.ready)
    subject: Mapped[str]
    preheader: Mapped[str]
    intro: Mapped[str]
    imported_by_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    """The account that changed texts in this language last, by an import or otherwise, if it was one."""
    imported_by: Mapped[str] = mapped_column(server_default="", default="")
    """The name of that account at that time, or of the user of the command line."""
    partial_subject: Mapped[str] = mapped_column(server_default="", default="")
    """For editions without some of the issue's sections. Empty for the same subject."""
    partial_preheader: Mapped[str] = mapped_column(server_default="", default="")
    partial_intro: Mapped[str] = mapped_column(server_default="", default="")


class IssueApproval(Base):
    """The last approval of one language of an issue."""

    __tablename__ = "issue_approval"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of what was approved: see mailer.store.approvals."""
    at: Mapped[datetime]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    actor: Mapped[str]
    """As in ``IssueEvent``."""
    withdrawn_at: Mapped[datetime | None]
    """When the language was changed after its approval."""
    withdrawn_by: Mapped[str] = mapped_column(server_default="", default="")
    """The name of who changed it."""


class Story(Base):
    __tablename__ = "story"

    id: Mapped[int] = mapped_column(primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"))
    section_id: Mapped[int] = mapped_column(ForeignKey("section.id"))
    position: Mapped[int]
    picture_id: Mapped[int | None] = mapped_column(ForeignKey("picture.id"))
    source_issue_id: Mapped[int | None] = mapped_column(ForeignKey("issue.id"))
    """Only in a digest: the issue that it was copied from."""
    source_language: Mapped[str | None]
    """The language in which it is written first. None for the issue's leading language."""
    copied_from_id: Mapped[int | None] = mapped_column(ForeignKey("story.id", ondelete="SET NULL"))
    """The story of an earlier issue that somebody used again."""

    __table_args__ = (
        Index(None, "issue_id"),
        Index(None, "copied_from_id", postgresql_where=text("copied_from_id IS NOT NULL")),
    )


class StoryTranslation(Base):
    __tablename__ = "story_translation"

    story_id: Mapped[int] = mapped_column(ForeignKey("story.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[TranslationStatus] = mapped_column(_translation_status, default=TranslationStatus.ready)
    headline: Mapped[str]
    datelines: Mapped[list[Any]]
    """``[{"text": str, "place": str, "dates": [{"start": iso, "end": iso}]}]``"""
    body: Mapped[str]
    alt: Mapped[str] = mapped_column(default="")
    picture_credit: Mapped[str] = mapped_column(server_default="", default="")
    """Who took or owns the picture, as printed below it."""
    link: Mapped[str] = mapped_column(default="")
    link_label: Mapped[str] = mapped_column(default="")
    search_vector: Mapped[str] = mapped_column(
        TSVECTOR, Computed("search_words(language, headline, body)", persisted=True), deferred=True
    )
    """Index of the archive's search: see the functions in the initial migration."""

    __table_args__ = (Index(None, "search_vector", postgresql_using="gin"),)
    __mapper_args__ = {"eager_defaults": False}  # search_vector is never read after writing a text


class StoryChange(Base):
    """A story, or the order of sections, as it was before a change, kept for a while so that this can be undone."""

    __tablename__ = "story_change"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), index=True)
    story_id: Mapped[int | None]
    """The id that a removed story gets again. None for the order of sections."""
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    actor: Mapped[str]
    """As in ``IssueEvent``."""
    kind: Mapped[StoryChangeKind] = mapped_column(enum_of(StoryChangeKind, "story_change_kind"))
    headline: Mapped[str]
    """In the newsletter's default language or the nearest one. For the order of sections the title of the moved one."""
    before: Mapped[dict[str, Any]]
    """See mailer.store.story_changes."""


class TextVersion(Base):
    """One saved state of a text in one language. See mailer.store.text_versions."""

    __tablename__ = "text_version"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"))
    subject: Mapped[TextSubject] = mapped_column(_text_subject)
    subject_id: Mapped[int]
    """The story, the contact note, or for front matter the issue. A removed story gets its id again."""
    language: Mapped[str]
    begun_at: Mapped[datetime]
    """When it was first saved."""
    at: Mapped[datetime]
    """When it was last saved: later saves of the same writer within a few minutes are added to it."""
    revision: Mapped[int] = mapped_column(default=1)
    """How often it was saved."""
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    actor: Mapped[str]
    """As in ``IssueEvent``."""
    kind: Mapped[VersionKind] = mapped_column(enum_of(VersionKind, "version_kind"))
    minor: Mapped[bool]
    """Whether translations stay as good as they were: a typo was corrected."""
    content: Mapped[dict[str, Any]]
    """The columns of the text that readers see, by name, Markdown where the column has it. Empty if removed."""
    source_version_id: Mapped[int | None] = mapped_column(ForeignKey("text_version.id", ondelete="SET NULL"))
    """The version that it was translated from. None in the language that the text was written in first."""

    __table_args__ = (
        Index("ix_text_version_text", "issue_id", "subject", "subject_id", "language", "id"),
        Index(None, "source_version_id", postgresql_where=text("source_version_id IS NOT NULL")),
    )


class OpenText(Base):
    """A tab of a browser that has a text open. See mailer.store.open_texts."""

    __tablename__ = "open_text"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[TextSubject] = mapped_column(_text_subject, primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True)
    """As in ``TextVersion``."""
    language: Mapped[str] = mapped_column(primary_key=True)
    tab: Mapped[str] = mapped_column(primary_key=True)
    """What the tab calls itself."""
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    seen_at: Mapped[datetime]
    is_writer: Mapped[bool]
    """Whether this is the tab that writes."""
    saved: Mapped[str]
    """What it has, or saved last: see ``text_versions.base_of``. If an answer was lost, it saves from an older one."""

    __table_args__ = ({"prefixes": ["UNLOGGED"]},)


class Contact(Base):
    """A contact note, printed after ``story_id``. It covers every story in ``contact_story``."""

    __tablename__ = "contact"

    id: Mapped[int] = mapped_column(primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"))
    story_id: Mapped[int] = mapped_column(ForeignKey("story.id", ondelete="CASCADE"))
    position: Mapped[int]
    """Order among the notes after the same story."""
    card_id: Mapped[int | None] = mapped_column(ForeignKey("contact_card.id", ondelete="SET NULL"), index=True)
    """The note in the address book that this is a copy of."""
    removed_at: Mapped[datetime | None]
    """When a person removed it, which can be undone for a while."""

    __table_args__ = (UniqueConstraint("story_id", "position"),)


class ContactStory(Base):
    __tablename__ = "contact_story"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    story_id: Mapped[int] = mapped_column(ForeignKey("story.id", ondelete="CASCADE"), primary_key=True)


class ContactTranslation(Base):
    __tablename__ = "contact_translation"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]


class IssueEvent(Base):
    """The append-only log of an issue: who did what, and when. What staff did is in the audit log too."""

    __tablename__ = "issue_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id"), index=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    """None for the command line, for the service itself, and once the account is erased."""
    actor: Mapped[str]
    """The name at that time; for the command line that of the user. Empty for the service itself."""
    kind: Mapped[IssueEventKind] = mapped_column(enum_of(IssueEventKind, "issue_event_kind"))
    detail: Mapped[str] = mapped_column(default="")
