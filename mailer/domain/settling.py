"""What a person says of a delivery whose outcome nobody saw, and which failed ones are to be tried again."""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum


class Settlement(StrEnum):
    sent = "sent"
    failed = "failed"
    again = "again"
    """Send it once more, with the same Message-ID; the reader may get it twice."""


class NoCode(ValueError):
    """What was given is no reply code."""


_SAYS = {
    Settlement.sent: "settled as sent",
    Settlement.failed: "settled as failed",
    Settlement.again: "to be sent once more",
}
_CODE = re.compile(r"[45]\d\d|[45](?:\.\d{1,3}){1,2}", re.ASCII)
_BASIC, _ENHANCED = r"[0-9]{3}", r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"

WORTH_KEEPING = rf"^(?:(?:gave up: )?{_BASIC}(?: {_ENHANCED})?|settled as (?:sent|failed))"
"""What stays of a reply when a person's data are let go: codes and the outcome, no words that may quote an
address. A regular expression of PostgreSQL."""


def said(settlement: Settlement, by: str, at: datetime, why: str = "") -> str:
    """What the ledger keeps as the reply of a delivery that was settled."""
    return f"{_SAYS[settlement]} by {by}, {at:%Y-%m-%d %H:%M} UTC{f': {why}' if why else ''}"


TRIED_AGAIN = "to be tried again"
"""What the ledger keeps as the reply of a failed delivery that is due again."""


def is_due_again(reply: str) -> bool:
    """Whether a person, or the newsletter's settings, made it due again, and not a deferral."""
    return reply.startswith((TRIED_AGAIN, _SAYS[Settlement.again]))


def is_settled(reply: str) -> bool:
    """Whether a person or later evidence said so, and not the relay's answer."""
    return reply.startswith("settled as ")


def replies_with(codes: Sequence[str]) -> str | None:
    """A regular expression, for PostgreSQL, of replies with one of these codes; None for all replies.

    ``550`` is a basic code; ``5.7.1`` an enhanced one, and ``5.7`` all of those below it. Raises NoCode.
    """
    for code in codes:
        if not _CODE.fullmatch(code):
            raise NoCode(f"“{code}” is no code of a failure, such as 550, 5.7 or 5.7.1.")
    if not codes:
        return None
    basic = [code for code in codes if "." not in code]
    enhanced = [
        code.replace(".", r"\.") + (r"\.[0-9]+" * (2 - code.count("."))) for code in codes if "." in code
    ]
    # A bounce says the enhanced code first, a reply the basic one.
    ways = [rf"(?:{_ENHANCED} )?(?:{'|'.join(basic)})"] if basic else []
    ways += [rf"(?:{_BASIC} )?(?:{'|'.join(enhanced)})"] if enhanced else []
    return rf"^(?:gave up: |settled as failed by a bounce, [0-9: -]+ UTC: )?(?:{'|'.join(ways)})(?![0-9.])"
