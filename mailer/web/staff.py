"""What all pages for staff share: who is signed in, what a route needs, and rendering.

Every route below /desk, /control and /account declares what it needs with ``Requires`` or ``Anyone``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from mailer.adapters import cldr, markdown
from mailer.adapters.i18n import Catalogues
from mailer.adapters.urls import Urls
from mailer.bootstrap import Container
from mailer.domain.accounts import shorten_network
from mailer.domain.errors import IssueNotFound
from mailer.domain.languages import choose_language
from mailer.domain.permissions import Permission
from mailer.domain.ports import Clock
from mailer.domain.staff_texts import StaffText, Translations
from mailer.domain.text_tree import plain_line
from mailer.services.accounts.sign_in import Visitor
from mailer.services.accounts.staff import Staff
from mailer.services.issues import report
from mailer.services.newsletters.catalogue import NewsletterSummary, find_newsletter
from mailer.web.dependencies import App, Now
from mailer.web.forms import whole_number
from mailer.web.negotiation import accepted_languages
from mailer.web.pages import PRIVATE_HEADERS, make_environment
from mailer.web.staff_forms import (
    FORM_TOKEN,
    Kept,
    check_origin,
    form_token,
    is_json,
    is_local_path,
    read_whole_form,
    session_token,
)
from mailer.web.static import static_url

STAFF_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types own-page ProseMirrorClipboard"
)
STAFF_LANGUAGES = ("en", "fr", "sr-Latn")
REFRESH = "X-Refresh"
"""The header of a page that refreshes itself, sent by live.js."""
_NO_STORE = {"Cache-Control": "no-store"}


class SignInNeeded(Exception):
    """Nobody is signed in, or the session has ended. The page answers with a form to sign in."""


class PageMoved(Exception):
    """What the page shows is on the page at another path now. The answer leads there."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def _visitor(request: Request, app: App) -> Visitor:
    host = request.client.host if request.client else ""
    return Visitor(app.tokens.network_hash(host), shorten_network(host), request.headers.get("User-Agent", "")[:300])


VisitorOf = Annotated[Visitor, Depends(_visitor)]


class Requires:
    """A dependency that returns who is signed in, if they have a permission, else answers for the route.

    The permission is asked for the newsletter or the issue in the route's path, else anywhere at all: handlers show
    only what ``Staff.newsletters`` allows. An issue that somebody may not see is "not found".
    """

    def __init__(self, permission: Permission | None) -> None:
        self.permission = permission

    def __call__(self, request: Request, app: App, now: Now, visitor: VisitorOf) -> Staff:
        check_origin(request, app.urls)
        by_hand = REFRESH not in request.headers and "text/event-stream" not in request.headers.get("Accept", "")
        staff = app.sign_in.load(session_token(request), visitor.network, now, in_use=by_hand)
        if staff is None or staff.needs_code:
            raise SignInNeeded
        if self.permission is None:
            return staff
        newsletter = _newsletter_of(request, app)
        if newsletter is None:
            if not staff.may_anywhere(self.permission):
                raise HTTPException(403)
        elif not staff.may(self.permission, newsletter):
            raise HTTPException(403 if staff.may(Permission.read_issues, newsletter) else 404)
        return staff


def _newsletter_of(request: Request, app: Container) -> int | None:
    if (issue := request.path_params.get("issue")) is not None:
        if (number := whole_number(issue)) is None:
            raise HTTPException(404)
        try:
            return report.newsletter_of(app.database, number)
        except IssueNotFound:
            raise HTTPException(404) from None
    if (slug := request.path_params.get("newsletter")) is not None:
        found = find_newsletter(app.database, slug)
        if found is None:
            raise HTTPException(404)
        return found.id
    return None


class Anyone:
    """A dependency for the few routes that need no account: signing in and choosing a password."""

    def __call__(self, request: Request, app: App) -> None:
        check_origin(request, app.urls)


SignedIn = Annotated[Staff, Depends(Requires(None))]


def _newsletter(app: App, newsletter: str) -> NewsletterSummary:
    found = find_newsletter(app.database, newsletter)
    if found is None:
        raise HTTPException(404)
    return found


NewsletterOf = Annotated[NewsletterSummary, Depends(_newsletter)]
"""The newsletter in the route's path. A handler takes it after what it ``Requires``."""


class StaffPages:
    """Renders the templates for staff with their own catalogues. Thread-safe."""

    def __init__(
        self, templates: Path, catalogues: Catalogues, urls: Urls, clock: Clock, openid_name: str = ""
    ) -> None:
        """``openid_name``: the provider of OpenID Connect where staff can sign in, empty for none."""
        self.urls = urls
        self._openid_name = openid_name
        self._catalogues = catalogues
        self._environment = make_environment(templates)
        self._environment.filters |= {
            "moment": cldr.format_moment,
            "local_moment": cldr.format_local_moment,
            "number": cldr.format_number,
            "month": cldr.format_month,
            "weekday": cldr.format_weekday,
            "duration": cldr.format_duration,
            "language_name": cldr.language_name,
            "translated": _translated,
            "line": _line,
            "plain_line": plain_line,
            "rich": _rich,
        }
        self._environment.globals["Permission"] = Permission
        self._environment.globals["urlquote"] = lambda text: quote(str(text), safe="")
        self._clock = clock

    def render(
        self,
        name: str,
        request: Request,
        staff: Staff | None,
        values: Mapping[str, object] | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """Render ``<name>.html`` in the language of whom it is for."""
        language = self.language(request, staff)
        frame: dict[str, object] = {
            "language": language,
            "staff": staff,
            "path": request.scope["path"],
            "form_token": form_token(session_token(request)) if staff else "",
            "url": self.urls.path,
            "static": lambda file: self.urls.path(static_url(file)),
            "picture_url": lambda picture: self.urls.relative(
                self.urls.picture_url(picture.sha256, picture.media_type)
            ),
            "now": self._clock.now(),
            "catalogue": self._catalogues.translations(language),
            "staff_languages": STAFF_LANGUAGES,
            "openid_name": self._openid_name,
        }
        html = self._environment.get_template(f"{name}.html").render(frame | dict(values or {}))
        headers = PRIVATE_HEADERS | {
            "Content-Security-Policy": STAFF_CSP,
            "Content-Language": language,
            "Vary": "Cookie",
            "Referrer-Policy": "same-origin",
        }
        return HTMLResponse(html, status, headers)

    def gettext(self, request: Request, staff: Staff | None, message: str, **values: object) -> str:
        text = str(self._catalogues.translations(self.language(request, staff)).gettext(message))
        return text % values if values else text

    def translate(self, request: Request, staff: Staff | None, text: str) -> str:
        """Return a text of the domain in the language of whom it is for; other texts as they are."""
        language = self.language(request, staff)
        return _in_language(text, self._catalogues.translations(language), language)

    def language(self, request: Request, staff: Staff | None) -> str:
        """Return the account's language, before signing in the browser's, else English."""
        if staff:
            return staff.language if staff.language in STAFF_LANGUAGES else "en"
        choice = choose_language(accepted_languages(request), list(STAFF_LANGUAGES), {}, "en")
        return choice.language if choice else "en"


def message_of(error: Exception) -> str:
    """Return the message of an error, which a page translates if it is a text for staff."""
    return error.args[0] if error.args and isinstance(error.args[0], str) else str(error)


def _line(source: str) -> Markup:
    """Return one line of Markdown as HTML."""
    return _shown(markdown.inline_html, source)


def _rich(source: str) -> Markup:
    """Return Markdown as HTML."""
    return _shown(markdown.to_html, source)


def _shown(render: Callable[[str], str], source: str) -> Markup:
    """Return Markdown as HTML, or as it is written if no email could show it."""
    try:
        return Markup(render(source))  # noqa: S704 - cleaned there
    except ValueError:
        return escape(source)


@pass_context
def _translated(context: Context, text: str) -> str:
    """Return a text of the domain in the page's language; other texts as they are."""
    return _in_language(text, context["catalogue"], context["language"])


def _in_language(text: str, catalogue: Translations, language: str) -> str:
    if not isinstance(text, StaffText):
        return text
    return text.translated(catalogue, partial(cldr.format_value, language=language))


async def _staff_pages(request: Request) -> StaffPages:
    pages: StaffPages = request.app.state.staff_pages
    return pages


PagesOf = Annotated[StaffPages, Depends(_staff_pages)]


@dataclass(frozen=True, slots=True)
class Page:
    """Renders the answer to a request."""

    request: Request
    pages: StaffPages
    urls: Urls

    def __call__(self, name: str, staff: Staff | None, /, status: int = 200, **values: object) -> HTMLResponse:
        return self.pages.render(name, self.request, staff, values, status)

    @property
    def is_refresh(self) -> bool:
        """Whether the page refreshes itself."""
        return REFRESH in self.request.headers

    def translate(self, staff: Staff | None, text: str) -> str:
        """Return a text of the domain in the language of whom it is for; other texts as they are."""
        return self.pages.translate(self.request, staff, text)

    def json(self, values: Mapping[str, object], status: int = 200) -> JSONResponse:
        """Return what the script of a page asked for."""
        return JSONResponse(dict(values), status, _NO_STORE)

    def redirect(self, path: str, done: str = "") -> RedirectResponse:
        """Go to a page after a form. ``done`` names a message there."""
        query = f"{'&' if '?' in path else '?'}done={done}" if done else ""
        return RedirectResponse(path + query, 303, _NO_STORE)


def _page(request: Request, pages: PagesOf) -> Page:
    return Page(request, pages, pages.urls)


PageOf = Annotated[Page, Depends(_page)]


async def sign_in_needed(request: Request, _: Exception) -> Response:
    """Answer with a form to sign in. What was filled in is kept in it, and sent on after signing in."""
    pages: StaffPages = request.app.state.staff_pages
    path = request.scope["path"] + (f"?{request.url.query}" if request.url.query else "")
    if request.method in ("GET", "HEAD"):
        query = f"?next={quote(path, safe='/')}" if path != "/desk" else ""
        return RedirectResponse(pages.urls.path("/sign-in") + query, 303, _NO_STORE)
    if is_json(request):
        return JSONResponse({"reason": "signed_out"}, 401, _NO_STORE)
    form = await read_whole_form(request)
    kept = Kept(path, tuple((name, str(value)) for name, value in form.multi_items() if name != FORM_TOKEN))
    # Files cannot be kept, and a bare button need not be: then the page with the form is shown again.
    values = {"kept": kept, "next": "" if kept.fields else _page_of_form(request), "error": "", "address": ""}
    return pages.render("accounts/sign_in", request, None, values, 401)


async def page_moved(_: Request, error: Exception) -> Response:
    """Answer with the path where the page is now."""
    assert isinstance(error, PageMoved)
    return RedirectResponse(error.path, 303, _NO_STORE)


def _page_of_form(request: Request) -> str:
    """Return the path of our page from which a form was sent, or an empty string."""
    urls: Urls = request.app.state.staff_pages.urls
    sent_from = request.headers.get("Referer", "")
    path = urls.relative(sent_from).removeprefix(urls.path(""))
    return path if is_local_path(path) else ""


def staff_error(request: Request, status: int) -> Response:
    """Return the error page of a page for staff."""
    pages: StaffPages = request.app.state.staff_pages
    app: Container = request.app.state.container
    load: Callable[[str, str, datetime], Staff | None] = app.sign_in.load
    try:
        staff = load(session_token(request), "", app.clock.now())
    except Exception:  # the error may be that the database does not answer
        staff = None
    return pages.render("staff/error", request, staff, {"status": status}, status)
