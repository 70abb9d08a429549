"""Lists of subscribers that staff upload, and what became of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.states import ImportState
from mailer.models.base import Base, enum_of


class ImportJob(Base):
    """An uploaded list. Its file is deleted with the end of the import, the rest after some days."""

    __tablename__ = "import_job"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"), index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    at: Mapped[datetime]
    name: Mapped[str]
    """Of the file, shown only."""
    size: Mapped[int] = mapped_column(BigInteger)
    """In bytes."""
    state: Mapped[ImportState] = mapped_column(enum_of(ImportState, "import_state"))
    update_known: Mapped[bool] = mapped_column(default=False)
    """Whether known subscribers are changed too."""
    summary: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """How the list was understood: see ``mailer.services.subscribers.list_summary``. It quotes some lines."""
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What the import has done so far, or did."""
    bytes_read: Mapped[int] = mapped_column(BigInteger, default=0)
    problem: Mapped[str] = mapped_column(default="")
    """Why the list is refused."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often a worker began what the state says."""
    leased_until: Mapped[datetime | None]
    """A worker that works on it says so again before this time."""


class ImportJobPart(Base):
    """A piece of an uploaded list, or of the list of its rejected lines."""

    __tablename__ = "import_job_part"

    job_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("import_job.id", ondelete="CASCADE"), primary_key=True)
    is_rejects: Mapped[bool] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
