"""The web application: routes, error pages and security headers."""

import logging
import re

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailer.adapters.passwords import PasswordsBusy
from mailer.bootstrap import TEMPLATE_ROOT, Container
from mailer.domain import urls
from mailer.domain.errors import QueryTimeout
from mailer.domain.languages import choose_language
from mailer.language_data import languages
from mailer.services.maintenance.health import DatabaseDown, database_answers
from mailer.web import theme
from mailer.web.accounts import account, people, sign_in
from mailer.web.control import deliveries, find_subscriber, flow, suppressions, tonight, workers
from mailer.web.control.snapshots import Snapshots
from mailer.web.dependencies import App
from mailer.web.desk import (
    address_book,
    calendar,
    check,
    components,
    contacts,
    contribution,
    documents,
    home,
    new_issue,
    newsletter,
    newsletter_colours,
    newsletter_sections,
    newsletter_texts,
    pictures,
    plan,
    preview,
    report,
    requests,
    seed_list,
    sending,
    stories,
    subscriber_imports,
    subscribers,
    versions,
    writing,
)
from mailer.web.live import LiveStreams
from mailer.web.logs import configure_logs, redact_tokens
from mailer.web.negotiation import accepted_languages
from mailer.web.pages import CSP, Pages
from mailer.web.public import archive, feeds, mail_links, manage, sign_up, sitemap
from mailer.web.public.archive_pages import ArchivePages
from mailer.web.staff import PageMoved, SignInNeeded, StaffPages, page_moved, sign_in_needed, staff_error
from mailer.web.staff_forms import is_staff_path
from mailer.web.static import StaticAssets

_log = logging.getLogger(__name__)
_ACCOUNT_PAGES = (sign_in, account, people)
_DESK_PAGES = (
    contribution,
    home,
    calendar,
    plan,
    contacts,
    pictures,  # before the page of a story's text, whose path is similar
    preview,
    check,
    sending,
    report,
    requests,
    documents,
    new_issue,
    stories,
    subscriber_imports,  # before the page of a reader, whose path is similar
    subscribers,
    newsletter,
    newsletter_sections,
    newsletter_colours,
    newsletter_texts,
    seed_list,
    address_book,
    versions,
    writing,  # after the pages of a story's picture and its moves, whose paths are similar
)
_CONTROL_ROOM_PAGES = (tonight, flow, workers, deliveries, suppressions, find_subscriber)


def create_app(container: Container) -> FastAPI:
    configure_logs()
    _ = container.database  # created before several threads need it
    app = FastAPI(title="Mailer", openapi_url=None, redirect_slashes=False)  # RFC 8058: no redirects
    app.state.container = container
    app.state.pages, app.state.archive_pages = (
        kind(TEMPLATE_ROOT, container.catalogues, container.urls, container.clock) for kind in (Pages, ArchivePages)
    )
    app.add_middleware(SecurityHeadersMiddleware)
    app.state.staff_pages = StaffPages(
        TEMPLATE_ROOT, container.staff_catalogues, container.urls, container.clock, container.settings.openid_label
    )
    app.mount(urls.STATIC_FILES, StaticAssets(), "static")
    # Feeds and sitemaps come first: the routes of the archive would read .atom and .xml as a language or an issue.
    modules = [feeds, sitemap, archive, mail_links, manage, sign_up, theme]
    if container.settings.web_staff:
        app.state.snapshots = Snapshots(container)
        app.state.live_streams = LiveStreams()
        modules += [*_ACCOUNT_PAGES, *_DESK_PAGES, *_CONTROL_ROOM_PAGES]
        if container.settings.web_components:
            modules.append(components)
        app.add_exception_handler(SignInNeeded, sign_in_needed)
        app.add_exception_handler(PageMoved, page_moved)
        app.add_exception_handler(PasswordsBusy, passwords_busy)
    for module in modules:
        # Not include_router: it would analyse every route again for this app, at the first request.
        app.router.routes += module.router.routes
    app.add_api_route(urls.HEALTH, health, methods=["GET", "HEAD"])
    for error, handler in (
        (HTTPException, http_error),
        (RequestValidationError, unreadable_address),
        (ClientDisconnect, client_gone),
        (DatabaseDown, database_down),
        (QueryTimeout, query_timeout),
        (Exception, failure),
    ):
        app.add_exception_handler(error, handler)
    return app


def health(app: App) -> JSONResponse:
    up = database_answers(app.database)
    return JSONResponse({"status": "ok" if up else "no database"}, 200 if up else 503, _NO_STORE)


def http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error_page(request, error.status_code)
    response.headers.update(error.headers or {})
    return response


def unreadable_address(request: Request, _: Exception) -> Response:
    return _error_page(request, 404)  # only URLs are validated by FastAPI; forms are read by the handlers


def client_gone(_request: Request, _: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it, and no error of ours is logged


def database_down(request: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return _unavailable_page(request)


def query_timeout(request: Request, _: Exception) -> Response:
    _log.warning("A query for a public page took too long: %s", redact_tokens(request.scope["path"]))
    return _unavailable_page(request)


def passwords_busy(request: Request, _: Exception) -> Response:
    return _unavailable_page(request)


def _unavailable_page(request: Request) -> Response:
    response = _error_page(request, 503)
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def failure(request: Request, _: Exception) -> Response:
    return _error_page(request, 500)


def _error_page(request: Request, status: int) -> Response:
    if is_staff_path(request.scope["path"]) and request.app.state.container.settings.web_staff:
        return staff_error(request, status)
    pages: Pages = request.app.state.pages
    choice = choose_language(accepted_languages(request), list(languages()), {}, "en")
    is_public = not _TOKEN_PATH.match(request.scope["path"])
    values = {"status": status, "open": is_public, "languages": tuple(languages())}
    return pages.render("error", choice.language if choice else "en", values, status)


_TOKEN_PATH = re.compile(urls.TOKEN_PATH_REGEX)
_RETRY_AFTER_SECONDS = 30
_NO_STORE = {"Cache-Control": "no-store"}
_SECURITY_HEADERS = {
    "Content-Security-Policy": CSP,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeadersMiddleware:
    """Adds the strictest security headers to responses that do not set their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)
