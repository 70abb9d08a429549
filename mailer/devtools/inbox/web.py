"""Pages to leaf through the mail that the local inbox caught. For demos and development only: no login."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlencode
from zlib import crc32

from babel import Locale, UnknownLocaleError
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from mailer.devtools.inbox import CaughtMail, Inbox
from mailer.devtools.inbox.mime import ParsedMail, parse_mail
from mailer.web.static import WEB_TEMPLATES, StaticAssets, static_url

PAGE_SIZE = 50

_PAGE_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The sandbox holds when the mail is opened outside its frame, too.
_MAIL_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src {images}; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
_FILE_CSP = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_INLINE_PICTURE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml"}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HEAD_TAG = re.compile(r"<head(\s[^<>]*)?>|(?=<body[\s>])", re.IGNORECASE)
_URL = re.compile(r"<(https?://[^\s<>]+)>|(https?://[^\s<>]+)")
_SENTENCE_ENDS = ".,;:!?)]}\"'»”’…،؛؟。"
_CONTENT_ID = re.compile(r"""cid:([^"'\s)<>]+)""", re.IGNORECASE)


class View(BaseModel):
    """What the address of a page says about how to show it."""

    model_config = ConfigDict(frozen=True)

    q: str = ""
    language: str = ""
    page: int = 1
    show: Literal["html", "text", "headers"] = "html"
    width: Literal["360", "640"] = "640"
    scheme: Literal["light", "dark"] = "light"

    def parameters(self, **changes: str | int) -> dict[str, str | int]:
        """The parameters of this view with changes, without what is the default anyway."""
        fields = type(self).model_fields
        values = self.model_dump() | changes
        return {name: value for name, value in values.items() if value != fields[name].default}

    def query(self, **changes: str | int) -> str:
        """The same as a query string."""
        kept = self.parameters(**changes)
        return f"?{urlencode(kept)}" if kept else ""


@dataclass(frozen=True, slots=True)
class MailList:
    """One page of the mail that fits the search, the newest first."""

    mails: Sequence[CaughtMail]
    languages: Sequence[tuple[str, int]]
    """Each language among the mail that fits the search, with its count; the most frequent first."""
    matching: int
    """How many fit the search and the language."""
    matching_in_all_languages: int
    """How many fit the search alone."""
    total: int
    page: int
    pages: int
    newer: CaughtMail | None
    """The neighbours of the selected mail."""
    older: CaughtMail | None


def list_mail(mails: Sequence[CaughtMail], view: View, selected: CaughtMail | None) -> MailList:
    """Search and page through ``mails``, given the oldest first. A selected mail chooses the page."""
    wanted = view.q.casefold().split()
    found = [mail for mail in reversed(mails) if all(word in _search_text(mail) for word in wanted)]
    in_all_languages = len(found)
    languages = Counter(mail.language for mail in found if mail.language)
    if view.language:
        found = [mail for mail in found if mail.language == view.language]
    pages = max(1, -(-len(found) // PAGE_SIZE))
    page = min(max(view.page, 1), pages)
    newer = older = None
    if selected in found:
        place = found.index(selected)
        page = place // PAGE_SIZE + 1
        newer = found[place - 1] if place else None
        older = found[place + 1] if place + 1 < len(found) else None
    return MailList(
        mails=found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
        languages=sorted(languages.items(), key=lambda counted: (-counted[1], counted[0])),
        matching=len(found),
        matching_in_all_languages=in_all_languages,
        total=len(mails),
        page=page,
        pages=pages,
        newer=newer,
        older=older,
    )


def inbox_router(inbox: Inbox, prefix: str = "/inbox", image_sources: Sequence[str] = ()) -> APIRouter:
    """The pages of an inbox, to include in an app that serves ``mailer.web.static`` at ``/static``.

    Pictures in mail load from the host of the pages; ``image_sources`` allows more origins, such as
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

    def known(mail_id: str) -> CaughtMail:
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
        mail = parse_mail(inbox.read(known(mail_id)))
        files = request.scope.get("root_path", "") + f"{prefix}/{mail_id}/files"
        return HTMLResponse(_frame_html(mail, files), headers=_headers(mail_policy))

    @router.get("/{mail_id}/source")
    def download(mail_id: str) -> Response:
        data = inbox.read(known(mail_id))
        headers = _headers(_FILE_CSP) | {"Content-Disposition": f'attachment; filename="{mail_id}.eml"'}
        return Response(data, media_type="message/rfc822", headers=headers)

    @router.get("/{mail_id}/files/{number}")
    def show_file(mail_id: str, number: int) -> Response:
        files = parse_mail(inbox.read(known(mail_id))).attachments
        if not 0 <= number < len(files):
            raise HTTPException(404, "This mail has no such file.")
        file = files[number]
        if file.content_type in _INLINE_PICTURE_TYPES:
            return Response(file.data, media_type=file.content_type, headers=_headers(_FILE_CSP))
        headers = _headers(_FILE_CSP) | {"Content-Disposition": "attachment"}
        return Response(file.data, media_type="application/octet-stream", headers=headers)

    return router


def create_inbox_app(inbox: Inbox, image_sources: Sequence[str] = ()) -> FastAPI:
    """An app with the inbox at ``/inbox`` and nothing else."""
    app = FastAPI(title="Inbox", openapi_url=None)
    app.add_middleware(LoopbackHostCheck)
    app.include_router(inbox_router(inbox, image_sources=image_sources))
    app.mount("/static", StaticAssets(), "static")

    @app.get("/")
    def home(request: Request) -> RedirectResponse:
        return RedirectResponse(request.scope.get("root_path", "") + "/inbox")

    @app.exception_handler(AnyHTTPException)
    def refused(request: Request, error: AnyHTTPException) -> Response:
        said = "There is nothing at this address." if error.status_code == 404 else error.detail
        return PlainTextResponse(
            f"{said} The mail is at {request.url_for('show_list').path}\n", error.status_code
        )

    @app.exception_handler(RequestValidationError)
    def misread(request: Request, _: RequestValidationError) -> Response:
        return RedirectResponse(request.url.path)  # as if nothing were said about how to show it

    return app


class LoopbackHostCheck:
    """Answers at this machine's own addresses to their names alone.

    Else a web page that a developer has open could have its own name lead there (DNS rebinding), and read the
    mail. Whoever serves the inbox to others, at another address, may call it as they like.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, (at, _) = self._app, scope.get("server") or ("", None)
        if _is_loopback(at):
            app = TrustedHostMiddleware(app, [at, *_LOOPBACK_NAMES])
        await app(scope, receive, send)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
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
    """The mail's HTML with its links opening in new tabs and its enclosed pictures found."""
    numbers = {file.content_id: number for number, file in enumerate(mail.attachments) if file.content_id}

    def enclosed(found: re.Match[str]) -> str:
        number = numbers.get(found[1])
        return found[0] if number is None else f"{attachments_url}/{number}"

    html = _CONTENT_ID.sub(enclosed, mail.html)
    # After <head>, so that a doctype stays in front and the mail keeps its rendering mode.
    head = _HEAD_TAG.search(html)
    place = head.end() if head else 0
    return f'{html[:place]}<base target="_blank">{html[place:]}'


def _linkify(text: str) -> Markup:
    """Text with its web addresses as links: those in angle brackets whole (RFC 3986, appendix C), others without
    the marks that end a sentence."""
    made, at = Markup(), 0
    for found in _URL.finditer(text):
        url = found[1] or found[2].rstrip(_SENTENCE_ENDS)
        start = found.start() + bool(found[1])
        link = Markup('<a href="{0}" target="_blank" rel="noreferrer">{0}</a>').format(url)
        made += text[at:start] + link
        at = start + len(url)
    return made + text[at:]


def _search_text(mail: CaughtMail) -> str:
    words = (mail.subject, mail.sender, *mail.recipients, mail.language, _language_name(mail.language))
    return " ".join(words).casefold()


@lru_cache(1000)
def _language_name(tag: str) -> str:
    """The English name of a language tag, or the tag where there is no name."""
    try:
        return Locale.parse(tag, sep="-").get_display_name("en") or tag
    except (ValueError, UnknownLocaleError, TypeError):
        return tag


def _format_received(received_at: datetime, today: datetime) -> str:
    """The time of today's mail and the date of older mail, in the time zone of ``today``."""
    here = received_at.astimezone(today.tzinfo)
    return f"{here:%H:%M}" if here.date() == today.date() else f"{here.day} {here:%b}"


def _format_size(size: int) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1000:.0f} kB"


def _split_sender(sender: str) -> tuple[str, str]:
    """A ``From`` header in its two halves, each of which has a writing direction of its own."""
    name, bracket, address = sender.rpartition("<")
    return (name.strip(' "'), address.rstrip("> ")) if bracket else ("", sender)


def _colour_index(language: str) -> int:
    """One of six colours, the same for a language on every page."""
    return crc32(language.encode()) % 6
