"""Suppressions: why an address must not be mailed, who suppressed it, and what lifts it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from mailer.domain.outcomes import is_mailbox_refusal


class SuppressionReason(StrEnum):
    hard_bounce = "hard_bounce"
    complaint = "complaint"
    manual = "manual"
    erased = "erased"
    """The subscriber's data was erased."""
    address_changed = "address_changed"
    """The subscriber moved to another address."""
    repeated_refusals = "repeated_refusals"
    """It refused several issues in a row."""


class SuppressionSource(StrEnum):
    """Who made a suppression."""

    system = "system"
    """Made automatically from feedback or by a retention run."""
    subscriber = "subscriber"
    """Results from the subscriber's request to erase their data or change their address."""
    staff = "staff"


LIFTED_BY_OPT_IN = frozenset({SuppressionSource.system, SuppressionSource.subscriber})
"""Suppressions that a new confirmed opt-in of the same address lifts. Only staff lift those made by staff."""
BOUNCE_REASONS = frozenset({SuppressionReason.hard_bounce, SuppressionReason.repeated_refusals})
"""Reasons that forged or mistaken bounces can cause. The subscriber sees that, and can confirm the address again."""

BOUNCE_DELAY = timedelta(days=5)
"""How long servers try before they give up (RFC 5321 section 4.5.4.1): before that, no bounce means nothing."""


class PastDelivery(NamedTuple):
    """An issue that an address was sent, and what came of it."""

    at: datetime
    is_counted: bool
    """Whether its newsletter is the one whose refusals are counted. A success with any newsletter counts."""
    reply: str | None
    """Of the refusal; None if the message was accepted and has not come back."""
    is_bounce: bool


class RefusalRule(NamedTuple):
    """When an address is suppressed that was refused again and again."""

    issues: int
    days: int

    def refusals(self, deliveries: Iterable[PastDelivery], now: datetime) -> list[PastDelivery]:
        """Return the refusals in a row, latest first, if they are enough to suppress the address, else nothing.

        ``deliveries``: latest first. Refusals for other reasons than the mailbox are passed over.
        """
        refusals = []
        for delivery in deliveries:
            if delivery.reply is None:
                if now - delivery.at > BOUNCE_DELAY:
                    break
            elif delivery.is_counted and is_mailbox_refusal(delivery.reply, delivery.is_bounce):
                refusals.append(delivery)
        if len(refusals) < self.issues or refusals[0].at - refusals[-1].at < timedelta(days=self.days):
            return []
        return refusals
