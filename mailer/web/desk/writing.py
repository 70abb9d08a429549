"""The pages on which a story and the front matter are written, in one language each, and what their script asks for.

Without script a page is a form with Markdown. With it, the same address takes JSON, and answers what became of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, TextSubject, TranslationStatus
from mailer.domain.text_difference import differences
from mailer.domain.text_fields import read_fields
from mailer.domain.versions import TextKey
from mailer.services.accounts.staff import Staff
from mailer.services.issues import report, text_page, write_text
from mailer.services.issues.text_page import TextNotShown
from mailer.services.issues.write_text import (
    SaveOrder,
    SaveOutcome,
    SaveResult,
    TextMoved,
    TextNotFound,
    TooManySaves,
)
from mailer.web.desk.issue import ISSUE, Translator, Viewer, Visit, VisitOf
from mailer.web.desk.preview import EDITION_HEADERS
from mailer.web.desk.text_form import (
    BASE,
    TAB,
    compose_for_script,
    findings_in,
    for_page,
    for_script,
    match,
    script_config,
    typed_in,
)
from mailer.web.staff import STAFF_CSP, message_of
from mailer.web.staff_forms import StaffBody, form_token, session_token

STORY, FRONT_MATTER = f"{ISSUE}/stories/{{story}}/{{language}}", f"{ISSUE}/front/{{language}}"
router = APIRouter(include_in_schema=False)
_STORY = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class TextVisit:
    """A request about one text."""

    visit: Visit
    key: TextKey
    newsletter: int

    @property
    def path(self) -> str:
        """The path of the text's page."""
        key, path = self.key, self.visit.page.urls.path
        if key.subject is TextSubject.story:
            return path(STORY, issue=key.issue, story=key.subject_id, language=key.language)
        return path(FRONT_MATTER, issue=key.issue, language=key.language)

    def moved_to(self, issue: int) -> "TextVisit":
        """Return the visit of the same text in another issue."""
        return replace(self, visit=replace(self.visit, issue=issue), key=replace(self.key, issue=issue))

    def may_write(self, staff: Staff) -> bool:
        """Return whether somebody may change this text."""
        source = write_text.source_language(self.visit.app.database, self.key)
        return staff.may_write(self.newsletter, self.key.language, source)


def _text_visit(visit: VisitOf, request: Request, language: str) -> TextVisit:
    story = request.path_params.get("story")
    if story is not None and not _STORY.fullmatch(story):
        raise HTTPException(404)
    database = visit.app.database
    try:
        key = write_text.key_of(database, visit.issue, int(story) if story else None, language)
    except TextMoved:
        # Somebody may have been writing: what they send is kept.
        if request.method != "POST" or not request.url.path.endswith(f"/{story}/{language}"):
            raise visit.not_here(int(story or 0)) from None
        key = TextKey(visit.issue, TextSubject.story, int(story or 0), language)
    except TextNotFound:
        raise HTTPException(404) from None
    return TextVisit(visit, key, report.newsletter_of(database, visit.issue))


TextVisitOf = Annotated[TextVisit, Depends(_text_visit)]
"""A handler takes it after what it ``Requires``."""


@router.get(STORY)
@router.get(FRONT_MATTER)
def text_page_of(staff: Viewer, text: TextVisitOf, done: str = "") -> Response:
    return _page(text, staff, done=done)


@router.post(STORY)
@router.post(FRONT_MATTER)
def save(staff: Translator, text: TextVisitOf, body: StaffBody) -> Response:
    """Save a text. A form is answered with its page, JSON with JSON. What is not saved is kept, or said to be wrong."""
    if not text.may_write(staff):
        raise HTTPException(403)
    _count(text, staff)
    return _save_form(text, staff, body) if isinstance(body, FormData) else _save_json(text, staff, body)


def _save_json(text: TextVisit, staff: Staff, body: Mapping[str, Any]) -> Response:
    fields = body.get("fields")
    if not isinstance(fields, Mapping):
        raise HTTPException(400)
    try:
        typed = read_fields(text.key.subject, fields, text.key.language)
    except (UserError, ValueError) as error:
        return text.visit.page.json({"message": text.visit.page.translate(staff, message_of(error))}, 422)
    order = SaveOrder(
        match(BASE, body.get("base")),
        typed,
        _status(body.get("status")),
        body.get("minor") is True,
        match(TAB, body.get("tab")),
        match(TAB, body.get("previous_tab")),
        body.get("take_over") is True,
        match(BASE, body.get("translated_from")),
        match(BASE, body.get("shown_source")),
        _source_language(text, staff, body.get("source_language")),
    )
    result = write_text.save_text(text.visit.app.database, text.key, order, staff, text.visit.now)
    if result.moved_to is not None:
        text = text.moved_to(result.moved_to)
    page = text.visit.page
    problems = {name: page.translate(staff, message) for name, message in typed.problems.items()}
    answer = for_script(page.urls, text.key, result.text) | {"problems": problems}
    if result.outcome is SaveOutcome.saved:
        return page.json(answer | findings_in(page, staff, text.key, result.text.content))
    html = _conflict_html(text, staff, order, result)
    return page.json(answer | {"reason": result.outcome, "kept": result.kept, "html": html}, 409)


def _save_form(text: TextVisit, staff: Staff, form: FormData) -> Response:
    """Save what was typed without script, and show the page again: with it, if it could not be saved."""
    fields = typed_in(form, text.key)
    try:
        typed = read_fields(text.key.subject, fields, text.key.language, is_markdown=True)
    except (UserError, ValueError) as problem:
        base, error = match(BASE, form.get("base")), message_of(problem)
        return _page(text, staff, form=fields, sent=form, base=base, error=error, status=422)
    order = SaveOrder(
        match(BASE, form.get("base")),
        typed,
        _status(_chosen(form, "status")),
        "minor" in form,
        translated_from=match(BASE, form.get("translated_from")),
        shown_source=match(BASE, form.get("shown_source")),
        source_language=_source_language(text, staff, _chosen(form, "source_language")),
    )
    result = write_text.save_text(text.visit.app.database, text.key, order, staff, text.visit.now)
    if result.moved_to is not None:
        text = text.moved_to(result.moved_to)
    if result.outcome is SaveOutcome.saved and not typed.problems:
        return text.visit.page.redirect(text.path, "saved")
    if result.outcome is SaveOutcome.saved:
        error = next(iter(typed.problems.values()))
        return _page(text, staff, form=fields, sent=form, base=result.text.base, error=error, status=422)
    return _page(text, staff, form=fields, sent=form, base=result.text.base, order=order, conflict=result, status=409)


@router.get(f"{STORY}/text")
@router.get(f"{FRONT_MATTER}/text")
def stored_text(staff: Viewer, text: TextVisitOf) -> Response:
    """Return a text as it is stored, and what is needed to save it: after signing in again, too."""
    page = text.visit.page
    state = write_text.load_begun_state(text.visit.app.database, text.key, cldr.compose_dateline)
    editable = text.visit.head().state in EDITABLE_STATES
    return page.json(
        for_script(page.urls, text.key, state)
        | findings_in(page, staff, text.key, state.content)
        | {
            "account": staff.account,
            "form_token": form_token(session_token(page.request)),
            "editable": editable and text.may_write(staff),
        }
    )


@router.post(f"{STORY}/heartbeat")
@router.post(f"{FRONT_MATTER}/heartbeat")
def heartbeat(staff: Viewer, text: TextVisitOf, body: StaffBody) -> Response:
    """Record that a tab has the text open; say who else has, and who writes."""
    app, tab = text.visit.app, match(TAB, body.get("tab"))
    if not tab:
        raise HTTPException(400)
    _count(text, staff, heartbeat=True)
    if body.get("close"):
        write_text.close(app.database, text.key, staff, tab)
        return text.visit.page.json({})
    may_write = text.may_write(staff)
    state = write_text.heartbeat(
        app.database,
        text.key,
        staff,
        tab,
        text.visit.now,
        writing=may_write and body.get("writing") is True,
        take_over=may_write and body.get("take_over") is True,
        shown=match(BASE, body.get("base")),
    )
    others = [other for other in state.others if other.account != staff.account]
    return text.visit.page.json(
        {
            "base": state.base,
            "status": state.status,
            "editable": state.editable and may_write,
            "others": list(dict.fromkeys(other.name for other in others)),
            "other_tab": len(others) < len(state.others),
            "writer": next((other.name for other in others if other.is_writer), ""),
        }
    )


@router.get(f"{STORY}/look")
@router.get(f"{FRONT_MATTER}/look")
def look(staff: Viewer, text: TextVisitOf) -> Response:
    """Show the text as an email shows it."""
    app = text.visit.app
    try:
        html = text_page.render_look(app.database, app.renderer, app.urls, text.key)
    except (TextNotShown, ValueError) as error:
        reason = "" if isinstance(error, TextNotShown) else message_of(error)
        response = text.visit.page("desk/no_look", staff, error=reason)
        response.headers["Content-Security-Policy"] = STAFF_CSP.replace("ancestors 'none'", "ancestors 'self'")
        return response
    return HTMLResponse(html, headers=EDITION_HEADERS)


@router.get(f"{STORY}/dateline")
def dateline(staff: Viewer, text: TextVisitOf, start: str = "", end: str = "", place: str = "") -> Response:
    """Return dates and a place as a line in the text's language."""
    return compose_for_script(text.visit.page, start, end, place, text.key.language)


def _count(text: TextVisit, staff: Staff, *, heartbeat: bool = False) -> None:
    """Count a save or a heartbeat. Raises HTTPException 429 for more than anybody makes who writes."""
    try:
        write_text.count_save(text.visit.app.database, staff.account, text.visit.now, heartbeat=heartbeat)
    except TooManySaves:
        raise HTTPException(429, headers={"Retry-After": "30"}) from None


def _page(
    text: TextVisit,
    staff: Staff,
    *,
    form: Mapping[str, Any] | None = None,
    sent: FormData | None = None,
    base: str = "",
    order: SaveOrder | None = None,
    conflict: SaveResult | None = None,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    """Show the page of a text.

    ``form``: what was typed into it and is not saved, with the base to save it on. ``sent``: the form, for what was
    chosen in it.
    """
    app, key, page = text.visit.app, text.key, text.visit.page
    state = write_text.load_begun_state(app.database, key, cldr.compose_dateline)
    head = text.visit.head()
    may_write = text.may_write(staff)
    editable = may_write and head.state in EDITABLE_STATES
    config = None
    if form is None:
        config = script_config(
            page.urls, key, state, url=text.path, account=staff.account, editable=editable, may_write=may_write
        )
    return page(
        "desk/story" if key.subject is TextSubject.story else "desk/front_matter",
        staff,
        status,
        head=head,
        key=key,
        text_path=text.path,
        state=state,
        beside=text_page.load_text_page(app.database, app.urls, key),
        may_write=may_write,
        editable=editable,
        writable=[tag for tag in head.languages if staff.may(Permission.translate_texts, head.newsletter, tag)],
        may_change_source=staff.may(Permission.write, head.newsletter),
        config=config,
        sent=sent or {},
        conflict=_conflict(text, order, conflict) if order and conflict else None,
        done=done,
        error=error,
        **for_page(page, staff, key, state, form, base),
    )


def _conflict(text: TextVisit, order: SaveOrder, result: SaveResult) -> dict[str, Any]:
    """Return what is shown of two texts of which one was set aside: their difference by field."""
    mine = {**result.text.content, **order.typed.content}
    return {
        "reason": result.outcome,
        "by": result.text.by,
        "at": result.text.at,
        "kept": result.kept,
        "changes": differences(result.text.content, mine),
    }


def _conflict_html(text: TextVisit, staff: Staff, order: SaveOrder, result: SaveResult) -> str:
    response = text.visit.page(
        "desk/conflict",
        staff,
        head=text.visit.head(),
        key=text.key,
        text_path=text.path,
        conflict=_conflict(text, order, result),
    )
    return bytes(response.body).decode()


def _chosen(form: FormData, name: str) -> object:
    """Return what was chosen in a form, None if it is what the form was shown with: it may be something else now."""
    return form.get(name) if form.get(name) != form.get(f"shown_{name}") else None


def _source_language(text: TextVisit, staff: Staff, value: object) -> str:
    """Return the chosen source language if it may be changed and is one of the newsletter's, else an empty string."""
    known = isinstance(value, str) and value in text.visit.head().languages
    return str(value) if known and staff.may(Permission.write, text.newsletter) else ""


def _status(value: object) -> TranslationStatus | None:
    allowed = (TranslationStatus.draft, TranslationStatus.ready)
    return next((status for status in allowed if status == value), None)
