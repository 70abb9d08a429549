"""Read SMTP replies from a stream of bytes (RFC 5321 4.2, RFC 2034)."""

import re

from mailer.domain.outcomes import Reply

LIMIT = 65536
"""Bytes of one reply, all its lines together; RFC 5321 asks for no more than 512 a line."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)", re.ASCII)


class Garbled(Exception):
    """the server sent something that is no SMTP reply"""


class ReplyReader:
    """Cuts what arrives into replies, however it was split into packets."""

    __slots__ = ("_lines", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The replies that are complete with ``data``: the code, and the text of each line without
        code and line end. A reply's code is that of its last line. Raises Garbled."""
        replies: list[tuple[int, list[bytes]]] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            digits, separator = line[:3], line[3:4]
            if not (digits.isdigit() and len(digits) == 3 and separator in (b" ", b"-", b"\r", b"")):
                raise Garbled(repr(line[:80]))
            self._lines.append(line[4:].rstrip(b"\r"))
            if separator == b"-":
                self._size += len(line)
                if self._size > LIMIT:
                    raise Garbled("a reply without end")
                continue
            replies.append((int(digits), self._lines))
            self._lines = []
            self._size = 0
        if len(self._rest) > LIMIT:
            raise Garbled("a line without end")
        return replies


def build(code: int, lines: list[bytes]) -> Reply:
    """The reply as the domain knows it: one printable line, the enhanced code taken off each line.

    Bytes that are not UTF-8 and control characters (PostgreSQL stores no NUL) become U+FFFD.
    """
    enhanced = ""
    texts = []
    for line in lines:
        text = line.decode("utf-8", "replace").strip()
        if match := _ENHANCED.match(text):
            enhanced = enhanced or match[1]
            text = text[match.end() :]
        if text:
            texts.append(text)
    text = " ".join(texts)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return Reply(code, enhanced, text)
