"""Reads forms posted by browsers and mail clients, including malformed ones."""

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, MAX_TEXT_CHARS
from mailer.services.subscribers.unsubscribe import MAX_COMMENT_LENGTH

MAX_BODY_BYTES = 64 * 1024
"""Real forms have a few hundred bytes."""
MAX_CONTENT_TYPE_CHARS = 256
"""A form's type with its boundary, which has 70 characters at most (RFC 2046, section 5.1.1)."""
MAX_VALUES = 120
"""Values in one form; a newsletter has at most 62 sections."""
_SHORT = 40
MAX_CHARS = {
    **dict.fromkeys(("action", "embedded", "frequency", "new", "section", "some", "speak", "sure", "text"), _SHORT),
    **dict.fromkeys(("answer", "language", "reason", "ticket", "tracking", "url", "weeks", "zone"), _SHORT),
    "address": MAX_ADDRESS_OCTETS + 1,
    "name": MAX_TEXT_CHARS,
    "comment": 2 * MAX_COMMENT_LENGTH,  # browsers send a line break as two characters
}
"""Each field of any form, and its maximum length. Only free text can be valid with so many characters."""


async def read_form(request: Request) -> FormData:
    """Return the form in a request, urlencoded or multipart. Its values are cut to MAX_CHARS.

    Fields that no form has are left out. Any other body, multipart in a charset other than UTF-8, and more than
    MAX_VALUES values give an empty form. Raises HTTPException 413 for a body of more than MAX_BODY_BYTES.
    """
    content_type = request.headers.get("Content-Type", "")
    if len(content_type) > MAX_CONTENT_TYPE_CHARS:
        return FormData()
    kind, options = parse_options_header(content_type)
    # Browsers and mail clients post UTF-8. For other charsets Python would try any codec, even those not for text.
    if kind == b"multipart/form-data" and options.get(b"charset", b"utf-8").lower() != b"utf-8":
        return FormData()
    try:
        form = await Request(request.scope, receive_within(request, MAX_BODY_BYTES)).form(
            max_files=0, max_fields=MAX_VALUES
        )
    except HTTPException as error:
        if error.status_code == 413:
            raise
        return FormData()
    return FormData([(name, str(value)[: MAX_CHARS[name]]) for name, value in form.multi_items() if name in MAX_CHARS])


def whole_number(text: str, max_digits: int = 9) -> int | None:
    """Return a number as forms and paths have it, in ASCII digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= max_digits else None


def receive_within(request: Request, max_bytes: int) -> Receive:
    """Return the request's body as it comes. Raises HTTPException 413 once it is larger than this."""
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise HTTPException(413)
        return message

    return receive
