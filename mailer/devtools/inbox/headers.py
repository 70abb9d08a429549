"""Mail headers as text, from bytes that may break every rule."""

import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message

_FOLDING_WHITESPACE = re.compile(r"[\r\n\t ]+")
_UNPRINTABLE_CATEGORIES = ("Cc", "Cs")
"""Control characters and lone surrogates."""


def header(message: Message, name: str) -> str:
    """The first header of that name, decoded; empty when there is none."""
    wanted = name.lower()
    return next((decoded(raw) for field, raw in message.raw_items() if field.lower() == wanted), "")


def headers(message: Message) -> list[tuple[str, str]]:
    """Every header in order, decoded."""
    return [(name, decoded(raw)) for name, raw in message.raw_items()]


def decoded(raw: str) -> str:
    """A raw header value, unfolded, with its encoded words (RFC 2047) read and control characters gone."""
    # The parser keeps bytes outside ASCII as surrogates. With SMTPUTF8 they are UTF-8 (RFC 6532).
    text = _FOLDING_WHITESPACE.sub(" ", raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    try:
        pieces = decode_header(text)
    except HeaderParseError:
        pieces = [(text, None)]
    whole = "".join(piece if isinstance(piece, str) else _text(piece, charset) for piece, charset in pieces)
    return "".join(
        sign for sign in whole if unicodedata.category(sign) not in _UNPRINTABLE_CATEGORIES
    ).strip()


def _text(piece: bytes, charset: str | None) -> str:
    if charset is None:
        # decode_header hands back what stood between encoded words in this odd codec.
        return piece.decode("raw-unicode-escape", "replace")
    try:
        return piece.decode(charset, "replace")
    except (LookupError, ValueError):
        return piece.decode("utf-8", "replace")
