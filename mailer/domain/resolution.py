"""Resolution of deliveries other than by the relay's reply, and selection of failed ones to retry."""

import re
from collections.abc import Sequence
from enum import StrEnum

from mailer.domain.errors import UserError


class Resolution(StrEnum):
    """How a delivery was resolved."""

    sent = "sent"
    failed = "failed"
    resend = "resend"
    """It was uncertain and is sent again with the same Message-ID. The subscriber may get it twice."""
    retry = "retry"
    """It had failed and is retried."""


class ResolutionSource(StrEnum):
    """Who or what resolved a delivery."""

    staff = "staff"
    link = "link"
    """A link or address from the email was used, so it arrived."""
    returned_mail = "returned_mail"
    """Mail other than a bounce came to its return path, so it arrived."""
    bounce = "bounce"
    policy = "policy"
    """The newsletter's setting for uncertain deliveries."""


class InvalidReplyCode(UserError, ValueError):
    """A value that is not the code of a failure."""


_FAILURE_CODE = re.compile(r"[45]\d\d|[45](?:\.\d{1,3}){1,2}", re.ASCII)
_BASIC_CODE, _ENHANCED_CODE = r"[0-9]{3}", r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"

RETAINED_REPLY_PATTERN = rf"^(?:{_ENHANCED_CODE} )?{_BASIC_CODE}(?: {_ENHANCED_CODE})?|^{_ENHANCED_CODE}"
"""PostgreSQL regular expression for the part of a reply that is kept after erasure: its codes.

The words of a reply may quote the address.
"""


def reply_pattern(codes: Sequence[str]) -> str | None:
    """Return a PostgreSQL regular expression for replies with one of these codes, or None if there are no codes.

    ``550`` is a basic code, ``5.7.1`` an enhanced code, and ``5.7`` matches all enhanced codes that begin with it.
    Raises InvalidReplyCode.
    """
    for code in codes:
        if not _FAILURE_CODE.fullmatch(code):
            raise InvalidReplyCode(f"“{code}” is not a failure code such as 550, 5.7 or 5.7.1.")
    if not codes:
        return None
    basic = [code for code in codes if "." not in code]
    enhanced = [code.replace(".", r"\.") + (r"\.[0-9]+" * (2 - code.count("."))) for code in codes if "." in code]
    # A bounce has the enhanced code first, an SMTP reply the basic one.
    patterns = [rf"(?:{_ENHANCED_CODE} )?(?:{'|'.join(basic)})"] if basic else []
    patterns += [rf"(?:{_BASIC_CODE} )?(?:{'|'.join(enhanced)})"] if enhanced else []
    return rf"^(?:{'|'.join(patterns)})(?![0-9.])"
