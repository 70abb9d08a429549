"""What comes back by mail: delivery status notifications (RFC 3464), and what is none."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message

from mailer.domain.outcomes import Outcome, Reply, Stage, classify

_ENHANCED_CODE = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_BASIC_CODE = re.compile(r"\b([45]\d\d)\b")
_MAX_READ_CHARS = 2_000
"""Characters of what the other server said that are looked at: anybody may write a notice, of any length."""
_MAX_REPLY_CHARS = 300


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a delivery status notification says of the one message that it is about."""

    action: str
    """failed, delayed, delivered, relayed or expanded."""
    outcome: Outcome
    """``accepted`` unless it failed or is delayed."""
    reply: str
    """Status and what the other server said, without addresses."""


def parse_dsn(message: bytes) -> DeliveryStatus | None:
    """None for whatever is no delivery status notification: an answer, an auto-reply, junk.

    The worst of several recipients counts; we send to one at a time, so that there is one.
    """
    try:
        mail = message_from_bytes(message, policy=policy.compat32)
        if mail.get_content_type() != "multipart/report":
            return None
        found = [
            notice for part in mail.walk() if _is_delivery_status(part) for notice in _parse_report(part)
        ]
    except (RecursionError, TypeError, ValueError, LookupError):
        return None  # what the library stumbles over, such as parts a thousand deep: no server writes that
    order = ["failed", "delayed"]
    return min(found, key=lambda n: order.index(n.action) if n.action in order else 9) if found else None


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
    said = _printable(str(block.get("Diagnostic-Code", "")).partition(";")[2][:_MAX_READ_CHARS])
    enhanced = status[1] if status else ""
    code = _BASIC_CODE.search(said)
    basic = int(code[1]) if code else 450 if enhanced.startswith("4") else 550
    words = " ".join("…" if "@" in word else word for word in said.split())[:_MAX_REPLY_CHARS]
    reply = " ".join(filter(None, [enhanced, words]))
    match action:
        case "failed":
            return DeliveryStatus(action, classify(Reply(basic, enhanced, words), Stage.RCPT), reply)
        case "delayed":
            return DeliveryStatus(action, Outcome.DEFERRED, reply)
    return DeliveryStatus(action, Outcome.ACCEPTED, reply)


def _printable(text: str) -> str:
    """Neither what a database does not take, nor what a terminal obeys."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
