"""Suppressions: why an address must not be mailed, who suppressed it, and what lifts it."""

from enum import StrEnum


class SuppressionReason(StrEnum):
    hard_bounce = "hard_bounce"
    complaint = "complaint"
    manual = "manual"
    erased = "erased"
    """The subscriber's data was erased."""
    address_changed = "address_changed"
    """The subscriber moved to another address."""


class SuppressionSource(StrEnum):
    """Who made a suppression."""

    system = "system"
    """Made automatically from feedback or by a retention run."""
    subscriber = "subscriber"
    """Results from the subscriber's request to erase their data or change their address."""
    staff = "staff"


LIFTED_BY_OPT_IN = frozenset({SuppressionSource.system, SuppressionSource.subscriber})
"""Suppressions that a new confirmed opt-in of the same address lifts. Only staff lift those made by staff."""
