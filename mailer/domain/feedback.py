"""What feedback there is."""

from enum import StrEnum


class FeedbackKind(StrEnum):
    bounce = "bounce"
    delay = "delay"
    """A receiving server says that it is still trying (RFC 3464, action delayed)."""
    unsubscribe = "unsubscribe"
    confirm = "confirm"
    """A sign-up was confirmed."""
    address_change = "address_change"
