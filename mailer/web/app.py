"""The web application: every page and address that the service answers."""

import logging
import re
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailer.bootstrap import TEMPLATE_ROOT, Container
from mailer.domain.languages import choose_language
from mailer.language_data import languages
from mailer.services.maintenance.health import DatabaseDown, database_answers
from mailer.web.logs import install_token_redaction
from mailer.web.negotiation import accepted_languages
from mailer.web.pages import CSP, Pages
from mailer.web.public.archive import archive_router
from mailer.web.public.mail_links import mail_links_router
from mailer.web.public.manage import manage_router
from mailer.web.public.sign_up import sign_up_router
from mailer.web.static import StaticAssets
from mailer.web.theme import theme_router

_log = logging.getLogger(__name__)


def create_app(container: Container) -> FastAPI:
    install_token_redaction()
    pages = Pages(TEMPLATE_ROOT, urlsplit(container.settings.public_url).path)
    database = container.database  # made here, before threads ask for it
    app = FastAPI(title="Mailer", openapi_url=None, redirect_slashes=False)  # RFC 8058: no redirects
    app.add_middleware(SecurityHeadersMiddleware)
    app.mount("/static", StaticAssets(), "static")
    app.include_router(archive_router(container, pages))
    app.include_router(mail_links_router(container, pages))
    app.include_router(manage_router(container, pages))
    app.include_router(sign_up_router(container, pages))
    app.include_router(theme_router())

    @app.api_route("/health", methods=["GET", "HEAD"])
    def health() -> JSONResponse:
        well = database_answers(database)
        return JSONResponse({"status": "ok" if well else "no database"}, 200 if well else 503, _NO_STORE)

    def problem(request: Request, status: int) -> Response:
        found = choose_language(accepted_languages(request), list(languages()), {}, "en")
        open_to_all = not _TOKEN_PATH.match(request.scope["path"])
        values = {"status": status, "open": open_to_all, "languages": tuple(languages())}
        return pages.render("error", found.language if found else "en", values, status)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        response = problem(request, error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    def misunderstood(request: Request, _: RequestValidationError) -> Response:
        return problem(request, 404)  # only addresses are read so: what readers post is a form

    @app.exception_handler(DatabaseDown)
    def down(request: Request, error: DatabaseDown) -> Response:
        _log.error("%s", error)
        return problem(request, 503)

    @app.exception_handler(Exception)
    def failed(request: Request, _: Exception) -> Response:
        return problem(request, 500)

    return app


_TOKEN_PATH = re.compile(r"/[a-z]/")
"""The beginning of an address that came in a mail."""
_NO_STORE = {"Cache-Control": "no-store"}
_SECURITY_HEADERS = {
    "Content-Security-Policy": CSP,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeadersMiddleware:
    """Gives every answer that says nothing of its own the strictest headers."""

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
