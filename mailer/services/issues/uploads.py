"""Uploads of documents: what one would change is shown first, and nothing is written before somebody says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import PurePosixPath

from mailer.domain.document import ParsedDocument, parse
from mailer.domain.errors import ChangeRefused
from mailer.domain.ports import PictureLoader, PreparedPicture
from mailer.models import DocumentUpload
from mailer.services.issues import document_import
from mailer.services.issues.document_import import ImportResult
from mailer.store import issues, newsletters, uploads
from mailer.store.database import Database

KEPT = timedelta(days=1)
MAX_NAME_CHARS = 120


class UploadGone(ChangeRefused):
    """The uploaded document is not kept any more. Upload it again."""


class IssueChanged(ChangeRefused):
    """The issue was changed meanwhile. Look at what the import would do now."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded document, how it was understood, and what importing it would do."""

    id: int
    name: str
    slug: str
    newsletter: int
    language: str
    document: ParsedDocument
    result: ImportResult
    revision: int
    """Of the issue, 0 for a new one."""
    old_headlines: frozenset[str]
    """Those that the issue has in this language."""


def keep(
    database: Database,
    account: int,
    newsletter: int,
    name: str,
    language: str,
    number: str,
    text: str,
    pictures: Mapping[str, bytes],
    now: datetime,
) -> int:
    """Keep a document in Markdown and its pictures for a decision. Return the upload's id."""
    with database.transaction() as session:
        uploads.delete_before(session, now - KEPT)
        for path, data in pictures.items():
            uploads.save_picture(session, newsletter, _key(path), data, now)
        row = DocumentUpload(
            account_id=account,
            newsletter_id=newsletter,
            at=now,
            name=name[:MAX_NAME_CHARS],
            language=language,
            number=number,
            text=text,
        )
        session.add(row)
        session.flush()
        return row.id


def preview(
    database: Database, upload: int, account: int, prepare: Callable[[bytes, str], PreparedPicture], today: date
) -> Upload:
    """Return what importing an upload would do, and write nothing. Raises UploadGone and what an import raises."""
    row, slug, newsletter = _load(database, upload, account)
    document = parse(row.text, row.language)
    result = document_import.import_document(
        database,
        document,
        slug,
        row.language,
        number=row.number,
        today=today,
        picture_loader=_loader(database, newsletter, prepare),
        actor="",
        dry_run=True,
    )
    with database.transaction() as session:
        issue = issues.by_number(session, newsletter, result.number)
        texts = issues.story_texts(session, issue.id) if issue else {}
        headlines = frozenset(
            by_language[row.language].headline for by_language in texts.values() if row.language in by_language
        )
        return Upload(
            upload,
            row.name,
            slug,
            newsletter,
            row.language,
            document,
            result,
            issue.revision if issue else 0,
            headlines,
        )


def accept(
    database: Database,
    upload: int,
    account: int,
    revision: int,
    prepare: Callable[[bytes, str], PreparedPicture],
    today: date,
    actor: str,
) -> ImportResult:
    """Import an upload as it was shown. ``revision``: that of the issue when it was shown, 0 for a new one.

    Raises UploadGone, IssueChanged and what an import raises.
    """
    row, slug, newsletter = _load(database, upload, account)
    document = parse(row.text, row.language)
    number = document.front_matter.get("number", "").strip() or row.number
    with database.transaction() as session:
        issue = issues.by_number(session, newsletter, number)
        if (issue.revision if issue else 0) != revision:
            raise IssueChanged(IssueChanged.__doc__)
    result = document_import.import_document(
        database,
        document,
        slug,
        row.language,
        number=row.number,
        today=today,
        picture_loader=_loader(database, newsletter, prepare),
        actor=actor,
    )
    with database.transaction() as session:
        if kept := uploads.find(session, upload, account):
            session.delete(kept)
    return result


def _load(database: Database, upload: int, account: int) -> tuple[DocumentUpload, str, int]:
    with database.transaction() as session:
        row = uploads.find(session, upload, account)
        if row is None:
            raise UploadGone(UploadGone.__doc__)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        return row, newsletter.slug, newsletter.id


def _loader(database: Database, newsletter: int, prepare: Callable[[bytes, str], PreparedPicture]) -> PictureLoader:
    """Return a loader of uploaded pictures by their file names, whatever folder a document names."""

    @cache
    def load(path: str) -> PreparedPicture:
        with database.transaction() as session:
            data = uploads.picture(session, newsletter, _key(path))
        if data is None:
            raise ChangeRefused(f"The picture {path} was not uploaded. Upload it with the document.")
        return prepare(data, path)

    return load


def _key(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name.casefold()[:MAX_NAME_CHARS]
