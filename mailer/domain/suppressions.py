"""Why an address must not be mailed, and what may lift that."""

HARD_BOUNCE = "hard bounce"
COMPLAINT = "complaint"
ERASED = "erased"
ADDRESS_CHANGED = "moved"
"""Its reader has another address now."""
MANUAL = "by hand"

LIFTED_BY_OPT_IN = frozenset({HARD_BOUNCE, COMPLAINT, ERASED, ADDRESS_CHANGED})
"""A reader who confirms again by a mail to that very address lifts these. What a person decided by hand is
lifted by hand."""
