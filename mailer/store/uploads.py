"""Uploaded documents and pictures."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.models import DocumentUpload, UploadedPicture


def find(session: Session, upload: int, account: int) -> DocumentUpload | None:
    """Return an upload of this account."""
    return session.scalar(
        select(DocumentUpload).where(DocumentUpload.id == upload, DocumentUpload.account_id == account)
    )


def delete_before(session: Session, at: datetime) -> None:
    session.execute(delete(DocumentUpload).where(DocumentUpload.at < at))


def save_picture(session: Session, newsletter: int, name: str, data: bytes, at: datetime) -> None:
    """Keep a picture under its name, in place of an earlier one with that name."""
    statement = insert(UploadedPicture).values(newsletter_id=newsletter, name=name, data=data, at=at)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["newsletter_id", "name"],
            set_={"data": statement.excluded.data, "at": statement.excluded.at},
        )
    )


def picture(session: Session, newsletter: int, name: str) -> bytes | None:
    return session.scalar(
        select(UploadedPicture.data).where(UploadedPicture.newsletter_id == newsletter, UploadedPicture.name == name)
    )
