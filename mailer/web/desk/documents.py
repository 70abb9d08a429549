"""Uploads of documents: chosen on one page, shown side by side with what is there on the next, then imported."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.datastructures import UploadFile

from mailer.bootstrap import Container
from mailer.domain.document import MAX_DOCUMENT_BYTES, decode
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.services.accounts.staff import Staff
from mailer.services.issues import uploads
from mailer.services.issues.uploads import Upload, UploadGone
from mailer.web.dependencies import App, Now
from mailer.web.desk.issue import Translator, read_revision
from mailer.web.forms import receive_within
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm, check_form_token

IMPORT = "/desk/newsletters/{newsletter}/import"
MAX_UPLOAD_BYTES = 60 * 1024 * 1024
MAX_FILES = 60
MAX_NUMBER_CHARS = 40
router = APIRouter(prefix=IMPORT, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Files:
    """What an upload form holds."""

    language: str
    number: str
    name: str
    document: bytes
    pictures: dict[str, bytes]


async def _read_upload(request: Request) -> _Files:
    """Read a form with a document and pictures. Raises HTTPException 413 for too much."""
    limited = Request(request.scope, receive_within(request, MAX_UPLOAD_BYTES))
    form = await limited.form(max_files=MAX_FILES, max_fields=20)
    check_form_token(request, form)
    document, pictures, name = b"", {}, ""
    for field, value in form.multi_items():
        if not isinstance(value, UploadFile) or not value.filename:
            continue
        data, file_name = await value.read(), _cut(value.filename, 200)
        if field == "document":
            document, name = data, file_name
        elif field == "pictures":
            pictures[file_name] = data
    return _Files(
        _cut(str(form.get("language", "")), 35),
        _cut(str(form.get("number", "")).strip(), MAX_NUMBER_CHARS),
        name,
        document,
        pictures,
    )


def _cut(text: str, max_chars: int) -> str:
    return text[:max_chars].replace("\0", "")  # which PostgreSQL keeps in no text


UploadForm = Annotated[_Files, Depends(_read_upload)]


@router.get("")
def upload_page(
    app: App, page: PageOf, staff: Translator, newsletter: NewsletterOf, number: str = "", language: str = ""
) -> Response:
    return _form(app, page, staff, newsletter, number[:MAX_NUMBER_CHARS], language)


@router.post("")
def upload(
    app: App, page: PageOf, now: Now, staff: Translator, newsletter: NewsletterOf, files: UploadForm
) -> Response:
    error = ""
    if files.language not in newsletter.languages:
        error = "language"
    elif not staff.may(Permission.translate_texts, newsletter.id, files.language):
        error = "not_yours"
    elif not files.document:
        error = "no_document"
    if not error:
        try:
            text, pictures = read_document(files.name, files.document)
            for path, data in {**files.pictures, **pictures}.items():
                app.prepare_picture(data, path)
            kept = uploads.keep(
                app.database,
                staff.account,
                newsletter.id,
                files.name,
                files.language,
                files.number or files.name.partition(".")[0],
                text,
                {**pictures, **files.pictures},
                now,
            )
        except (UserError, ValueError) as problem:
            error = message_of(problem)
    if error:
        return _form(app, page, staff, newsletter, files.number, files.language, error=error, status=400)
    return page.redirect(page.urls.path(f"{IMPORT}/{{upload}}", newsletter=newsletter.slug, upload=kept))


def read_document(name: str, data: bytes) -> tuple[str, dict[str, bytes]]:
    """Return a document in Markdown, and the pictures inside it. ``name``: of its file. Raises DocumentError."""
    from mailer.adapters.docx import is_docx, read_docx

    if len(data) <= MAX_UPLOAD_BYTES and is_docx(data, name):
        word = read_docx(data, name.rpartition(".")[0] or "document")
        return word.markdown, dict(word.pictures)
    return decode(data[: MAX_DOCUMENT_BYTES + 1], len(data)), {}


@router.get("/{upload}")
def preview_page(
    app: App, page: PageOf, now: Now, staff: Translator, newsletter: NewsletterOf, upload: int
) -> Response:
    return _preview(app, page, now, staff, newsletter, upload)


@router.post("/{upload}")
def accept(
    app: App, page: PageOf, now: Now, staff: Translator, newsletter: NewsletterOf, upload: int, form: StaffForm
) -> Response:
    revision = read_revision(form)
    try:
        shown = _load(app, now, staff, upload)
        if shown.slug != newsletter.slug or _forbidden(staff, shown):
            raise HTTPException(403)
        result = uploads.accept(
            app.database, upload, staff, revision, app.prepare_picture, now.date(), app.picture_store
        )
    except UserError as error:
        return _preview(app, page, now, staff, newsletter, upload, error=message_of(error), status=409)
    return page.redirect(page.urls.path("/desk/issues/{issue}", issue=result.issue), "imported")


def _load(app: Container, now: Now, staff: Staff, upload: int) -> Upload:
    if not 0 < upload < 2**63:
        raise UploadGone(UploadGone.__doc__)
    return uploads.preview(app.database, upload, staff.account, app.prepare_picture, now.date())


def _forbidden(staff: Staff, shown: Upload) -> str:
    """Return why this account may not import the document: only its languages, and no structure for translators."""
    if not staff.may(Permission.translate_texts, shown.newsletter, shown.language):
        return "not_yours"
    structure = shown.result.new_issue or shown.result.removed or shown.result.unmatched or shown.result.moved
    return "structure" if structure and not staff.may(Permission.write, shown.newsletter) else ""


def _preview(
    app: Container,
    page: Page,
    now: Now,
    staff: Staff,
    newsletter: NewsletterOf,
    upload: int,
    *,
    error: str = "",
    status: int = 200,
) -> Response:
    try:
        shown = _load(app, now, staff, upload)
    except UserError as problem:
        return _form(app, page, staff, newsletter, "", "", error=error or message_of(problem), status=409)
    if shown.slug != newsletter.slug:
        raise HTTPException(404)
    return page(
        "desk/import",
        staff,
        status,
        upload=shown,
        newsletter=newsletter,
        forbidden=_forbidden(staff, shown),
        error=error,
    )


def _form(
    app: Container,
    page: Page,
    staff: Staff,
    newsletter: NewsletterOf,
    number: str,
    language: str,
    *,
    error: str = "",
    status: int = 200,
) -> Response:
    languages = [tag for tag in newsletter.languages if staff.may(Permission.translate_texts, newsletter.id, tag)]
    return page(
        "desk/upload",
        staff,
        status,
        newsletter=newsletter,
        languages=languages,
        number=number,
        chosen=language if language in languages else "",
        error=error,
    )
