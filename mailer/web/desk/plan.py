"""The plan of an issue: what is there in each language, and taking something out."""

from collections import defaultdict
from collections.abc import Sequence

from fastapi import APIRouter, HTTPException, Response

from mailer.domain.errors import UserError
from mailer.domain.findings import Finding
from mailer.domain.issue_check import check_issue
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, MissingTranslationPolicy
from mailer.services.accounts.staff import Staff
from mailer.services.issues import approve, compile, edit, issue_pictures, plan, text_requests
from mailer.web.dependencies import RowId
from mailer.web.desk.documents import UploadForm
from mailer.web.desk.issue import ISSUE, Viewer, Visit, VisitOf, Writer, read_revision
from mailer.web.staff import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)
_STEPS = {"up": -1, "down": 1}


@router.get("")
def plan_page(visit: VisitOf, staff: Viewer, done: str = "") -> Response:
    return _page(visit, staff, done=done)


@router.post("/policy")
def set_policy(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    policy = next((known for known in MissingTranslationPolicy if known == form.get("policy")), None)
    if policy is None:
        raise HTTPException(400)

    def order() -> None:
        approve.set_missing_translation_policy(visit.app.database, visit.issue, policy, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="policy")


@router.post("/stories/{story}/remove")
def remove_story(visit: VisitOf, staff: Writer, story: RowId, _: StaffForm) -> Response:
    def order() -> None:
        edit.remove_story(visit.app.database, visit.issue, story, "", staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="removed")


@router.post("/stories/{story}/move")
def move_story(visit: VisitOf, staff: Writer, story: RowId, form: StaffForm) -> Response:
    """Move a story to another section, or one place up or down in its own."""
    section, step = str(form.get("section", "")), _STEPS.get(str(form.get("step", "")), 0)
    revision = read_revision(form)

    def order() -> None:
        edit.move_story(visit.app.database, visit.issue, story, revision, staff, section=section, step=step)

    return visit.carry_out(staff, order, refused=_page, then="", done="moved")


@router.post("/changes/{change}/undo")
def undo(visit: VisitOf, staff: Writer, change: RowId, _: StaffForm) -> Response:
    """Put a story back that was removed or moved."""

    def order() -> None:
        edit.undo(visit.app.database, visit.issue, change, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="restored")


@router.post("/header-image")
def set_header_image(visit: VisitOf, staff: Writer, files: UploadForm) -> Response:
    """Set the header image, or remove it if no picture was chosen."""
    app, picture = visit.app, None
    try:
        for name, data in list(files.pictures.items())[:1]:
            picture = app.prepare_picture(data, name)
    except ValueError as error:
        return _page(visit, staff, error=str(error), status=400)

    def order() -> None:
        issue_pictures.set_header_image(app.database, visit.issue, picture, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="header" if picture else "no_header")


@router.post("/delete")
def delete_draft(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    number = visit.head().number
    if str(form.get("number", "")).strip() != number:
        return _page(visit, staff, error="delete_number", status=400)
    try:
        edit.delete_draft(visit.app.database, visit.issue, staff)
    except UserError as error:
        return _page(visit, staff, error=str(error), status=409)
    return visit.page.redirect(visit.page.urls.path("/desk"), "deleted")


def _page(visit: Visit, staff: Staff, /, *, done: str = "", error: str = "", status: int = 200) -> Response:
    app = visit.app
    loaded = plan.load_plan(app.database, app.urls, visit.issue)
    errors = compile.render_errors(loaded.source, app.renderer, app.urls, app.settings.bounce_domain)
    findings = check_issue(loaded.source, render_errors=errors)
    return visit.page(
        "desk/plan",
        staff,
        status,
        plan=loaded,
        head=loaded.head,
        editable=loaded.head.state in EDITABLE_STATES,
        may_write=staff.may(Permission.write, loaded.head.newsletter),
        may_translate=staff.may(Permission.translate_texts, loaded.head.newsletter),
        findings=findings,
        by_story=_by_story(findings),
        changes=edit.list_changes(app.database, visit.issue),
        requests=text_requests.by_story(text_requests.list_requests(app.database, visit.issue, visit.now)),
        outdated=edit.IssueOutdated.__doc__,
        policies=list(MissingTranslationPolicy),
        done=done,
        error=error,
    )


def _by_story(findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    """Return story → the findings about it alone."""
    found: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        stories = {place.story for place in finding.places if place.story is not None}
        if len(stories) == 1:
            found[stories.pop()].append(finding)
    return found
