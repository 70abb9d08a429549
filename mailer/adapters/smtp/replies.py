"""A parser for SMTP replies (RFC 5321 4.2, RFC 2034)."""

import re

from mailer.domain.outcomes import Reply

MAX_REPLY_BYTES = 65536
"""The most bytes of one reply, over all its lines; RFC 5321 4.5.3.1.5 limits a line to 512."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)", re.ASCII)
_SESSION_LIMIT_CODES = frozenset({421, 452})
_SESSION_LIMIT_ENHANCED = frozenset({"4.4.5", "4.5.3"})
_SAYS_SESSION_LIMIT = re.compile(
    r"\btoo many (?:messages|recipients|transactions|e?-?mails)\b"
    r"|\b(?:limit|maximum|exceeded)\b.*\b(?:session|connection)\b|\b(?:session|connection)\b.*\b(?:limit|maximum|exceeded)\b",
    re.IGNORECASE,
)


class ProtocolError(Exception):
    """The server sent bytes that are not an SMTP reply."""


class ReplyReader:
    """An incremental parser that splits received bytes into replies."""

    __slots__ = ("_buffer", "_lines", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether part of a reply has been received."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> list[tuple[int, list[bytes]]]:
        """Return the replies that ``data`` completes: (code, text of each line) pairs.

        The texts are without code and line end. A reply has the code of its last line. Raises ProtocolError if
        the bytes are not a reply or a reply is too long.
        """
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
                    raise ProtocolError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
                continue
            replies.append((int(digits), self._lines))
            self._lines = []
            self._size = 0
        if len(self._buffer) > MAX_REPLY_BYTES:
            raise ProtocolError(f"a line of more than {MAX_REPLY_BYTES} bytes")
        return replies


def is_session_limit(reply: Reply) -> bool:
    """Return whether the relay refuses more messages or recipients in this session, and perhaps not in another one."""
    return reply.code in _SESSION_LIMIT_CODES and (
        reply.enhanced in _SESSION_LIMIT_ENHANCED or bool(_SAYS_SESSION_LIMIT.search(reply.text[:500]))
    )


def build_reply(code: int, lines: list[bytes]) -> Reply:
    """Return the reply with its text as one printable line.

    The enhanced code is removed from each line. Bytes that are not UTF-8, and control characters (PostgreSQL
    stores no NUL), become U+FFFD.
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
