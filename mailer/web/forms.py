"""Reads forms posted by browsers and mail clients, including malformed ones."""

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.types import Message

MAX_BODY_BYTES = 64 * 1024
"""Real forms have a few hundred bytes."""


async def read_form(request: Request) -> FormData:
    """Return the form in a request, urlencoded or multipart.

    Any other body, or multipart in a charset other than UTF-8, gives an empty form. Raises HTTPException 413 for a
    body of more than MAX_BODY_BYTES.
    """
    kind, options = parse_options_header(request.headers.get("Content-Type"))
    # Browsers and mail clients post UTF-8. For other charsets Python would try any codec, even those not for text.
    if kind == b"multipart/form-data" and options.get(b"charset", b"utf-8").lower() != b"utf-8":
        return FormData()
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    try:
        return await Request(request.scope, receive).form(max_files=0)
    except HTTPException as error:
        if error.status_code == 413:
            raise
        return FormData()
