"""The page behind a link: somebody without an account writes the one text that they were asked for.

The script of the desk's writing pages runs it too, so it answers what they answer. Without script it is a form. Nothing
but this text is shown or changed, whatever is sent: its key comes from the request that the link names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.datastructures import FormData, UploadFile

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.document import MAX_DOCUMENT_BYTES, DocumentError
from mailer.domain.document.one_story import OneStory, parse_one
from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.staff_texts import gettext, ngettext
from mailer.domain.states import TextSubject
from mailer.domain.text_fields import TypedText, read_fields
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.services.issues import contributions
from mailer.services.issues.contributions import HIDDEN, Contribution, LinkGone, LinkState, TooManyRequests
from mailer.services.issues.write_text import SaveOutcome
from mailer.web.dependencies import App, Now
from mailer.web.desk.documents import read_document
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
from mailer.web.forms import receive_within
from mailer.web.staff import Anyone, Page, PageOf, VisitorOf, message_of
from mailer.web.staff_forms import read_body

MAX_FILE_BYTES = 10 * 1024 * 1024
router = APIRouter(include_in_schema=False, dependencies=[Depends(Anyone())])
_TOO_MANY = HTTPException(429, headers={"Retry-After": "30"})


@dataclass(frozen=True, slots=True)
class LinkVisit:
    """A request behind a link."""

    app: Container
    page: Page
    now: Now
    token: str
    id: int
    """Of the request for a text. That it exists and its link works is known only to the services."""
    network: bytes

    @property
    def path(self) -> str:
        return self.page.urls.path(urls.CONTRIBUTION, token=self.token)

    def load(self) -> Contribution:
        return contributions.open_link(self.app.database, self.id, self.now)

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        response = self.page(template, None, status, link_path=self.path, **values)
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _visit(app: App, page: PageOf, now: Now, visitor: VisitorOf, token: str) -> LinkVisit:
    ids = app.tokens.read_link_token(Purpose.text_request, token)
    if ids is None:
        raise HTTPException(404)
    visit = LinkVisit(app, page, now, token, ids[1], visitor.network_hash)
    try:
        contributions.count(app.database, visit.id, visit.network, now)
    except TooManyRequests:
        raise _TOO_MANY from None
    return visit


VisitByLink = Annotated[LinkVisit, Depends(_visit)]


@router.get(urls.CONTRIBUTION)
def contribution_page(visit: VisitByLink) -> Response:
    return _page(visit)


@router.post(urls.CONTRIBUTION)
def save(visit: VisitByLink, body: Annotated[FormData | dict[str, Any], Depends(read_body)]) -> Response:
    """Save what is written. A form is answered with the page, JSON with JSON."""
    try:
        contribution = visit.load()
        return (
            _save_form(visit, contribution, body)
            if isinstance(body, FormData)
            else _save_json(visit, contribution, body)
        )
    except LinkGone:
        if isinstance(body, FormData):
            return _gone(visit)
        raise HTTPException(404) from None


def _save_json(visit: LinkVisit, contribution: Contribution, body: Mapping[str, Any]) -> Response:
    fields = body.get("fields")
    if not isinstance(fields, Mapping):
        raise HTTPException(400)
    try:
        typed = _read(contribution.key, fields)
    except (UserError, ValueError) as error:
        return visit.page.json({"message": visit.page.translate(None, message_of(error))}, 422)
    result = contributions.save(
        visit.app.database,
        visit.id,
        match(BASE, body.get("base")),
        typed,
        visit.now,
        tabs=(match(TAB, body.get("tab")), match(TAB, body.get("previous_tab"))),
    )
    page, key = visit.page, contribution.key
    answer = for_script(page.urls, key, result.written, HIDDEN)
    if result.outcome is SaveOutcome.saved:
        problems = {name: page.translate(None, message) for name, message in typed.problems.items()}
        return page.json(answer | {"problems": problems} | findings_in(page, None, key, result.written.content))
    shown = visit.show("desk/contribution_conflict", reason=result.outcome, is_kept=result.is_kept)
    return page.json(answer | {"reason": result.outcome, "html": bytes(shown.body).decode()}, 409)


def _save_form(visit: LinkVisit, contribution: Contribution, form: FormData) -> Response:
    """Save what was typed without script, and hand it in if that was the button."""
    key = contribution.key
    fields = typed_in(form, key, HIDDEN)
    base = match(BASE, form.get("base"))
    try:
        typed = _read(key, fields, is_markdown=True)
        result = contributions.save(visit.app.database, visit.id, base, typed, visit.now)
        if result.outcome is not SaveOutcome.saved:
            reason = gettext(
                "What you wrote is kept, but this text was changed meanwhile. Look at both, and save again."
            )
            if result.outcome is SaveOutcome.closed:
                reason = gettext("What you wrote is kept, but the text can no longer be changed here.")
            if not result.is_kept:
                reason = gettext("What you wrote is not kept: this text has too many versions. Copy it to keep it.")
            return _page(visit, form=fields, base=result.written.base, error=reason, status=409)
        if typed.problems:
            problem = next(iter(typed.problems.values()))
            return _page(visit, form=fields, base=result.written.base, error=problem, status=422)
        if form.get("action") == "hand_in":
            contributions.hand_in(visit.app.database, visit.id, visit.now)
    except (UserError, ValueError) as error:
        return _page(visit, form=fields, base=base, error=message_of(error), status=422)
    return visit.page.redirect(visit.path)


@router.post(f"{urls.CONTRIBUTION}/hand-in")
def hand_in(visit: VisitByLink) -> Response:
    try:
        contributions.hand_in(visit.app.database, visit.id, visit.now)
    except LinkGone:
        return _gone(visit)
    except ChangeRefused as error:
        return _page(visit, error=message_of(error), status=409)
    return visit.page.redirect(visit.path)


async def _read_file(request: Request) -> tuple[str, bytes]:
    """Return the name and content of an uploaded document. Raises HTTPException 413 if it is too large."""
    limited = Request(request.scope, receive_within(request, MAX_FILE_BYTES))
    form = await limited.form(max_files=1, max_fields=5)
    value = form.get("document")
    if not isinstance(value, UploadFile) or not value.filename:
        return "", b""
    return value.filename[:200], await value.read()


@router.post(f"{urls.CONTRIBUTION}/document")
def upload(visit: VisitByLink, file: Annotated[tuple[str, bytes], Depends(_read_file)]) -> Response:
    """Read a document as this text, in place of what is written, and show how it was understood."""
    name, data = file
    try:
        contributions.count(visit.app.database, visit.id, visit.network, visit.now, document=True)
        contribution = visit.load()
        if not data:
            raise DocumentError(gettext("Choose a document."))
        markdown, pictures = read_document(name, data)
        story = parse_one(markdown, contribution.key.language)
        typed = _typed(contribution.key, story)
        contributions.replace_text(visit.app.database, visit.id, typed, visit.now)
    except TooManyRequests:
        raise _TOO_MANY from None
    except LinkGone:
        return _gone(visit)
    except (UserError, ValueError) as error:
        return _page(visit, error=message_of(error), status=422)
    count = max(story.pictures, len(pictures))
    left_out = [
        ngettext(
            "%(num)s picture is not taken over. Send it to your colleague.",
            "%(num)s pictures are not taken over. Send them to your colleague.",
            count,
        )
    ]
    return _page(visit, warnings=[*(left_out if count else []), *story.warnings], done="uploaded")


@router.get(f"{urls.CONTRIBUTION}/text")
def written_text(visit: VisitByLink) -> Response:
    """Return what is written, as the script of the page asks for it."""
    contribution = _load_or_404(visit)
    page, key, written = visit.page, contribution.key, contribution.written
    return page.json(
        for_script(page.urls, key, written, HIDDEN)
        | findings_in(page, None, key, written.content)
        | {"account": 0, "form_token": "", "editable": contribution.state is LinkState.open}
    )


@router.post(f"{urls.CONTRIBUTION}/heartbeat")
def heartbeat(visit: VisitByLink) -> Response:
    """Say what is written and whether it can be changed, for other tabs. Nobody is shown to be here."""
    contribution = _load_or_404(visit)
    editable = contribution.state is LinkState.open
    nobody = {"others": [], "other_tab": False, "writer": ""}
    return visit.page.json({"base": contribution.written.base, "editable": editable} | nobody)


@router.get(f"{urls.CONTRIBUTION}/dateline")
def dateline(visit: VisitByLink, start: str = "", end: str = "", place: str = "") -> Response:
    """Return dates and a place as a line in the text's language."""
    return compose_for_script(visit.page, start, end, place, _load_or_404(visit).key.language)


def _load_or_404(visit: LinkVisit) -> Contribution:
    try:
        return visit.load()
    except LinkGone:
        raise HTTPException(404) from None


def _read(key: TextKey, fields: Mapping[str, Any], *, is_markdown: bool = False) -> TypedText:
    """Return what was typed into the fields that the page has. Raises what ``read_fields`` does."""
    shown = {name: value for name, value in fields.items() if name not in HIDDEN}
    return read_fields(key.subject, shown, key.language, is_markdown=is_markdown)


def _typed(key: TextKey, story: OneStory) -> TypedText:
    """Return a document as the fields of a text. What it does not have stays as it is."""
    if key.subject is not TextSubject.story:
        found: dict[str, Any] = {"intro": story.body}
        if story.headline:
            found["subject"] = plain_line(story.headline)
        return _read(key, found, is_markdown=True)
    found = {"body": story.body, "datelines": [{"text": line} for line in story.datelines]}
    if story.headline:
        found["headline"] = story.headline
    if story.link:
        found |= {"link": story.link.url, "link_label": plain_line(story.link.label)}
    return _read(key, found, is_markdown=True)


def _page(
    visit: LinkVisit,
    *,
    form: Mapping[str, Any] | None = None,
    base: str = "",
    error: str = "",
    warnings: list[str] | None = None,
    done: str = "",
    status: int = 200,
) -> Response:
    """Show the page. ``form``: what was typed into it without script and is not saved, with the base to save it on."""
    try:
        contribution = visit.load()
    except LinkGone:
        return _gone(visit)
    key, written = contribution.key, contribution.written
    editable = contribution.state is LinkState.open
    config = None
    if form is None and editable:
        config = script_config(
            visit.page.urls, key, written, HIDDEN, url=visit.path, account=0, editable=True, may_write=True
        )
    return visit.show(
        "desk/contribution",
        status,
        contribution=contribution,
        key=key,
        written=written,
        editable=editable,
        config=config,
        error=error,
        warnings=warnings or [],
        done=done,
        max_bytes=MAX_DOCUMENT_BYTES,
        **for_page(visit.page, None, key, written, form, base),
    )


def _gone(visit: LinkVisit) -> Response:
    return visit.show("desk/contribution_gone", 410)
