"""Pictures, and the library of each newsletter."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mailer.models.base import Base


class Picture(Base):
    """The bytes of a picture. Two that are the same are one row."""

    __tablename__ = "picture"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    media_type: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    data: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """None if the bytes are in the picture store."""
    thumbnail_id: Mapped[int | None] = mapped_column(ForeignKey("picture.id"))
    """A smaller version. None if the picture is small, animated, or older than thumbnails."""
    original_id: Mapped[int | None] = mapped_column(ForeignKey("picture.id"))
    """The larger picture from which this one was made or cropped. None if it is as it was uploaded."""
    crop: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """How it was cropped: see mailer.domain.crops.Crop. None if it shows everything."""
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index(None, "original_id"),)


class LibraryPicture(Base):
    """A picture of a newsletter, with what is said about it wherever it is used."""

    __tablename__ = "library_picture"

    id: Mapped[int] = mapped_column(primary_key=True)
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    picture_id: Mapped[int] = mapped_column(ForeignKey("picture.id"))
    name: Mapped[str]
    alt: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    """Language → alt text."""
    credit: Mapped[str] = mapped_column(default="")
    added_by_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"))
    added_by: Mapped[str]
    """The name at that time."""
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]
    """Since when it is deleted. It can be put back for 30 days."""

    __table_args__ = (UniqueConstraint("newsletter_id", "picture_id"), Index(None, "picture_id"))
