"""Reads what a mail server says of a message that it could not deliver.

Most servers send a delivery status notification (RFC 3464), some only a text. Anybody can send such a mail, so only its
beginning is read, and the number and the length of parts and headers are limited.
"""

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from itertools import islice
from typing import NamedTuple

from mailer.domain.outcomes import (
    Outcome,
    Reply,
    Stage,
    classify,
    find_other_cause_in_notice,
    read_reply,
    says_no_such_mailbox,
)

MAX_READ_BYTES = 1 << 17
"""Read from the beginning of a mail. What a server says precedes the message that it returns."""
_MAX_DEPTH = 4
_MAX_PARTS = 40
"""In all, multiparts included."""
_MAX_HEADER_BYTES = 1 << 14
_MAX_HEADERS = 200
_MAX_FIELD_CHARS = 1_000
_MAX_BOUNDARY_CHARS = 200
_MAX_TEXT_CHARS = 20_000
_MAX_RECIPIENTS = 50
_MAX_REPLY_CHARS = 300
_MAX_ADDRESS_CHARS = 254
"""RFC 5321 section 4.5.3.1.3, without the angle brackets."""

_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURNED_TYPES = frozenset(
    {"message/rfc822", "message/global", "message/global-headers", "text/rfc822-headers", "message/partial"}
)


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a mail server says of a message that it could not deliver."""

    action: str
    """``failed``, ``delayed``, ``delivered``, ``relayed`` or ``expanded`` (RFC 3464 section 2.3.3)."""
    outcome: Outcome
    """``accepted`` for every action but ``failed`` and ``delayed``."""
    reply: str
    """The status code and the other server's reply, without addresses."""
    recipients: frozenset[str] = frozenset()
    """The addresses that it names, in lower case. Another one than the message was sent to: it was forwarded."""


class _Part(NamedTuple):
    """A part of a mail. The body of a multipart is in the parts that follow it."""

    headers: Message
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get_content_type()


class _Recipient(NamedTuple):
    """The status of one recipient."""

    action: str
    reply: Reply
    status: str
    addresses: frozenset[str]


def parse_dsn(message: bytes) -> DeliveryStatus | None:
    """Read the notice of a mail server. Return None for any other mail, such as an auto-reply.

    If there are several recipients, the worst status counts, but none of them is a hard bounce: our messages have one
    recipient each, so that somebody has forwarded it.
    """
    headers, body = _split_headers(message[:MAX_READ_BYTES])
    notice, returned = "", False
    found: list[_Recipient] = []
    for part in islice(_walk(headers, body, 0), _MAX_PARTS):
        if part.content_type in _RETURNED_TYPES:
            returned = True
            break
        text = _text(part)
        if part.content_type in _STATUS_TYPES or _RECIPIENT_FIELD.search(text):
            found += _read_report(text)
        elif not found and len(notice) < _MAX_TEXT_CHARS:
            notice += text + "\n\n"
    notice = notice[:_MAX_TEXT_CHARS]
    if start := _RETURNED_MESSAGE.search(notice):
        returned, notice = True, notice[: start.start()]
    if not found and _is_notice(headers, notice, returned):
        found = [_read_notice(headers, notice)]
    if not found:
        return None
    return _combine(found, notice)


def is_automatic_reply(message: bytes) -> bool:
    """Return whether a mail says of itself that a program wrote it, as out-of-office replies do (RFC 3834)."""
    headers, _ = _split_headers(message[:MAX_READ_BYTES])
    automatic = str(headers.get("Auto-Submitted", "no")).strip().lower()
    return not automatic.startswith("no") or any(name in headers for name in ("X-Autoreply", "X-Autorespond"))


def _combine(found: list[_Recipient], notice: str) -> DeliveryStatus:
    order = ["failed", "delayed"]
    worst = min(found, key=lambda one: order.index(one.action) if one.action in order else len(order))
    outcome = Outcome.ACCEPTED
    if worst.action == "delayed":
        outcome = Outcome.DEFERRED
    elif worst.action == "failed":
        outcome = classify(worst.reply, Stage.RCPT)
        if outcome is Outcome.HARD_BOUNCE:
            outcome = find_other_cause_in_notice(notice) or outcome
        if outcome is Outcome.HARD_BOUNCE and len(found) > 1:
            outcome = Outcome.REJECTED
    text = " ".join("…" if "@" in word else word for word in worst.reply.text.split())[:_MAX_REPLY_CHARS]
    recipients = frozenset[str]().union(*(one.addresses for one in found))
    return DeliveryStatus(worst.action, outcome, " ".join(filter(None, [worst.status, text])), recipients)


# The parts of a mail

_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")


def _split_headers(data: bytes) -> tuple[Message, bytes]:
    """Return the headers of a mail or of a part, and its body."""
    headers = Message()
    if data.startswith((b"\n", b"\r\n")):
        return headers, data
    end = _HEADERS_END.search(data)
    head, body = (data[: end.start()], data[end.end() :]) if end else (data, b"")
    for field in _FIELD_END.split(head[:_MAX_HEADER_BYTES], _MAX_HEADERS)[:_MAX_HEADERS]:
        name, colon, value = field[: 2 * _MAX_FIELD_CHARS].partition(b":")
        if colon:
            text = " ".join(value.decode("utf-8", "replace").split())
            headers[name.strip().decode("ascii", "replace")] = text[:_MAX_FIELD_CHARS]
    return headers, body


def _walk(headers: Message, body: bytes, depth: int) -> Iterator[_Part]:
    """Yield the parts of a mail in their order."""
    boundary = _boundary(headers)
    yield _Part(headers, b"" if boundary else body)
    if boundary and depth < _MAX_DEPTH:
        body = body.split(b"\n--" + boundary + b"--", 1)[0]
        line = re.compile(rb"(?:^|\n)--" + re.escape(boundary) + rb"[ \t]*+\r?(?=\n|\Z)")
        for part in line.split(body, _MAX_PARTS)[1:]:
            # The line break after the boundary is still there.
            yield from _walk(*_split_headers(part.removeprefix(b"\n")), depth + 1)


def _boundary(headers: Message) -> bytes:
    """Return the boundary of a multipart; empty for anything else, and for one that makes no sense."""
    try:
        boundary = headers.get_boundary("") if headers.get_content_maintype() == "multipart" else ""
        return boundary.encode()[:_MAX_BOUNDARY_CHARS]
    except (AttributeError, LookupError, TypeError, ValueError):
        return b""  # such as a parameter that is given in three ways


_TAG = re.compile(r"<[^<>]*>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " ", "&amp;": "&"}
_LINE_TAG = re.compile(r"<(?:/?p|br|/?div|/?tr|/?h\d|li)\b[^<>]*>", re.IGNORECASE)


def _text(part: _Part) -> str:
    """Return the beginning of a part's text. Words that matter are ASCII in every charset."""
    if not part.content_type.startswith(("text/", "message/")):
        return ""
    body = part.body[: 4 * _MAX_TEXT_CHARS]
    match str(part.headers.get("Content-Transfer-Encoding", "")).strip().lower():
        case "base64":
            body = _decode_base64(body)
        case "quoted-printable":
            body = quopri.decodestring(body)
    text = body.decode("utf-8", "replace")[:_MAX_TEXT_CHARS].replace("\r\n", "\n").replace("\r", "\n")
    if part.content_type == "text/html":
        text = _TAG.sub(" ", _LINE_TAG.sub("\n\n", text))
        for entity, char in _ENTITIES.items():
            text = text.replace(entity, char)
    return text


def _decode_base64(data: bytes) -> bytes:
    """Return what base64 stands for, as far as it goes: the beginning of a part may end anywhere."""
    data = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    return binascii.a2b_base64(data[: len(data) // 4 * 4])


# A delivery status (RFC 3464 section 2)

_RECIPIENT_FIELD = re.compile(r"^(?:Final|Original)-Recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)
_STATUS_CODE = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b", re.ASCII)


def _read_report(text: str) -> list[_Recipient]:
    blocks = re.split(r"\n[ \t]*\n", text, maxsplit=_MAX_RECIPIENTS)[: _MAX_RECIPIENTS + 1]
    read = [_split_headers(block.strip().encode())[0] for block in blocks]
    return [_read_recipient(block) for block in read if "Action" in block or "Status" in block]


def _read_recipient(block: Message) -> _Recipient:
    code = _STATUS_CODE.search(str(block.get("Status", "")))
    status = code[1] if code else ""
    action = _printable(str(block.get("Action", ""))).strip().lower().partition(" ")[0]
    if action in ("failure", "error"):
        action = "failed"
    elif not action:
        action = {"5": "failed", "4": "delayed", "2": "delivered"}.get(status[:1], "")
    diagnostic = str(block.get("Diagnostic-Code", ""))
    text = _printable(diagnostic.partition(";")[2] or diagnostic)
    fields = (str(block.get(name, "")) for name in ("Final-Recipient", "Original-Recipient"))
    addresses = frozenset(filter(None, map(_read_recipient_field, fields)))
    return _Recipient(action, read_reply(text, status), status, addresses)


def _read_recipient_field(field: str) -> str:
    """Return the address of a field such as ``rfc822; <ann@example.org>``."""
    return _printable(field.rpartition(";")[2])[:_MAX_ADDRESS_CHARS].strip(" <>\"'").lower()


# A notice in words

_FROM_SERVER = re.compile(
    r"mailer.?daemon|mdaemon|postmaster|\bndr\b|mail.(?:delivery|system|service|administrator)|delivery (?:sub)?system"
    r"|system administrator",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|(?:not|n't|never) (?:be )?deliver"
    r"|deliver\w* (?:status|fail|error|problem|delay|notif|report|has failed)"
    r"|returned mail|returned to sender|mail ?(?:failure|error)|failure notice|fail(?:ed|ure) .{0,40}deliver"
    r"|(?:delivery|message|mail) failed|rejected|bounce|unknown (?:user|recipient)|user unknown|non.?deliver|warning:"
    r"|mail system error|nondeliver",
    re.IGNORECASE,
)
_SAYS_UNDELIVERED = re.compile(
    r"(?:could|can|was|were|is|has|have)(?: ?not|n't) (?:be )?(?:been )?(?:deliver|reach|sent\b|accept|process)"
    r"|undeliver|unable to (?:deliver|send|relay|reach)|(?:delivery|message|mail) (?:has )?(?:failed|failure|error)"
    r"|permanent (?:fatal )?(?:error|failure)|fail(?:ed|ure) (?:to deliver|notice|permanently)|returned (?:mail|to)"
    r"|not (?:be )?deliverable|delivery (?:to|status|attempt)|did not reach|following (?:address|recipient|user)",
    re.IGNORECASE,
)
_SAYS_DELAYED = re.compile(
    r"\bwarning\b.{0,60}(?:delay|still|not been|could not)|\bdelayed\b|still (?:being )?(?:trying|tried|undelivered)"
    r"|will (?:continue|keep|be retried|try)|do not need to (?:resend|send)|no action is required|transient non-fatal"
    r"|not yet been delivered|has not been (?:able to be )?delivered (?:yet|within)|retry(?:ing)? (?:to|for|until)",
    re.IGNORECASE | re.DOTALL,
)
_RETURNED_MESSAGE = re.compile(
    r"^(?:[-=_ >*]*(?:below this line is a copy|this is a copy of|original message|returned message|unsent message"
    r"|forwarded message|message headers|original headers|message header|the following is a copy|body of message"
    r"|start of returned message|copy of (?:the|your) (?:original )?message|headers of the (?:original|returned))"
    r"|(?:received|return-path|message-id|mime-version|dkim-signature|list-unsubscribe|x-mailer): )",
    re.IGNORECASE | re.MULTILINE,
)
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]{1,64}@[^\s<>()\[\]\"',;:]{1,255}")
_SERVER_ADDRESS = re.compile(r"(?:mailer-daemon|postmaster|abuse|support|help|helpdesk|admin|root)@", re.IGNORECASE)


def _is_notice(headers: Message, notice: str, returned: bool) -> bool:
    """Return whether a mail is a server's notice in words: who sent it, and what its subject and its text say.

    ``returned``: our message is in it.
    """
    if "X-Failed-Recipients" in headers:
        return True
    subject = bool(_SUBJECT.search(str(headers.get("Subject", ""))))
    text = bool(_SAYS_UNDELIVERED.search(notice) or _SAYS_DELAYED.search(notice) or says_no_such_mailbox(notice))
    if _FROM_SERVER.search(str(headers.get("From", ""))):
        return subject or text or returned
    if headers.get_content_type() == "multipart/report":
        return subject or text
    # Out-of-office replies have no return path either.
    return subject and text and str(headers.get("Return-Path", "")).lower().startswith(("<>", "<mailer-daemon"))


def _read_notice(headers: Message, notice: str) -> _Recipient:
    """Read what a notice in words says of its recipient."""
    named = str(headers.get("X-Failed-Recipients", "")) or notice
    found = (match[0][:_MAX_ADDRESS_CHARS].lower().rstrip(".") for match in _ADDRESS.finditer(named))
    addresses = frozenset(address for address in found if not _SERVER_ADDRESS.match(address))
    text = _printable(_find_reply(notice))
    subject = str(headers.get("Subject", ""))
    delayed = _SAYS_DELAYED.search(f"{subject}\n{notice}")
    return _Recipient("delayed" if delayed else "failed", read_reply(text), "", addresses)


_REPLY_LINE = re.compile(r"\b[45]\d\d[ -](?:#?[45]\.\d{1,3}\.\d{1,3}|[^\d\s])|\b[45]\.\d\.\d{1,3}\b", re.ASCII)


def _find_reply(notice: str) -> str:
    """Return the paragraph of a notice that holds the other server's reply."""
    paragraphs = [paragraph for paragraph in re.split(r"\n[ \t]*\n", notice) if paragraph.strip()]
    for is_reply in (_REPLY_LINE.search, says_no_such_mailbox, _ADDRESS.search, _SAYS_UNDELIVERED.search):
        for paragraph in paragraphs:
            if is_reply(paragraph):
                return paragraph
    return ""


def _printable(text: str) -> str:
    """Replace control characters, which databases refuse and terminals interpret, by spaces."""
    return "".join(char if char.isprintable() else " " for char in text)
