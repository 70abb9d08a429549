"""What a person says of a delivery whose outcome nobody saw, and which failed ones are to be tried again."""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum


class Resolution(StrEnum):
    sent = "sent"
    failed = "failed"
    resend = "resend"
    """Send it once more, with the same Message-ID; the reader may get it twice."""


class InvalidReplyCode(ValueError):
    """What was given is no reply code."""


_DESCRIPTIONS = {
    Resolution.sent: "settled as sent",
    Resolution.failed: "settled as failed",
    Resolution.resend: "to be sent once more",
}
_FAILURE_CODE = re.compile(r"[45]\d\d|[45](?:\.\d{1,3}){1,2}", re.ASCII)
_BASIC_CODE, _ENHANCED_CODE = r"[0-9]{3}", r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"

RETAINED_REPLY_PATTERN = rf"^(?:(?:gave up: )?{_BASIC_CODE}(?: {_ENHANCED_CODE})?|settled as (?:sent|failed))"
"""What stays of a reply when a person's data are let go: codes and the outcome, no words that may quote an
address. A regular expression of PostgreSQL."""


def describe(resolution: Resolution, resolved_by: str, resolved_at: datetime, reason: str = "") -> str:
    """What the ledger keeps as the reply of a delivery that was settled."""
    because = f": {reason}" if reason else ""
    return f"{_DESCRIPTIONS[resolution]} by {resolved_by}, {resolved_at:%Y-%m-%d %H:%M} UTC{because}"


REQUEUED_REPLY = "to be tried again"
"""What the ledger keeps as the reply of a failed delivery that is due again."""


def is_requeued(reply: str) -> bool:
    """Whether a person, or the newsletter's settings, made it due again, and not a deferral."""
    return reply.startswith((REQUEUED_REPLY, _DESCRIPTIONS[Resolution.resend]))


def is_resolved(reply: str) -> bool:
    """Whether a person or later evidence said so, and not the relay's answer."""
    return reply.startswith("settled as ")


def reply_pattern(codes: Sequence[str]) -> str | None:
    """A regular expression, for PostgreSQL, of replies with one of these codes; None for all replies.

    ``550`` is a basic code; ``5.7.1`` an enhanced one, and ``5.7`` all of those below it. Raises NoCode.
    """
    for code in codes:
        if not _FAILURE_CODE.fullmatch(code):
            raise InvalidReplyCode(f"“{code}” is no code of a failure, such as 550, 5.7 or 5.7.1.")
    if not codes:
        return None
    basic = [code for code in codes if "." not in code]
    enhanced = [
        code.replace(".", r"\.") + (r"\.[0-9]+" * (2 - code.count("."))) for code in codes if "." in code
    ]
    # A bounce says the enhanced code first, a reply the basic one.
    ways = [rf"(?:{_ENHANCED_CODE} )?(?:{'|'.join(basic)})"] if basic else []
    ways += [rf"(?:{_BASIC_CODE} )?(?:{'|'.join(enhanced)})"] if enhanced else []
    return rf"^(?:gave up: |settled as failed by a bounce, [0-9: -]+ UTC: )?(?:{'|'.join(ways)})(?![0-9.])"
