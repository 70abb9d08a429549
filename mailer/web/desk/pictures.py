"""The picture library of a newsletter, and the pictures of an issue: its stories' and the header image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.datastructures import UploadFile

from mailer.domain.crops import Crop, CropFormat
from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, InvalidIssueState
from mailer.domain.text_fields import MAX_ALT_CHARS
from mailer.services.accounts.staff import Staff
from mailer.services.issues import issue_pictures
from mailer.services.issues.issue_pictures import NewPicture, StoryPicture
from mailer.services.newsletters import picture_library
from mailer.services.newsletters.catalogue import NewsletterSummary
from mailer.services.newsletters.picture_library import LibraryPage, PictureNotInLibrary
from mailer.web.dependencies import App, Now, RowId
from mailer.web.desk.issue import ISSUE, Viewer, Visit, VisitOf, Writer
from mailer.web.desk.newsletter import choose_newsletter
from mailer.web.forms import receive_within, whole_number
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm, check_form_token

LIBRARY = "/desk/newsletters/{newsletter}/pictures"
STORY = f"{ISSUE}/stories/{{story}}/picture"
HEADER = f"{ISSUE}/header-image"
MAX_UPLOAD_BYTES = 60 * 1024 * 1024
MAX_FILES = 30
MAX_QUERY_CHARS = 200
_MAX_PAGE = 1000
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class PictureForm:
    """A form with pictures: what was chosen from the library, or uploaded, and what is said of it."""

    fields: Mapping[str, str]
    files: Sequence[tuple[bytes, str]]
    """Bytes and name of each file."""

    @property
    def library(self) -> int | None:
        return whole_number(self.fields.get("library", ""))


async def _read_pictures(request: Request) -> PictureForm:
    """Read a form with pictures. Raises HTTPException 413 for too much."""
    limited = Request(request.scope, receive_within(request, MAX_UPLOAD_BYTES))
    form = await limited.form(max_files=MAX_FILES, max_fields=20)
    check_form_token(request, form)
    fields, files = {}, []
    for field, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[field] = value[:MAX_ALT_CHARS].replace("\0", "")
        elif field == "pictures" and value.filename:
            files.append((await value.read(), value.filename[:200].replace("\0", "")))
    return PictureForm(fields, files)


PicturesOf = Annotated[PictureForm, Depends(_read_pictures)]


@router.get("/desk/pictures")
def choose_library(app: App, page: PageOf, staff: Viewer) -> Response:
    return choose_newsletter(app, page, staff, Permission.read_issues, LIBRARY)


@router.get(LIBRARY)
def library_page(
    app: App, page: PageOf, staff: Viewer, newsletter: NewsletterOf, q: str = "", p: int = 1, done: str = ""
) -> Response:
    return _library(app, page, staff, newsletter, q, p, done=done)


@router.post(LIBRARY)
def add(app: App, page: PageOf, staff: Writer, newsletter: NewsletterOf, form: PicturesOf) -> Response:
    """Add the pictures of a form that can be used; say of each other why it cannot."""
    prepared, errors = [], []
    for data, name in form.files:
        try:
            prepared.append((app.prepare_picture(data, name), name))
        except ValueError as error:
            errors.append(message_of(error))
    try:
        added = picture_library.add_pictures(app.database, newsletter.id, prepared, staff, app.picture_store)
    except UserError as error:
        return _library(app, page, staff, newsletter, errors=[message_of(error)], status=503)
    if errors or not added:
        return _library(app, page, staff, newsletter, errors=errors, added=len(added), status=400)
    if len(added) == 1:
        return page.redirect(page.urls.path(f"{LIBRARY}/{{id}}", newsletter=newsletter.slug, id=added[0]), "added")
    return page.redirect(page.urls.path(LIBRARY, newsletter=newsletter.slug), "added")


def _library(
    app: App,
    page: Page,
    staff: Staff,
    newsletter: NewsletterSummary,
    words: str = "",
    number: int = 1,
    *,
    errors: Sequence[str] = (),
    added: int = 0,
    done: str = "",
    status: int = 200,
) -> Response:
    words = words.replace("\0", "")[:MAX_QUERY_CHARS].strip()
    return page(
        "desk/pictures",
        staff,
        status,
        newsletter=newsletter,
        library=_load_library(app, newsletter.id, words, number),
        words=words,
        number=number,
        may_write=staff.may(Permission.write, newsletter.id),
        errors=errors,
        added=added,
        done=done,
    )


def _load_library(app: App, newsletter: int, words: str, number: int) -> LibraryPage:
    return picture_library.load_library(app.database, newsletter, words, min(max(number, 1), _MAX_PAGE))


@router.get(f"{LIBRARY}/{{picture}}")
def picture_page(
    app: App, page: PageOf, staff: Viewer, newsletter: NewsletterOf, picture: RowId, done: str = ""
) -> Response:
    return _picture(app, page, staff, newsletter, picture, done=done)


@router.post(f"{LIBRARY}/{{picture}}")
def save_texts(
    app: App, page: PageOf, staff: Writer, newsletter: NewsletterOf, picture: RowId, form: StaffForm
) -> Response:
    alt = {tag: str(form.get(f"alt.{tag}", "")) for tag in newsletter.languages}

    def order() -> None:
        name, credit = str(form.get("name", "")), str(form.get("credit", ""))
        picture_library.save_texts(app.database, newsletter.id, picture, name, alt, credit)

    return _carry_out(app, page, staff, newsletter, picture, order, "saved")


@router.post(f"{LIBRARY}/{{picture}}/crop")
def crop(app: App, page: PageOf, staff: Writer, newsletter: NewsletterOf, picture: RowId, form: StaffForm) -> Response:
    how = _read_crop(str(form.get("format", "")), str(form.get("x", "50")), str(form.get("y", "50")))
    as_new = form.get("save") == "new"
    try:
        id = picture_library.crop_picture(
            app.database, newsletter.id, picture, how, app.crop_picture, staff, app.picture_store, as_new=as_new
        )
    except (UserError, ValueError) as error:
        return _picture(app, page, staff, newsletter, picture, error=message_of(error), status=409)
    path = page.urls.path(f"{LIBRARY}/{{id}}", newsletter=newsletter.slug, id=id)
    return page.redirect(path, "copied" if as_new else "cropped")


def _read_crop(format: str, x: str, y: str) -> Crop:
    """Return a crop. Raises HTTPException 400."""
    known = next((one for one in CropFormat if one == format), None)
    left, top = (whole_number(value, max_digits=3) for value in (x, y))
    if known is None or left is None or top is None:
        raise HTTPException(400)
    return Crop(known, min(left, 100), min(top, 100))


@router.post(f"{LIBRARY}/{{picture}}/delete")
def delete(
    app: App, page: PageOf, now: Now, staff: Writer, newsletter: NewsletterOf, picture: RowId, _: StaffForm
) -> Response:
    def order() -> None:
        picture_library.delete_picture(app.database, newsletter.id, picture, staff, now)

    return _carry_out(app, page, staff, newsletter, picture, order, "")


@router.post(f"{LIBRARY}/{{picture}}/restore")
def restore(app: App, page: PageOf, staff: Writer, newsletter: NewsletterOf, picture: RowId, _: StaffForm) -> Response:
    def order() -> None:
        picture_library.put_back(app.database, newsletter.id, picture)

    return _carry_out(app, page, staff, newsletter, picture, order, "restored")


def _carry_out(
    app: App,
    page: Page,
    staff: Staff,
    newsletter: NewsletterSummary,
    picture: int,
    order: Callable[[], None],
    done: str,
) -> Response:
    try:
        order()
    except UserError as error:
        return _picture(app, page, staff, newsletter, picture, error=message_of(error), status=409)
    return page.redirect(page.urls.path(f"{LIBRARY}/{{id}}", newsletter=newsletter.slug, id=picture), done)


def _picture(
    app: App,
    page: Page,
    staff: Staff,
    newsletter: NewsletterSummary,
    picture: int,
    *,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    try:
        item = picture_library.load_picture(app.database, newsletter.id, picture)
    except PictureNotInLibrary:
        raise HTTPException(404) from None
    return page(
        "desk/picture",
        staff,
        status,
        newsletter=newsletter,
        item=item,
        formats=list(CropFormat),
        ratios={format: Crop(format).box(item.original.width, item.original.height) for format in CropFormat},
        may_write=staff.may(Permission.write, newsletter.id),
        done=done,
        error=error,
    )


@router.get(STORY)
def story_picture_page(
    visit: VisitOf, staff: Viewer, story: RowId, language: str = "", q: str = "", p: int = 1, done: str = ""
) -> Response:
    return _choose(visit, staff, story, language, q, p, done=done)


@router.post(STORY)
def set_story_picture(request: Request, visit: VisitOf, staff: Writer, story: RowId, form: PicturesOf) -> Response:
    """Give a story an uploaded picture or one of the library, or take it away. Answers with JSON if that is asked for.

    Fields: ``language``, ``alt``, ``credit``, and ``library`` or a file in ``pictures``; neither takes it away.
    """
    app, language = visit.app, form.fields.get("language", "")
    as_json = "application/json" in request.headers.get("Accept", "")
    alt, credit = form.fields.get("alt", ""), form.fields.get("credit", "")
    if language not in visit.head().languages:
        raise HTTPException(400)
    try:
        shown = issue_pictures.set_story_picture(
            app.database, visit.issue, story, _chosen(visit, form), language, alt, credit, staff, app.picture_store
        )
    except (UserError, ValueError) as error:
        if as_json:
            return visit.page.json({"message": visit.page.translate(staff, message_of(error))}, 422)
        return _choose(visit, staff, story, language, form=form.fields, error=message_of(error), status=_status(error))
    if as_json:
        return visit.page.json(_as_json(visit, shown))
    path = visit.page.urls.path(STORY, issue=visit.issue, story=story)
    return visit.page.redirect(f"{path}?language={language}", "set" if shown.picture else "removed")


def _as_json(visit: Visit, shown: StoryPicture) -> dict[str, object]:
    texts = {"alt": shown.alt, "picture_credit": shown.credit, "base": shown.base}
    if (picture := shown.picture) is None:
        return {"picture": None, **texts}
    url = visit.app.urls.picture_url(picture.sha256, picture.media_type)
    return {"picture": picture.id, "url": url, "width": picture.width, "height": picture.height, **texts}


@router.get(HEADER)
def header_image_page(visit: VisitOf, staff: Viewer, q: str = "", p: int = 1) -> Response:
    return _choose(visit, staff, None, "", q, p)


@router.post(HEADER)
def set_header_image(visit: VisitOf, staff: Writer, form: PicturesOf) -> Response:
    """Set the header image to an uploaded picture or one of the library; neither removes it."""
    app = visit.app
    try:
        chosen = _chosen(visit, form)
        issue_pictures.set_header_image(app.database, visit.issue, chosen, staff, app.picture_store)
    except (UserError, ValueError) as error:
        return _choose(visit, staff, None, "", error=message_of(error), status=_status(error))
    return visit.go_to("", "no_header" if chosen is None else "header")


def _chosen(visit: Visit, form: PictureForm) -> NewPicture | int | None:
    """Return the picture of a form. Raises InvalidPicture."""
    for data, name in form.files:
        return NewPicture(visit.app.prepare_picture(data, name), name)
    return form.library


def _choose(
    visit: Visit,
    staff: Staff,
    story: int | None,
    language: str,
    words: str = "",
    number: int = 1,
    *,
    form: Mapping[str, str] | None = None,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    """Show the page where the picture of a story, or the header image, is chosen."""
    app, head = visit.app, visit.head()
    words = words.replace("\0", "")[:MAX_QUERY_CHARS].strip()
    if language not in head.languages:
        language = head.languages[0]
    try:
        shown = issue_pictures.load_shown(app.database, visit.issue, story, language)
    except UserError:
        raise visit.not_here(story or 0) from None
    may_write = staff.may(Permission.write, head.newsletter) and head.state in EDITABLE_STATES
    return visit.page(
        "desk/choose_picture",
        staff,
        status,
        head=head,
        story=story,
        text_language=language,
        shown=shown,
        library=_load_library(app, head.newsletter, words, number) if may_write else None,
        words=words,
        number=number,
        may_write=may_write,
        form=form or {},
        done=done,
        error=error,
    )


def _status(error: Exception) -> int:
    """Return 400 for what was filled in wrongly, 409 for what the issue or the library does not allow."""
    return 409 if isinstance(error, ChangeRefused | InvalidIssueState) else 400
