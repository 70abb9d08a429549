"""References to a subscription in links, and how long links and undo are valid."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

MAGIC_LINK_LIFETIME = timedelta(hours=2)
"""How long a link to the subscriber's own page works after it was requested."""

UNDO_WINDOW = timedelta(hours=24)
"""How long a change or an unsubscribe can be undone by the link that made it.

After that, resubscribing requires a new confirmed opt-in, since the email may have been forwarded.
"""


class LinkKind(StrEnum):
    mail = "mail"
    """A link in any email. Anyone to whom the email is forwarded can open it."""
    magic = "magic"
    """A link sent to the subscriber's address on request. It is valid for MAGIC_LINK_LIFETIME."""
    staff = "staff"
    """No link: staff act for a person who asked in another way."""


class SubscriptionRef(NamedTuple):
    """A subscriber and a newsletter; the newsletter is given by one of its issues or by its own id."""

    subscriber: int
    issue: int = 0
    newsletter: int = 0
