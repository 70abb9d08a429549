"""Why an address must not be mailed, who decided that, and what lifts it."""

from enum import StrEnum


class SuppressionReason(StrEnum):
    hard_bounce = "hard_bounce"
    complaint = "complaint"
    manual = "manual"
    erased = "erased"
    """Everything about its subscriber was erased."""
    address_changed = "address_changed"
    """Its subscriber has another address now."""


class SuppressionSource(StrEnum):
    """Who made a suppression."""

    system = "system"
    """Made automatically, from feedback or by the retention sweep."""
    subscriber = "subscriber"
    """Follows from what the subscriber asked for: erasure, or a change of address."""
    staff = "staff"


LIFTED_BY_OPT_IN = frozenset({SuppressionSource.system, SuppressionSource.subscriber})
"""A subscriber who confirms again by an email to that very address lifts these. What staff decided, staff lift."""
