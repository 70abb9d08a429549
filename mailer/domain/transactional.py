"""What transactional emails there are."""

from enum import StrEnum


class TransactionalEmailKind(StrEnum):
    """The value is also the name of its template."""

    confirm = "confirm"
    """Asks to confirm a sign-up."""
    welcome = "welcome"
    magic_link = "magic_link"
    """The link that opens the subscriber's own page."""
    preferences_changed = "preferences_changed"
    """Tells of a change made by the link of any email, and undoes it."""
    address_old = "address_old"
    """Asks the old address to confirm a change of address."""
    address_new = "address_new"
    """Asks the new one."""
