"""The pages on which a story and the front matter are written, in one language each, and what their script asks for.

Without script a page is a form with Markdown. With it, the same address takes JSON, and answers what became of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.domain.content import Dateline, DateRange
from mailer.domain.document.datelines import MAX_DATELINE_CHARS, read_datelines
from mailer.domain.errors import UserError
from mailer.domain.markdown import find_problems
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, TextSubject, TranslationStatus
from mailer.domain.text_difference import differences
from mailer.domain.text_fields import PLAIN, RICH, TypedText, read_fields, typed_fields
from mailer.domain.text_tree import InvalidTree, plain_line
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
    TextState,
    TooManySaves,
)
from mailer.web.desk.issue import ISSUE, Viewer, Visit, VisitOf
from mailer.web.desk.preview import EDITION_HEADERS
from mailer.web.staff import STAFF_CSP, Requires, StaffBody, form_token, session_token

STORY, FRONT_MATTER = f"{ISSUE}/stories/{{story}}/{{language}}", f"{ISSUE}/front/{{language}}"
router = APIRouter(include_in_schema=False)
Translator = Annotated[Staff, Depends(Requires(Permission.translate_texts))]
_NO_STORE = {"Cache-Control": "no-store"}
TAB = re.compile(r"[A-Za-z0-9-]{0,40}")
BASE = re.compile(r"(?:[0-9]{1,18}\.[0-9]{1,9})?")
_STORY = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class TextVisit:
    """A request about one text."""

    visit: Visit
    key: TextKey
    newsletter: int
    request: Request

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
        """Return whether somebody may change this text: its source only with ``write``."""
        source = write_text.source_language(self.visit.app.database, self.key)
        needed = Permission.write if self.key.language == source else Permission.translate_texts
        return staff.may(needed, self.newsletter, self.key.language)

    def translate(self, staff: Staff, text: str) -> str:
        return self.visit.page.pages.translate(self.request, staff, text)


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
            raise HTTPException(404) from None
        key = TextKey(visit.issue, TextSubject.story, int(story or 0), language)
    except TextNotFound:
        raise HTTPException(404) from None
    return TextVisit(visit, key, report.newsletter_of(database, visit.issue), request)


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
    try:
        write_text.count_save(text.visit.app.database, staff.account, text.visit.now)
    except TooManySaves:
        raise HTTPException(429, headers={"Retry-After": "30"}) from None
    return _save_form(text, staff, body) if isinstance(body, FormData) else _save_json(text, staff, body)


def _save_json(text: TextVisit, staff: Staff, body: Mapping[str, Any]) -> Response:
    fields = body.get("fields")
    if not isinstance(fields, Mapping):
        raise HTTPException(400)
    try:
        typed = read_fields(text.key.subject, fields, text.key.language)
    except (UserError, ValueError) as error:
        return json_answer({"message": text.translate(staff, message_of(error))}, 422)
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
    answer = _as_json(text, result.text) | {"problems": _problems(text, staff, typed)}
    if result.outcome is SaveOutcome.saved:
        return json_answer(answer | _findings(text, staff, result.text.content))
    html = _conflict_html(text, staff, order, result)
    return json_answer(answer | {"reason": result.outcome, "kept": result.kept, "html": html}, 409)


def _save_form(text: TextVisit, staff: Staff, form: FormData) -> Response:
    """Save what was typed without script, and show the page again: with it, if it could not be saved."""
    fields: dict[str, Any] = {name: form.get(name, "") for name in (*RICH[text.key.subject], *PLAIN[text.key.subject])}
    if text.key.subject is TextSubject.story:
        fields |= {name: form.get(name, "") for name in ("headline", "link", "link_label")}
        fields["datelines"] = [{"text": line} for line in typed_datelines(form, text.key.language)]
    try:
        typed = read_fields(text.key.subject, fields, text.key.language, is_markdown=True)
    except (UserError, ValueError) as error:
        return _page(text, staff, form=fields, base=str(form.get("base", "")), error=message_of(error), status=422)
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
        problem = next(iter(typed.problems.values()))
        return _page(text, staff, form=fields, base=result.text.base, error=problem, status=422)
    return _page(text, staff, form=fields, base=result.text.base, order=order, conflict=result, status=409)


@router.get(f"{STORY}/text")
@router.get(f"{FRONT_MATTER}/text")
def stored_text(staff: Viewer, text: TextVisitOf) -> Response:
    """Return a text as it is stored, and what is needed to save it: after signing in again, too."""
    state = write_text.load_begun_state(text.visit.app.database, text.key, cldr.compose_dateline)
    answer = _as_json(text, state) | _findings(text, staff, state.content)
    editable = text.visit.head().state in EDITABLE_STATES
    return json_answer(
        answer
        | {
            "account": staff.account,
            "form_token": form_token(session_token(text.request)),
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
    try:
        write_text.count_save(app.database, staff.account, text.visit.now, heartbeat=True)
    except TooManySaves:
        raise HTTPException(429, headers={"Retry-After": "30"}) from None
    if body.get("close"):
        write_text.close(app.database, text.key, staff, tab)
        return json_answer({})
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
    return json_answer(
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
    line = composed_dateline(start, end, place, text.key.language)
    if line is None:
        raise HTTPException(400)
    return json_answer({"text": line, "understood": understood(line, text.key.language)})


def composed_dateline(start: str, end: str, place: str, language: str) -> str | None:
    """Return a dateline of typed dates and a place; None without a date."""
    try:
        first = date.fromisoformat(start[:10])
        last = date.fromisoformat(end[:10]) if end else first
    except ValueError:
        return None
    place = " ".join(place[: MAX_DATELINE_CHARS // 2].split())
    return cldr.compose_dateline(DateRange(first, max(first, last)), place, language)


def typed_datelines(form: FormData, language: str) -> list[str]:
    """Return the lines in a form; one without text is composed of its dates and place."""
    names = ("dateline", "dateline_start", "dateline_end", "dateline_place")
    rows = zip(*(map(str, form.getlist(name)) for name in names), strict=False)
    return [line or composed_dateline(start, end, place, language) or "" for line, start, end, place in rows]


def understood(line: str, language: str) -> str:
    """Return how a dateline is printed; empty if it is printed as it is written."""
    datelines, _ = read_datelines(line.strip().rstrip(":：").strip(), language)
    if not line.strip() or not all(found.dates for found in datelines):
        return ""
    return " | ".join(cldr.format_dateline(found, language) for found in datelines)


def _page(
    text: TextVisit,
    staff: Staff,
    *,
    form: Mapping[str, Any] | None = None,
    base: str = "",
    order: SaveOrder | None = None,
    conflict: SaveResult | None = None,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    """Show the page of a text. ``form``: what was typed into it and is not saved, with the base to save it on."""
    app, key = text.visit.app, text.key
    state = write_text.load_begun_state(app.database, key, cldr.compose_dateline)
    beside = text_page.load_text_page(app.database, app.urls, key)
    head = text.visit.head()
    may_write = text.may_write(staff)
    editable = may_write and head.state in EDITABLE_STATES
    content = form if form is not None else as_form(key, state.content)
    lines = content.get("datelines", [])
    template = "desk/story" if key.subject is TextSubject.story else "desk/front_matter"
    return text.visit.page(
        template,
        staff,
        status,
        head=head,
        key=key,
        text_path=text.path,
        state=state,
        beside=beside,
        content=content,
        datelines=[(line["text"], understood(line["text"], key.language)) for line in lines],
        base=base or state.base,
        may_write=may_write,
        editable=editable,
        writable=[tag for tag in head.languages if staff.may(Permission.translate_texts, head.newsletter, tag)],
        may_change_source=staff.may(Permission.write, head.newsletter),
        config=_config(text, staff, state, editable=editable, may_write=may_write) if form is None else None,
        conflict=_conflict(text, order, conflict) if order and conflict else None,
        done=done,
        error=error,
        **_findings(text, staff, state.content),
    )


def _config(
    text: TextVisit, staff: Staff, state: TextState, *, editable: bool, may_write: bool
) -> dict[str, Any] | None:
    """Return what the script of the page begins with; None if the text has something that its editor cannot hold."""
    try:
        answer = _as_json(text, state)
    except InvalidTree:
        return None
    return answer | {
        "url": text.path,
        "account": staff.account,
        "editable": editable,
        "may_write": may_write,
        "language": text.key.language,
    }


def as_form(key: TextKey, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored text as a form without script edits it."""
    if key.subject is not TextSubject.story:
        return dict(content)
    lines = [{"text": line["text"]} for line in content["datelines"]]
    return {**content, "datelines": lines, "link_label": plain_line(content["link_label"])}


def _as_json(text: TextVisit, state: TextState) -> dict[str, Any]:
    picture = None
    if (info := state.picture) is not None:
        url = text.visit.app.urls.picture_url(info.sha256, info.media_type)
        picture = {"url": url, "width": info.width, "height": info.height}
    return {
        "picture": picture,
        "base": state.base,
        "fields": typed_fields(text.key.subject, state.content),
        "status": state.status,
        "by": state.by,
        "at": state.at.isoformat() if state.at else "",
    }


def findings_in(key: TextKey, content: Mapping[str, Any], translate: Callable[[str], str]) -> dict[str, Any]:
    """Return what of a stored text is not shown as it is meant, and how its datelines are printed."""
    names = (*RICH[key.subject], *(("headline",) if key.subject is TextSubject.story else ()))
    problems = [problem for name in names for problem in find_problems(content[name])]
    understood = [cldr.format_dateline(Dateline.from_json(line), key.language) for line in content.get("datelines", [])]
    return {
        "findings": [translate(problem.message) for problem in problems],
        "understood": understood,
    }


def _findings(text: TextVisit, staff: Staff, content: Mapping[str, Any]) -> dict[str, Any]:
    return findings_in(text.key, content, lambda message: text.translate(staff, message))


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


def _problems(text: TextVisit, staff: Staff, typed: TypedText) -> dict[str, str]:
    return {name: text.translate(staff, message) for name, message in typed.problems.items()}


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


def match(pattern: re.Pattern[str], value: object) -> str:
    """Return a value that has the form of what our own pages send, else an empty string."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def message_of(error: Exception) -> str:
    return error.args[0] if error.args and isinstance(error.args[0], str) else str(error)


def json_answer(values: Mapping[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(dict(values), status, _NO_STORE)
