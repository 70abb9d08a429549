"""Whom a link belongs to, and how long the link of a reader's own page is good."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

MAGIC_LINK_LIFETIME = timedelta(hours=2)
"""How long the link opens that is sent to a reader who wants to see or change everything."""

UNDO_WINDOW = timedelta(hours=24)
"""How long a change can be taken back by the link that made it, and leaving too. Coming back later takes a new
confirmed opt-in: the mail may have been forwarded since."""


class LinkKind(StrEnum):
    mail = "mail"
    """In any email: opened by whoever the email was forwarded to, as well."""
    magic = "magic"
    """Sent to the subscriber's address on request, and valid for MAGIC_LINK_LIFETIME."""


class SubscriptionRef(NamedTuple):
    """A reader and a newsletter, as a link names them: by an issue of it, or else by itself."""

    subscriber: int
    issue: int = 0
    newsletter: int = 0
