"""Forms as browsers and mail clients post them, however broken."""

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.types import Message

MAX_BODY_BYTES = 64 * 1024
"""Bytes; what readers post is a few hundred."""


async def read_form(request: Request) -> FormData:
    """The form in a request, urlencoded or multipart; empty when the body is neither, or multipart in
    another charset than UTF-8. Raises HTTPException 413 for more than MAX_BODY."""
    kind, options = parse_options_header(request.headers.get("Content-Type"))
    # Pages and mail programs post UTF-8. Python would try any of its codecs, those that decode to no text, too.
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
