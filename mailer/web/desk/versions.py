"""The versions of a text: a list, what differs between two of them, and putting one back."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response

from mailer.domain.errors import UserError
from mailer.domain.states import EDITABLE_STATES
from mailer.services.accounts.staff import Staff
from mailer.services.issues import text_page, text_versions
from mailer.web.desk.issue import Translator, Viewer
from mailer.web.desk.writing import FRONT_MATTER, STORY, TextVisit, TextVisitOf
from mailer.web.forms import whole_number
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
_Version = Annotated[int | None, Query(ge=1, le=2**63 - 1)]


@router.get(f"{STORY}/versions")
@router.get(f"{FRONT_MATTER}/versions")
def versions_page(
    staff: Viewer,
    text: TextVisitOf,
    new: _Version = None,
    old: _Version = None,
    before: _Version = None,
    done: str = "",
) -> Response:
    """Show the versions of a text, and what differs between two of them."""
    return _page(text, staff, new=new, old=old, before=before, done=done)


@router.post(f"{STORY}/versions")
@router.post(f"{FRONT_MATTER}/versions")
def restore(staff: Translator, text: TextVisitOf, form: StaffForm) -> Response:
    """Put a version back."""
    if not text.may_write(staff):
        raise HTTPException(403)
    version = whole_number(str(form.get("version", "")), max_digits=18)
    if version is None:
        raise HTTPException(400)
    try:
        text_versions.restore(text.visit.app.database, text.key, version, staff)
    except UserError as error:
        return _page(text, staff, error=message_of(error), status=409)
    return text.visit.page.redirect(f"{text.path}/versions", "restored")


def _page(
    text: TextVisit,
    staff: Staff,
    *,
    new: int | None = None,
    old: int | None = None,
    before: int | None = None,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    app, key, head = text.visit.app, text.key, text.visit.head()
    comparison = text_versions.compare(app.database, key, new, old)
    if comparison is None and (new or old):
        raise HTTPException(404)
    may_write = text.may_write(staff)
    return text.visit.page(
        "desk/versions",
        staff,
        status,
        head=head,
        key=key,
        text_path=text.path,
        title=text_page.load_text_page(app.database, app.urls, key).title,
        listed=text_versions.list_versions(app.database, key, before),
        comparison=comparison,
        may_restore=may_write and head.state in EDITABLE_STATES,
        closed=may_write and head.state not in EDITABLE_STATES,
        done=done,
        error=error,
    )
