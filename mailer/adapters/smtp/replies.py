"""Read SMTP replies from a stream of bytes (RFC 5321 4.2, RFC 2034)."""

import re

from mailer.domain.outcomes import Reply

MAX_REPLY_BYTES = 65536
"""Bytes of one reply, all its lines together; RFC 5321 asks for no more than 512 a line."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)", re.ASCII)


class ProtocolError(Exception):
    """the server sent something that is no SMTP reply"""


class ReplyReader:
    """Cuts what arrives into replies, however it was split into packets."""

    __slots__ = ("_buffer", "_lines", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """The replies that are complete with ``data``: the code, and the text of each line without
        code and line end. A reply's code is that of its last line. Raises Garbled."""
        replies: list[tuple[int, list[bytes]]] = []
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            digits, separator = line[:3], line[3:4]
            if not (digits.isdigit() and len(digits) == 3 and separator in (b" ", b"-", b"\r", b"")):
                raise ProtocolError(repr(line[:80]))
            self._lines.append(line[4:].rstrip(b"\r"))
            if separator == b"-":
                self._size += len(line)
                if self._size > MAX_REPLY_BYTES:
                    raise ProtocolError("a reply without end")
                continue
            replies.append((int(digits), self._lines))
            self._lines = []
            self._size = 0
        if len(self._buffer) > MAX_REPLY_BYTES:
            raise ProtocolError("a line without end")
        return replies


def build_reply(code: int, lines: list[bytes]) -> Reply:
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
