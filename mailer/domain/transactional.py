"""The kinds of transactional emails."""

from enum import StrEnum


class TransactionalEmailKind(StrEnum):
    """A kind of transactional email. The value is also the name of its template folder, if it has one."""

    confirm = "confirm"
    """Asks for confirmation of a sign-up."""
    welcome = "welcome"
    magic_link = "magic_link"
    """Contains the link to the subscriber's own page."""
    preferences_changed = "preferences_changed"
    """Reports a change made through a link in an email, with a link to undo it."""
    address_old = "address_old"
    """Asks the old address to confirm a change of address."""
    address_new = "address_new"
    """Asks the new address to confirm a change of address."""
    invitation = "invitation"
    """Invites somebody to an account of staff."""
    password_reset = "password_reset"  # noqa: S105
    text_request = "text_request"
    """Asks somebody for a text of an issue."""
    text_reminder = "text_reminder"
    """Reminds them of it."""
    text_handed_in = "text_handed_in"
    """Tells who asked that the text is there."""
    text_sent_back = "text_sent_back"
    """Tells who wrote it what is to be changed."""
    issue_test = "issue_test"
    """An edition of an issue, for somebody who looks at it before it is sent. It has no template of its own."""


TEMPLATE_KINDS = tuple(kind for kind in TransactionalEmailKind if kind is not TransactionalEmailKind.issue_test)
TEXT_REQUEST_KINDS = frozenset(
    {
        TransactionalEmailKind.text_request,
        TransactionalEmailKind.text_reminder,
        TransactionalEmailKind.text_handed_in,
        TransactionalEmailKind.text_sent_back,
    }
)
STAFF_KINDS = TEXT_REQUEST_KINDS | {TransactionalEmailKind.invitation, TransactionalEmailKind.password_reset}
"""Emails to staff, whose texts are in the catalogues of the pages for staff."""
