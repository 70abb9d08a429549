"""Web pages of the local inbox. For demos and development only: there is no login."""

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlencode, urlsplit
from zlib import crc32

from babel import Locale, UnknownLocaleError
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from mailer.devtools.inbox import CaughtMail, Inbox
from mailer.devtools.inbox.mime import ParsedMail, parse_mail
from mailer.web.static import WEB_TEMPLATES, StaticAssets, static_url

PAGE_SIZE = 50

_PAGE_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The sandbox also applies when the mail is opened outside its frame.
_MAIL_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src {images}; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
_FILE_CSP = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_INLINE_PICTURE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml"}
_HEAD_TAG = re.compile(r"<head(\s[^<>]*)?>|(?=<body[\s>])", re.IGNORECASE)
_URL = re.compile(r"<(https?://[^\s<>]+)>|(https?://[^\s<>]+)")
_SENTENCE_ENDS = ".,;:!?)]}\"'»”’…،؛؟。"
_CONTENT_ID = re.compile(r"""cid:([^"'\s)<>]+)""", re.IGNORECASE)


class View(BaseModel):
    """The display options in a page's query string."""

    model_config = ConfigDict(frozen=True)

    q: str = ""
    language: str = ""
    page: int = 1
    show: Literal["html", "text", "headers"] = "html"
    width: Literal["360", "640"] = "640"
    scheme: Literal["light", "dark"] = "light"

    def parameters(self, **changes: str | int) -> dict[str, str | int]:
        """Return the parameters of this view with changes, without default values."""
        fields = type(self).model_fields
        values = self.model_dump() | changes
        return {name: value for name, value in values.items() if value != fields[name].default}

    def query(self, **changes: str | int) -> str:
        """Return the parameters as a query string."""
        parameters = self.parameters(**changes)
        return f"?{urlencode(parameters)}" if parameters else ""


@dataclass(frozen=True, slots=True)
class MailList:
    """One page of the mail that matches the search, newest first."""

    mails: Sequence[CaughtMail]
    languages: Sequence[tuple[str, int]]
    """The languages of mail that matches the search, with counts, most frequent first."""
    matching: int
    """Number of mails that match the search and the language."""
    matching_in_all_languages: int
    """Number of mails that match the search in any language."""
    total: int
    page: int
    pages: int
    newer: CaughtMail | None
    """The next newer mail than the selected one."""
    older: CaughtMail | None
    """The next older mail than the selected one."""


def list_mail(mails: Sequence[CaughtMail], view: View, selected: CaughtMail | None) -> MailList:
    """Search ``mails`` (oldest first) and return a page. A selected mail determines the page."""
    words = view.q.casefold().split()
    matches = [mail for mail in reversed(mails) if all(word in _search_text(mail) for word in words)]
    in_all_languages = len(matches)
    languages = Counter(mail.language for mail in matches if mail.language)
    if view.language:
        matches = [mail for mail in matches if mail.language == view.language]
    pages = max(1, -(-len(matches) // PAGE_SIZE))
    page = min(max(view.page, 1), pages)
    newer = older = None
    if selected in matches:
        index = matches.index(selected)
        page = index // PAGE_SIZE + 1
        newer = matches[index - 1] if index else None
        older = matches[index + 1] if index + 1 < len(matches) else None
    return MailList(
        mails=matches[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
        languages=sorted(languages.items(), key=lambda item: (-item[1], item[0])),
        matching=len(matches),
        matching_in_all_languages=in_all_languages,
        total=len(mails),
        page=page,
        pages=pages,
        newer=newer,
        older=older,
    )


def inbox_router(inbox: Inbox, prefix: str = "/inbox", image_sources: Sequence[str] = ()) -> APIRouter:
    """Return the routes of the inbox, for an app that serves ``mailer.web.static`` at ``/static``.

    Pictures in mail are loaded from the host of the pages. ``image_sources`` allows more origins, such as
    ``http://127.0.0.1:8000``.
    """
    router = APIRouter(prefix=prefix, include_in_schema=False)
    pages = Environment(
        loader=FileSystemLoader(WEB_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pages.filters |= {
        "language_name": _language_name,
        "linked": _linkify,
        "moment": _format_received,
        "name_and_address": _split_sender,
        "size": _format_size,
        "tint": _colour_index,
    }
    mail_policy = _MAIL_CSP.format(images=" ".join(["'self'", "data:", *image_sources]))

    def find_mail(mail_id: str) -> CaughtMail:
        mail = inbox.find(mail_id)
        if mail is None:
            raise HTTPException(404, "This mail is not in the inbox.")
        return mail

    def page(request: Request, view: View, selected: CaughtMail | None, status: int = 200) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        html = pages.get_template("inbox/page.html").render(
            base=root + prefix,
            static=lambda name: root + static_url(name),
            view=view,
            list=list_mail(inbox.messages(), view, selected),
            selected=selected,
            mail=parse_mail(inbox.read(selected)) if selected else None,
            missing=status == 404,
            today=datetime.now().astimezone(),
        )
        return HTMLResponse(html, status, _headers(_PAGE_CSP))

    @router.get("")
    def show_list(request: Request, view: Annotated[View, Query()]) -> HTMLResponse:
        return page(request, view, None)

    @router.get("/count")
    def count() -> dict[str, int]:
        return {"count": len(inbox.messages())}

    @router.get("/{mail_id}")
    def show_mail(request: Request, mail_id: str, view: Annotated[View, Query()]) -> HTMLResponse:
        mail = inbox.find(mail_id)
        return page(request, view, mail, 200 if mail else 404)

    @router.get("/{mail_id}/html")
    def show_html(request: Request, mail_id: str) -> HTMLResponse:
        mail = parse_mail(inbox.read(find_mail(mail_id)))
        files = request.scope.get("root_path", "") + f"{prefix}/{mail_id}/files"
        return HTMLResponse(_frame_html(mail, files), headers=_headers(mail_policy))

    @router.get("/{mail_id}/source")
    def download(mail_id: str) -> Response:
        data = inbox.read(find_mail(mail_id))
        headers = _headers(_FILE_CSP) | {"Content-Disposition": f'attachment; filename="{mail_id}.eml"'}
        return Response(data, media_type="message/rfc822", headers=headers)

    @router.get("/{mail_id}/files/{number}")
    def show_file(mail_id: str, number: int) -> Response:
        files = parse_mail(inbox.read(find_mail(mail_id))).attachments
        if not 0 <= number < len(files):
            raise HTTPException(404, "This mail has no such file.")
        file = files[number]
        if file.content_type in _INLINE_PICTURE_TYPES:
            return Response(file.data, media_type=file.content_type, headers=_headers(_FILE_CSP))
        headers = _headers(_FILE_CSP) | {"Content-Disposition": "attachment"}
        return Response(file.data, media_type="application/octet-stream", headers=headers)

    return router


def create_inbox_app(inbox: Inbox, image_sources: Sequence[str] = (), host_names: Sequence[str] = ()) -> FastAPI:
    """Return an app that serves only the inbox, at ``/inbox``, to requests for its own host.

    Its own are IP addresses, ``localhost`` and the ``host_names``.
    """
    app = FastAPI(title="Inbox", openapi_url=None)
    app.add_middleware(OwnHostCheck, host_names=frozenset({"localhost", *host_names}))
    app.include_router(inbox_router(inbox, image_sources=image_sources))
    app.mount("/static", StaticAssets(), "static")

    @app.get("/")
    def home(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/inbox")

    @app.exception_handler(AnyHTTPException)
    def show_error(request: Request, error: AnyHTTPException) -> Response:
        message = "There is no such page." if error.status_code == 404 else error.detail
        return PlainTextResponse(f"{message} The mail is at {request.url_for('show_list').path}\n", error.status_code)

    @app.exception_handler(RequestValidationError)
    def drop_invalid_query(request: Request, _: RequestValidationError) -> Response:
        return RedirectResponse(request.url.path)

    return app


class OwnHostCheck:
    """Rejects requests whose Host header is neither an IP address nor one of the host's own names.

    Otherwise a web page in the developer's browser could read the mail by DNS rebinding, for which it needs a name.
    The address of the connection says nothing: behind a container's published port it is not a loopback address.
    """

    def __init__(self, app: ASGIApp, host_names: Container[str]) -> None:
        self._app = app
        self._host_names = host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not self._is_own(Headers(scope=scope).get("host", "")):
            app = PlainTextResponse("The mail is shown under this host's own names only.\n", 400)
        await app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._host_names or bool(ip_address(name))
        except ValueError:
            return False


def _headers(csp: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": csp,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def _frame_html(mail: ParsedMail, attachments_url: str) -> str:
    """Return the mail's HTML with links that open new tabs, and URLs for its attached pictures."""
    numbers = {file.content_id: number for number, file in enumerate(mail.attachments) if file.content_id}

    def attachment_url(match: re.Match[str]) -> str:
        number = numbers.get(match[1])
        return match[0] if number is None else f"{attachments_url}/{number}"

    html = _CONTENT_ID.sub(attachment_url, mail.html)
    # After <head>, so that the doctype stays first and the browser keeps its rendering mode.
    head = _HEAD_TAG.search(html)
    at = head.end() if head else 0
    return f'{html[:at]}<base target="_blank">{html[at:]}'


def _linkify(text: str) -> Markup:
    """Return text with its URLs as links.

    A URL in angle brackets is taken whole (RFC 3986 appendix C), others without final punctuation.
    """
    result, at = Markup(), 0
    for match in _URL.finditer(text):
        url = match[1] or match[2].rstrip(_SENTENCE_ENDS)
        start = match.start() + bool(match[1])
        link = Markup('<a href="{0}" target="_blank" rel="noreferrer">{0}</a>').format(url)
        result += text[at:start] + link
        at = start + len(url)
    return result + text[at:]


def _search_text(mail: CaughtMail) -> str:
    words = (mail.subject, mail.sender, *mail.recipients, mail.language, _language_name(mail.language))
    return " ".join(words).casefold()


@lru_cache(1000)
def _language_name(tag: str) -> str:
    """Return the English name of a language tag, or the tag if it has none."""
    try:
        return Locale.parse(tag, sep="-").get_display_name("en") or tag
    except (ValueError, UnknownLocaleError, TypeError):
        return tag


def _format_received(received_at: datetime, today: datetime) -> str:
    """Return the time of mail from today, or the date of older mail, in the time zone of ``today``."""
    local = received_at.astimezone(today.tzinfo)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local.day} {local:%b}"


def _format_size(size: int) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1000:.0f} kB"


def _split_sender(sender: str) -> tuple[str, str]:
    """Split a ``From`` header into name and address, which may differ in writing direction."""
    name, bracket, address = sender.rpartition("<")
    return (name.strip(' "'), address.rstrip("> ")) if bracket else ("", sender)


def _colour_index(language: str) -> int:
    """Return the number of a language's colour, 0 to 5."""
    return crc32(language.encode()) % 6
