"""Reads the forms of pages for staff, within bounds.

A form is accepted from our own pages only: by the browser's word (Fetch Metadata, or Origin) and by a token of the
session.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData

from mailer.adapters.urls import Urls
from mailer.web.forms import receive_within

COOKIE = "__Host-session"
FORM_TOKEN = "form_token"  # noqa: S105
MAX_FORM_BYTES = 256 * 1024
MAX_SIGN_IN_FORM_BYTES = 2 * MAX_FORM_BYTES + 16 * 1024
"""A kept form is sent as JSON, in which characters are escaped."""
MAX_FORM_VALUES = 400
MAX_VALUE_CHARS = 20_000
MAX_PATH_CHARS = 2000
_STAFF_PREFIXES = ("/desk", "/control", "/account", "/sign-in", "/sign-out")


def is_staff_path(path: str) -> bool:
    return path.startswith(_STAFF_PREFIXES)


def session_token(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def check_origin(request: Request, urls: Urls) -> None:
    """Raise HTTPException 403 if another site's page makes this request and it could change something."""
    if request.method in ("GET", "HEAD"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    same = site == "same-origin" if site else request.headers.get("Origin") == urls.origin
    if not same:
        raise HTTPException(403)


def form_token(token: str) -> str:
    """Return the token of the session's forms."""
    return sha256(b"form " + token.encode()).hexdigest()[:40]


async def read_staff_form(request: Request) -> FormData:
    """Return an urlencoded or multipart form without files. Raises HTTPException 413 if it is too large."""
    return await _read_form(request, MAX_FORM_BYTES, MAX_VALUE_CHARS)


async def read_sign_in_form(request: Request) -> FormData:
    """Return a form like ``read_staff_form``, which may hold another one that was filled in (see Kept)."""
    return await _read_form(request, MAX_SIGN_IN_FORM_BYTES, MAX_SIGN_IN_FORM_BYTES)


async def _read_form(request: Request, max_bytes: int, max_value_chars: int) -> FormData:
    kind, options = parse_options_header(request.headers.get("Content-Type", "")[:256])
    if kind == b"multipart/form-data" and options.get(b"charset", b"utf-8").lower() != b"utf-8":
        return FormData()
    limited = Request(request.scope, receive_within(request, max_bytes))
    try:
        form = await limited.form(max_files=0, max_fields=MAX_FORM_VALUES)
    except HTTPException as error:
        if error.status_code == 413:
            raise
        return FormData()
    # PostgreSQL keeps no NUL in a text, and no keyboard writes one.
    return FormData([(name, str(value)[:max_value_chars].replace("\0", "")) for name, value in form.multi_items()])


async def read_whole_form(request: Request) -> FormData:
    """Return a form like ``read_staff_form`` of which nothing is cut."""
    return await _read_form(request, MAX_FORM_BYTES, MAX_FORM_BYTES)


async def _checked_form(request: Request) -> FormData:
    form = await read_staff_form(request)
    check_form_token(request, form)
    return form


async def read_body(request: Request) -> FormData | dict[str, Any]:
    """Return a JSON object or a form. Raises HTTPException 413 if it is too large, and 400 for other JSON."""
    if not is_json(request):
        return await read_whole_form(request)  # a text that is too long is refused, and shown again whole
    body = await Request(request.scope, receive_within(request, MAX_FORM_BYTES)).body()
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(values, dict):
        raise HTTPException(400)
    return values


async def _checked_body(request: Request) -> FormData | dict[str, Any]:
    """Return a JSON object or a form of this session. Raises what ``read_body`` does, and HTTPException 403."""
    body = await read_body(request)
    check_form_token(request, body)
    return body


def is_json(request: Request) -> bool:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"


def check_form_token(request: Request, form: Mapping[str, object]) -> None:
    """Raise HTTPException 403 if a form does not come from a page of this session."""
    if not hmac.compare_digest(str(form.get(FORM_TOKEN, "")).encode(), form_token(session_token(request)).encode()):
        raise HTTPException(403)


StaffForm = Annotated[FormData, Depends(_checked_form)]
"""A form of the session. A handler takes it after what it ``Requires``."""
StaffBody = Annotated[FormData | dict[str, Any], Depends(_checked_body)]
"""A form or a JSON object of the session. A handler takes it after what it ``Requires``."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What somebody had filled in when their session ended: it is sent on once they have signed in again."""

    action: str
    """The path and query of the form."""
    fields: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, form: FormData) -> "Kept | None":
        """Return what a sign-in form carries along, or None. Only paths of our own pages are accepted."""
        try:
            action, fields = json.loads(str(form.get("kept", "")))
            kept = cls(str(action), tuple((str(name), str(value)) for name, value in fields))
        except (ValueError, TypeError, RecursionError):
            return None
        return kept if is_local_path(kept.action) else None

    @property
    def text(self) -> str:
        """The form as one value of another form, which may have few values."""
        return json.dumps([self.action, self.fields], ensure_ascii=False)


def is_local_path(path: str) -> bool:
    """Return whether this is the path of a page for staff on this site, not the URL of another one.

    A path that begins with one slash and a letter is of this site to every browser. Browsers remove tabs and line
    breaks and read backslashes as slashes (URL Standard, section 4.4), so none is accepted.
    """
    return len(path) <= MAX_PATH_CHARS and is_staff_path(path) and path.isprintable() and "\\" not in path
