"""The plan of an issue: what is there in each language; adding, moving and removing stories; the order of sections."""

from collections import defaultdict
from collections.abc import Sequence

from fastapi import APIRouter, HTTPException, Response
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.domain.errors import UserError
from mailer.domain.findings import Finding
from mailer.domain.issue_check import check_issue
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, MissingTranslationPolicy, StoryChangeKind
from mailer.services.accounts.staff import Staff
from mailer.services.issues import (
    approve,
    compile,
    draft_languages,
    edit,
    hold_over,
    mark_ready,
    plan,
    text_request_list,
)
from mailer.services.issues.mark_ready import MarkedDrafts
from mailer.web.dependencies import RowId
from mailer.web.desk.issue import ISSUE, Translator, Viewer, Visit, VisitOf, Writer, read_revision, read_step
from mailer.web.forms import whole_number
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)


@router.get("")
def plan_page(visit: VisitOf, staff: Viewer, done: str = "", story: RowId | None = None) -> Response:
    """Show the plan. ``story``: the one that was just added, which can be removed again."""
    return _page(visit, staff, done=done, story=story)


@router.post("/policy")
def set_policy(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    policy = next((known for known in MissingTranslationPolicy if known == form.get("policy")), None)
    if policy is None:
        raise HTTPException(400)

    def order() -> None:
        approve.set_missing_translation_policy(visit.app.database, visit.issue, policy, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="policy")


@router.get("/trash")
def trash_page(visit: VisitOf, staff: Viewer) -> Response:
    """List the stories that were removed, with their texts."""
    head = visit.head()
    changes = edit.list_changes(visit.app.database, visit.issue)
    return visit.page(
        "desk/trash",
        staff,
        head=head,
        removed=[change for change in changes if change.kind is StoryChangeKind.removed],
        kept_days=edit.KEPT.days,
        may_undo=head.state in EDITABLE_STATES and staff.may(Permission.write, head.newsletter),
    )


@router.post("/languages")
def begin_language(visit: VisitOf, staff: Translator, form: StaffForm) -> Response:
    """Begin the front matter and each story's text in a language."""
    language = _language(visit, staff, form)

    def order() -> None:
        draft_languages.begin(visit.app.database, visit.issue, language, cldr.compose_dateline, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="language")


@router.post("/languages/undo")
def undo_language(visit: VisitOf, staff: Translator, form: StaffForm) -> Response:
    """Remove the drafts of a language in which nothing is written."""
    language = _language(visit, staff, form)

    def order() -> None:
        draft_languages.undo(visit.app.database, visit.issue, language, cldr.compose_dateline, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="language_removed")


@router.post("/languages/ready")
def mark_drafts_ready(visit: VisitOf, staff: Translator, form: StaffForm) -> Response:
    """Mark the drafts of a language as ready; say how many, and which not."""
    head, language = visit.head(), _language(visit, staff, form)
    if language not in head.languages:
        raise HTTPException(404)
    sources = staff.may(Permission.write, head.newsletter)
    try:
        marked = mark_ready.mark_ready(visit.app.database, visit.issue, language, staff, visit.now, sources=sources)
    except UserError as error:
        return _page(visit, staff, error=message_of(error), status=409)
    return _page(visit, staff, marked=marked)


@router.post("/stories")
def add_story(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    """Begin a story at the end of a section, and go to it."""
    try:
        story, language = edit.add_story(visit.app.database, visit.issue, str(form.get("section", "")), staff)
    except UserError as error:
        return _page(visit, staff, error=message_of(error), status=409)
    return visit.go_to(f"/stories/{story}/{language}", "")


@router.post("/sections/move")
def move_section(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    """Move a section one place up or down, or to a place."""
    section, step = str(form.get("section", "")), read_step(form)
    revision, place = read_revision(form), _read_number(form, "place", max_digits=4)

    def order() -> None:
        edit.move_section(visit.app.database, visit.issue, section, revision, staff, place=place, step=step)

    return visit.carry_out(staff, order, refused=_page, then="", done="section_order")


@router.post("/stories/{story}/hold-over")
def hold_story_over(visit: VisitOf, staff: Writer, story: RowId, form: StaffForm) -> Response:
    """Move a story into another draft, or into the next issue, which is begun for it."""
    target = _read_number(form, "target")

    def order() -> None:
        hold_over.hold_over(visit.app.database, visit.issue, story, target, visit.now.date(), staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="held_over")


@router.post("/stories/{story}/remove")
def remove_story(visit: VisitOf, staff: Writer, story: RowId, _: StaffForm) -> Response:
    def order() -> None:
        edit.remove_story(visit.app.database, visit.issue, story, "", staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="removed")


@router.post("/stories/{story}/move")
def move_story(visit: VisitOf, staff: Writer, story: RowId, form: StaffForm) -> Response:
    """Move a story to a place in a section, or one place up or down in its own."""
    section, step = str(form.get("section", "")), read_step(form)
    revision, place = read_revision(form), _read_number(form, "place", max_digits=4)

    def order() -> None:
        edit.move_story(
            visit.app.database, visit.issue, story, revision, staff, section=section, place=place, step=step
        )

    return visit.carry_out(staff, order, refused=_page, then="", done="moved")


@router.post("/changes/{change}/undo")
def undo(visit: VisitOf, staff: Writer, change: RowId, _: StaffForm) -> Response:
    """Undo a change of the plan."""
    try:
        undone = edit.undo(visit.app.database, visit.issue, change, staff)
    except UserError as error:
        return _page(visit, staff, error=message_of(error), status=409)
    done = {StoryChangeKind.section_order: "order_restored", StoryChangeKind.picture: "picture_restored"}
    return visit.go_to("", done.get(undone.kind, "restored"))


@router.post("/delete")
def delete_draft(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    number = visit.head().number
    if str(form.get("number", "")).strip() != number:
        return _page(visit, staff, error="delete_number", status=400)
    try:
        edit.delete_draft(visit.app.database, visit.issue, staff)
    except UserError as error:
        return _page(visit, staff, error=message_of(error), status=409)
    return visit.page.redirect(visit.page.urls.path("/desk"), "deleted")


def _language(visit: Visit, staff: Staff, form: FormData) -> str:
    """Return the language in a form. Raises HTTPException 403 unless this account may translate into it."""
    language = str(form.get("language", ""))
    if not staff.may(Permission.translate_texts, visit.head().newsletter, language):
        raise HTTPException(403)
    return language


def _read_number(form: FormData, name: str, max_digits: int = 9) -> int | None:
    """Return a number in a form, None for an empty field. Raises HTTPException 400 for what is no number."""
    typed = str(form.get(name, "")).strip()
    number = whole_number(typed, max_digits)
    if typed and number is None:
        raise HTTPException(400)
    return number


def _page(
    visit: Visit,
    staff: Staff,
    /,
    *,
    done: str = "",
    error: str = "",
    status: int = 200,
    story: int | None = None,
    marked: MarkedDrafts | None = None,
) -> Response:
    app = visit.app
    loaded = plan.load_plan(app.database, app.urls, visit.issue)
    errors = compile.render_errors(loaded.source, app.renderer, app.urls, app.settings.bounce_domain)
    findings = check_issue(loaded.source, render_errors=errors)
    head = loaded.head
    may_write, editable = staff.may(Permission.write, head.newsletter), head.state in EDITABLE_STATES
    changes = edit.list_changes(app.database, visit.issue)
    own = [tag for tag in head.languages if staff.may(Permission.translate_texts, head.newsletter, tag)]
    drafted = {tag for _, tag in loaded.source.drafts}
    unwritten = draft_languages.unwritten(app.database, visit.issue, cldr.compose_dateline) if editable else set()
    return visit.page(
        "desk/plan",
        staff,
        status,
        plan=loaded,
        head=head,
        editable=editable,
        may_write=may_write,
        may_change=may_write and editable,
        may_translate=staff.may(Permission.translate_texts, head.newsletter),
        findings=findings,
        by_story=_by_story(findings),
        added=next((one for one in loaded.planned_stories if one.id == story), None),
        latest=changes[0] if changes else None,
        removed=sum(change.kind is StoryChangeKind.removed for change in changes),
        drafts=[one for one in hold_over.list_drafts(app.database, head.newsletter) if one.id != visit.issue],
        languages_to_begin=[tag for tag in own if tag not in loaded.begun_languages],
        languages_to_undo=[tag for tag in own if tag in unwritten],
        languages_with_drafts=[tag for tag in own if tag in drafted],
        marked=marked,
        requests=text_request_list.by_story(text_request_list.list_requests(app.database, visit.issue, visit.now)),
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
