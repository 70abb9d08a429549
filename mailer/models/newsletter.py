"""A newsletter, its sections and its address book."""

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.email_addresses import domain_of
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.states import TrackingMode, UncertainPolicy
from mailer.domain.time_zones import time_zone
from mailer.models.base import Base, enum_of


class Newsletter(Base):
    __tablename__ = "newsletter"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    names: Mapped[dict[str, str]]
    taglines: Mapped[dict[str, str]]
    sender_name: Mapped[str]
    sender_address: Mapped[str]
    reply_to: Mapped[str]
    postal_address: Mapped[str]
    website: Mapped[str]
    list_id: Mapped[str]
    default_language: Mapped[str]
    languages: Mapped[list[str]]
    fallbacks: Mapped[dict[str, list[str]]]
    theme: Mapped[dict[str, Any]]
    tracking: Mapped[TrackingMode] = mapped_column(
        enum_of(TrackingMode, "tracking_mode"), default=TrackingMode.aggregate
    )
    quiet_from: Mapped[time | None]
    quiet_until: Mapped[time | None]
    """No first attempt is made between these times in the subscriber's time zone. They may span midnight."""
    digest_time: Mapped[time] = mapped_column(default=time(9), server_default="09:00")
    """When a digest is sent, in the subscriber's time zone."""
    max_late_hours: Mapped[int] = mapped_column(default=3, server_default="3")
    """An issue that is later than this when it could be sent waits until somebody sends it."""
    four_eyes: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether nobody may approve a language whose texts they changed last."""
    public: Mapped[bool] = mapped_column(default=True, server_default="true")
    """Whether anybody may read the archive and subscribe."""
    text_overrides: Mapped[dict[str, dict[str, Any]]] = mapped_column(default=dict, server_default=text("'{}'"))
    """Replacements for catalogue messages: see mailer.domain.text_overrides."""

    uncertain_policy: Mapped[UncertainPolicy] = mapped_column(
        enum_of(UncertainPolicy, "uncertain_policy"),
        default=UncertainPolicy.keep,
        server_default=UncertainPolicy.keep,
    )

    suppress_after_refused_issues: Mapped[int] = mapped_column(default=5, server_default="5")
    suppress_after_refused_days: Mapped[int] = mapped_column(default=30, server_default="30")
    """An address that refuses so many issues in a row over so many days is suppressed."""

    time_zone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    """In which sending times are given."""

    seed_list: Mapped[dict[str, str]] = mapped_column(default=dict, server_default=text("'{}'"))
    """Address → language of those who get every issue in full beside the readers."""

    revision: Mapped[int] = mapped_column(default=1, server_default="1")
    """Rises with every change of a setting."""
    desk_revision: Mapped[int] = mapped_column(default=0, server_default="0")
    """The revision that the latest change at the desk made; 0 if there was none."""

    @property
    def sender_domain(self) -> str:
        """The domain of the return path if the settings name no bounce domain."""
        return domain_of(self.sender_address)

    def day_of(self, at: datetime) -> date:
        """Return the day of a moment in the newsletter's time zone."""
        return at.astimezone(time_zone(self.time_zone)).date()

    def localize(self, texts: Mapping[str, str], language: str = "") -> LocalizedText:
        """Return the text in a language, in the newsletter's default language unless given, or in the nearest one."""
        return localize(texts, language or self.default_language, self.fallbacks, self.default_language)


class Section(Base):
    __tablename__ = "section"

    id: Mapped[int] = mapped_column(primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    key: Mapped[str]
    bit: Mapped[int] = mapped_column(SmallInteger)
    """The section's bit in the masks of its newsletter. It is never reused for another section."""
    position: Mapped[int]
    always_included: Mapped[bool] = mapped_column(default=False)
    offered: Mapped[bool] = mapped_column(default=True, server_default="true")
    """Whether readers can choose it. False once it is retired, and for a section that an import made for an issue."""
    colour: Mapped[str] = mapped_column(default="")
    titles: Mapped[dict[str, str]]
    descriptions: Mapped[dict[str, str]]

    __table_args__ = (
        UniqueConstraint("newsletter_id", "key"),
        UniqueConstraint("newsletter_id", "bit"),
        CheckConstraint("bit BETWEEN 0 AND 61", name="bit"),
    )


class ContactCard(Base):
    """A contact note in the address book of a newsletter, to be put below stories."""

    __tablename__ = "contact_card"

    id: Mapped[int] = mapped_column(primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    name: Mapped[str]
    """By which writers find it. Readers see only the texts."""
    texts: Mapped[dict[str, str]]
    """Language → Markdown of one line."""
    revision: Mapped[int] = mapped_column(default=1)
    """Rises with every change."""
    removed_at: Mapped[datetime | None]
    """When it was removed. It is deleted some time later."""

    __table_args__ = (
        Index(
            "uq_contact_card_newsletter_id_name",
            "newsletter_id",
            "name",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
    )
