"""What people consent to, and where a consent was given or withdrawn."""

from enum import StrEnum


class ConsentKind(StrEnum):
    subscribe = "subscribe"
    tracking = "tracking"


class ConsentChannel(StrEnum):
    """Where a consent was given or withdrawn."""

    sign_up_form = "sign_up_form"
    embedded_form = "embedded_form"
    """A sign-up form on another site."""
    csv_import = "csv_import"
    """The consent's note is the source given in the file."""
    manage_page = "manage_page"
    """The subscriber's own page, opened by a magic link sent to their address."""
    preferences_page = "preferences_page"
    """The page opened by the preferences link in any email."""
    unsubscribe_page = "unsubscribe_page"
    """The page opened by the unsubscribe link in any email."""
    one_click = "one_click"
    """RFC 8058."""
    mailto = "mailto"
    """An email to the List-Unsubscribe address."""
    unsubscribe_all_by_mail_link = "unsubscribe_all_by_mail_link"
    unsubscribe_all_on_manage_page = "unsubscribe_all_on_manage_page"
    undo = "undo"
    """An unsubscribe was undone within UNDO_WINDOW."""
    by_hand = "by_hand"
    """Done by staff for a person who asked in another way."""
    erasure = "erasure"


UNDOABLE_BY_MAIL_LINK = frozenset(
    {
        ConsentChannel.one_click,
        ConsentChannel.unsubscribe_page,
        ConsentChannel.preferences_page,
        ConsentChannel.mailto,
        ConsentChannel.unsubscribe_all_by_mail_link,
    }
)
"""Ways to unsubscribe that a link in any email may undo.

Emails are forwarded, so such a link cannot undo an unsubscribe made on the subscriber's own page or by staff.
"""
