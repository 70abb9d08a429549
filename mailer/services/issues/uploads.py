"""Uploads of documents: what one would change is shown first, and nothing is written before somebody says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import PurePosixPath

from mailer.domain.accounts import ActingStaff, Actor
from mailer.domain.document import ParsedDocument, parse
from mailer.domain.errors import ChangeRefused
from mailer.domain.ports import PictureLoader, PictureStore, PreparedPicture
from mailer.domain.text_tree import plain_line
from mailer.models import DocumentUpload
from mailer.services.issues import document_import
from mailer.services.issues.document_writing import ImportResult
from mailer.store import issues, newsletters, uploads
from mailer.store.database import Database

KEPT = timedelta(days=1)
MAX_NAME_CHARS = 120


class UploadGone(ChangeRefused):
    """The uploaded document is not kept any more. Upload it again."""


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
    kept = _load(database, upload, account)
    result = _import(database, kept, prepare, today, None, actor="", dry_run=True)
    with database.transaction() as session:
        stories = {} if result.new_issue else issues.story_texts(session, result.issue)
        texts = [in_languages[kept.language] for in_languages in stories.values() if kept.language in in_languages]
        headlines = frozenset(plain_line(text.headline) for text in texts)
    return Upload(upload, kept.name, kept.slug, kept.newsletter, kept.language, kept.document, result, headlines)


def accept(
    database: Database,
    upload: int,
    actor: ActingStaff,
    revision: int,
    prepare: Callable[[bytes, str], PreparedPicture],
    today: date,
    picture_store: PictureStore | None,
) -> ImportResult:
    """Import an upload as it was shown. ``revision``: that of the issue when it was shown, 0 for a new one.

    Raises UploadGone, IssueChanged and what an import raises.
    """
    kept = _load(database, upload, actor.account)
    result = _import(database, kept, prepare, today, picture_store, actor=actor, revision=revision)
    with database.transaction() as session:
        if row := uploads.find(session, upload, actor.account):
            session.delete(row)
    return result


@dataclass(frozen=True, slots=True)
class _Kept:
    """An uploaded document as it is kept."""

    slug: str
    newsletter: int
    name: str
    language: str
    number: str
    document: ParsedDocument


def _load(database: Database, upload: int, account: int) -> _Kept:
    with database.transaction() as session:
        row = uploads.find(session, upload, account)
        if row is None:
            raise UploadGone(UploadGone.__doc__)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        document = parse(row.text, row.language)
        return _Kept(newsletter.slug, newsletter.id, row.name, row.language, row.number, document)


def _import(
    database: Database,
    kept: _Kept,
    prepare: Callable[[bytes, str], PreparedPicture],
    today: date,
    picture_store: PictureStore | None,
    *,
    actor: Actor,
    dry_run: bool = False,
    revision: int | None = None,
) -> ImportResult:
    return document_import.import_document(
        database,
        kept.document,
        kept.slug,
        kept.language,
        number=kept.number,
        today=today,
        picture_loader=_loader(database, kept.newsletter, prepare),
        picture_store=picture_store,
        actor=actor,
        dry_run=dry_run,
        revision=revision,
    )


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
