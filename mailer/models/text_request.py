"""Requests for texts of an issue, to colleagues with or without an account."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.states import TextSubject
from mailer.domain.text_requests import TextTask
from mailer.models.base import Base, enum_of


class TextRequest(Base):
    """Somebody is asked for one text of an issue in one language.

    Who has no account writes behind a link. The link's token is not stored: it is the encrypted ``id``.
    """

    __tablename__ = "text_request"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), index=True)
    subject: Mapped[TextSubject] = mapped_column(enum_of(TextSubject, "text_subject"))
    subject_id: Mapped[int]
    """As in ``TextVersion``."""
    language: Mapped[str]
    task: Mapped[TextTask] = mapped_column(enum_of(TextTask, "text_task"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    """Who is asked, if they have an account."""
    name: Mapped[str]
    """Of who is asked. It is also the actor of the versions that they write behind the link."""
    address: Mapped[str]
    """Empty for an account."""
    address_hash: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    words: Mapped[str]
    """What was written with the request, or when the text was sent back."""
    due_on: Mapped[date]
    expires_at: Mapped[datetime]
    """When the link stops working."""
    asked_at: Mapped[datetime]
    asked_by_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    asked_by: Mapped[str]
    """The name of that account at that time."""
    reminded_at: Mapped[datetime | None]
    handed_in_at: Mapped[datetime | None]
    sent_back_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    version_id: Mapped[int | None] = mapped_column(ForeignKey("text_version.id", ondelete="SET NULL"), index=True)
    """What was written behind the link."""
    tab: Mapped[str] = mapped_column(server_default="", default="")
    """Which tab of a browser saved it last. If the answer was lost, it saves again from an older state."""

    __table_args__ = (
        CheckConstraint("(account_id IS NULL) = (address_hash IS NOT NULL)", name="asked"),
        Index(
            "ix_text_request_open",
            "due_on",
            postgresql_where=text("handed_in_at IS NULL AND done_at IS NULL AND withdrawn_at IS NULL"),
        ),
    )
