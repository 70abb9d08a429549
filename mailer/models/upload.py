"""Documents that wait for a decision to import them, and pictures that documents refer to."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from mailer.models.base import Base


class DocumentUpload(Base):
    """A document as it was uploaded. It is deleted with the import, or after a day."""

    __tablename__ = "document_upload"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"))
    at: Mapped[datetime]
    name: Mapped[str]
    """Of the file, shown only."""
    language: Mapped[str]
    number: Mapped[str]
    """The issue's number if the document's front matter has none."""
    text: Mapped[str]
    """In Markdown."""


class UploadedPicture(Base):
    """A picture that documents of a newsletter can refer to by its file name."""

    __tablename__ = "uploaded_picture"

    newsletter_id: Mapped[int] = mapped_column(ForeignKey("newsletter.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    data: Mapped[bytes] = mapped_column(LargeBinary)
