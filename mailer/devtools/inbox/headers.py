"""Decodes mail headers, including malformed ones."""

import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message

_FOLDING_WHITESPACE = re.compile(r"[\r\n\t ]+")
_UNPRINTABLE_CATEGORIES = ("Cc", "Cs")
"""Control characters and lone surrogates."""


def header(message: Message, name: str) -> str:
    """Return the first header of a name, decoded, or an empty string."""
    name = name.lower()
    return next((decoded(raw) for field, raw in message.raw_items() if field.lower() == name), "")


def headers(message: Message) -> list[tuple[str, str]]:
    """Return all headers in order, decoded."""
    return [(name, decoded(raw)) for name, raw in message.raw_items()]


def decoded(raw: str) -> str:
    """Return a header value unfolded, decoded (RFC 2047) and without control characters."""
    # The parser represents non-ASCII bytes as surrogates. With SMTPUTF8 they are UTF-8 (RFC 6532).
    text = _FOLDING_WHITESPACE.sub(" ", raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    try:
        pieces = decode_header(text)
    except HeaderParseError:
        pieces = [(text, None)]
    value = "".join(piece if isinstance(piece, str) else _text(piece, charset) for piece, charset in pieces)
    return "".join(char for char in value if unicodedata.category(char) not in _UNPRINTABLE_CATEGORIES).strip()


def _text(piece: bytes, charset: str | None) -> str:
    if charset is None:
        # decode_header returns the text between encoded words in this codec.
        return piece.decode("raw-unicode-escape", "replace")
    try:
        return piece.decode(charset, "replace")
    except (LookupError, ValueError):
        return piece.decode("utf-8", "replace")
