"""Parses delivery status notifications (RFC 3464)."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message

from mailer.domain.outcomes import Outcome, Reply, Stage, classify

_ENHANCED_CODE = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_BASIC_CODE = re.compile(r"\b([45]\d\d)\b")
_MAX_READ_CHARS = 2_000
"""Characters read from each field. Anybody can send a notification of any length."""
_MAX_REPLY_CHARS = 300


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """The content of a delivery status notification."""

    action: str
    """``failed``, ``delayed``, ``delivered``, ``relayed`` or ``expanded`` (RFC 3464 section 2.3.3)."""
    outcome: Outcome
    """``accepted`` for every action but ``failed`` and ``delayed``."""
    reply: str
    """The status code and the other server's reply, without addresses."""


def parse_dsn(message: bytes) -> DeliveryStatus | None:
    """Parse a delivery status notification. Return None for any other mail, such as an auto-reply.

    If there are several recipients, the worst status counts. Our messages have one recipient each.
    """
    try:
        mail = message_from_bytes(message, policy=policy.compat32)
        if mail.get_content_type() != "multipart/report":
            return None
        statuses = [status for part in mail.walk() if _is_delivery_status(part) for status in _parse_report(part)]
    except (RecursionError, TypeError, ValueError, LookupError):
        return None  # malformed MIME that the library cannot parse, such as parts nested a thousand deep
    order = ["failed", "delayed"]
    return min(statuses, key=lambda s: order.index(s.action) if s.action in order else 9, default=None)


def _is_delivery_status(part: Message) -> bool:
    return part.get_content_type() in ("message/delivery-status", "message/global-delivery-status")


def _parse_report(part: Message) -> list[DeliveryStatus]:
    blocks = part.get_payload()
    if not isinstance(blocks, list):
        return []
    return [_parse_recipient(block) for block in blocks if isinstance(block, Message) and block.get("Action")]


def _parse_recipient(block: Message) -> DeliveryStatus:
    action = _printable(str(block["Action"])[:_MAX_READ_CHARS]).strip().lower().partition(" ")[0]
    status = _ENHANCED_CODE.search(str(block.get("Status", "")))
    diagnostic = _printable(str(block.get("Diagnostic-Code", "")).partition(";")[2][:_MAX_READ_CHARS])
    enhanced = status[1] if status else ""
    code = _BASIC_CODE.search(diagnostic)
    basic = int(code[1]) if code else 450 if enhanced.startswith("4") else 550
    text = " ".join("…" if "@" in word else word for word in diagnostic.split())[:_MAX_REPLY_CHARS]
    reply = " ".join(filter(None, [enhanced, text]))
    match action:
        case "failed":
            return DeliveryStatus(action, classify(Reply(basic, enhanced, text), Stage.RCPT), reply)
        case "delayed":
            return DeliveryStatus(action, Outcome.DEFERRED, reply)
    return DeliveryStatus(action, Outcome.ACCEPTED, reply)


def _printable(text: str) -> str:
    """Replace control characters, which databases refuse and terminals interpret, by spaces."""
    return "".join(char if char.isprintable() else " " for char in text)
