"""Imports of readers: a list is uploaded, shown as it is understood, and imported by a worker."""

from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import UserError
from mailer.domain.states import ImportState
from mailer.domain.subscriber_csv import COLUMNS
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.subscribers import import_jobs
from mailer.services.subscribers.import_jobs import MAX_LIST_BYTES, ImportStatus
from mailer.web.dependencies import App, BigRowId, Now
from mailer.web.desk.subscribers import Steward
from mailer.web.forms import receive_within
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm, check_form_token

IMPORTS = "/desk/newsletters/{newsletter}/subscribers/import"
_FORM_BYTES = 64 * 1024
"""What a form has besides its file."""
router = APIRouter(prefix=IMPORTS, include_in_schema=False)


async def _read_upload(request: Request) -> UploadFile | None:
    """Return the file of a form, which is kept on disk. Raises HTTPException 413 for too much."""
    limited = Request(request.scope, receive_within(request, MAX_LIST_BYTES + _FORM_BYTES))
    form = await limited.form(max_files=1, max_fields=5)
    check_form_token(request, form)
    file = form.get("list")
    return file if isinstance(file, UploadFile) and file.filename else None


UploadForm = Annotated[UploadFile | None, Depends(_read_upload)]
"""A handler takes it after what it ``Requires``."""


@router.get("")
def upload_page(app: App, page: PageOf, staff: Steward, newsletter: NewsletterOf) -> Response:
    return _form(app, page, staff, newsletter)


@router.post("")
def upload(app: App, page: PageOf, now: Now, staff: Steward, newsletter: NewsletterOf, file: UploadForm) -> Response:
    if file is None:
        return _form(app, page, staff, newsletter, error="no_file", status=400)
    content: BinaryIO = file.file
    try:
        job = import_jobs.keep(
            app.database, newsletter.id, staff, (file.filename or "").replace("\0", ""), content, now
        )
    except UserError as error:
        return _form(app, page, staff, newsletter, error=message_of(error), status=400)
    return page.redirect(page.urls.path(f"{IMPORTS}/{{job}}", newsletter=newsletter.slug, job=job))


@router.get("/{job}")
def job_page(app: App, page: PageOf, staff: Steward, newsletter: NewsletterOf, job: BigRowId) -> Response:
    return _job(app, page, staff, newsletter, job)


@router.post("/{job}")
def steer(app: App, page: PageOf, staff: Steward, newsletter: NewsletterOf, job: BigRowId, form: StaffForm) -> Response:
    """Import a list that was looked over, or cancel."""
    found = _find(app, newsletter, job)
    try:
        match form.get("action"):
            case "import":
                update = form.get("update") == "1"
                import_jobs.start(app.database, newsletter.id, found.id, staff, update_known=update)
            case "cancel":
                import_jobs.cancel(app.database, newsletter.id, found.id, staff)
            case _:
                raise HTTPException(400)
    except UserError as error:
        return _job(app, page, staff, newsletter, job, error=message_of(error), status=409)
    return page.redirect(page.urls.path(f"{IMPORTS}/{{job}}", newsletter=newsletter.slug, job=job))


@router.get("/{job}/rejects.csv")
def rejects(app: App, now: Now, staff: Steward, newsletter: NewsletterOf, job: BigRowId) -> Response:
    """Return the rejected lines with their reasons: once corrected, the file can be imported as it is."""
    found = _find(app, newsletter, job)
    if not found.counts.get("rejected") or found.state is not ImportState.done:
        raise HTTPException(404)
    detail = {"rejected lines of": found.name}
    audit.record(app.database, staff, now, AuditAction.subscribers_exported, "newsletter", newsletter.id, detail)
    headers = {
        "Content-Disposition": f'attachment; filename="{newsletter.slug}-{found.id}.rejects.csv"',
        "Cache-Control": "no-store",
    }
    lines = import_jobs.rejected_lines(app.database, found.id)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _find(app: Container, newsletter: NewsletterOf, job: int) -> ImportStatus:
    found = import_jobs.find(app.database, newsletter.id, job)
    if found is None:
        raise HTTPException(404)
    return found


def _form(app: Container, page: Page, staff: Staff, newsletter: NewsletterOf, **more: Any) -> Response:
    return page(
        "desk/upload_list",
        staff,
        more.pop("status", 200),
        newsletter=newsletter,
        jobs=import_jobs.list_latest(app.database, newsletter.id),
        columns=COLUMNS,
        kept_days=import_jobs.KEPT.days,
        max_megabytes=MAX_LIST_BYTES >> 20,
        error=more.get("error", ""),
    )


def _job(
    app: Container,
    page: Page,
    staff: Staff,
    newsletter: NewsletterOf,
    job: int,
    *,
    error: str = "",
    status: int = 200,
) -> Response:
    found = _find(app, newsletter, job)
    return page("desk/import_list", staff, status, newsletter=newsletter, job=found, error=error)
