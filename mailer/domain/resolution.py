"""Resolving deliveries by other means than the relay's answer, and choosing failed ones to retry."""

import re
from collections.abc import Sequence
from enum import StrEnum


class Resolution(StrEnum):
    """What was decided of a delivery."""

    sent = "sent"
    failed = "failed"
    resend = "resend"
    """Uncertain, and sent once more, with the same Message-ID; the subscriber may get it twice."""
    retry = "retry"
    """Failed, and tried again."""


class ResolutionSource(StrEnum):
    """Who or what decided."""

    staff = "staff"
    link = "link"
    """Somebody used a link or an address out of the email, so it arrived."""
    returned_mail = "returned_mail"
    """An email came to its return path that is no bounce, so it arrived."""
    bounce = "bounce"
    policy = "policy"
    """The newsletter's setting for uncertain deliveries."""


class InvalidReplyCode(ValueError):
    """What was given is no reply code."""


_FAILURE_CODE = re.compile(r"[45]\d\d|[45](?:\.\d{1,3}){1,2}", re.ASCII)
_BASIC_CODE, _ENHANCED_CODE = r"[0-9]{3}", r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"

RETAINED_REPLY_PATTERN = rf"^(?:{_ENHANCED_CODE} )?{_BASIC_CODE}(?: {_ENHANCED_CODE})?|^{_ENHANCED_CODE}"
"""What stays of a reply when a person's data are erased: its codes, no words that may quote an address. A
regular expression of PostgreSQL."""


def reply_pattern(codes: Sequence[str]) -> str | None:
    """Return a regular expression, for PostgreSQL, of replies with one of these codes; None for all replies.

    ``550`` is a basic code; ``5.7.1`` an enhanced one, and ``5.7`` all of those below it. Raises InvalidReplyCode.
    """
    for code in codes:
        if not _FAILURE_CODE.fullmatch(code):
            raise InvalidReplyCode(f"“{code}” is no code of a failure, such as 550, 5.7 or 5.7.1.")
    if not codes:
        return None
    basic = [code for code in codes if "." not in code]
    enhanced = [code.replace(".", r"\.") + (r"\.[0-9]+" * (2 - code.count("."))) for code in codes if "." in code]
    # A bounce says the enhanced code first, a reply the basic one.
    ways = [rf"(?:{_ENHANCED_CODE} )?(?:{'|'.join(basic)})"] if basic else []
    ways += [rf"(?:{_BASIC_CODE} )?(?:{'|'.join(enhanced)})"] if enhanced else []
    return rf"^(?:{'|'.join(ways)})(?![0-9.])"
