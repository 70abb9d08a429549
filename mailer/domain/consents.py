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
    """The note beside it is what the file says of the consent's source."""
    manage_page = "manage_page"
    """The subscriber's own page, opened by a link that was sent to their address."""
    preferences_page = "preferences_page"
    """The page that the preferences link of any email opens."""
    unsubscribe_page = "unsubscribe_page"
    """The page that the unsubscribe link of any email opens."""
    one_click = "one_click"
    """RFC 8058."""
    mailto = "mailto"
    """An email to the List-Unsubscribe address."""
    unsubscribe_all_by_mail_link = "unsubscribe_all_by_mail_link"
    unsubscribe_all_on_manage_page = "unsubscribe_all_on_manage_page"
    undo = "undo"
    """The unsubscribe was undone within the time for it."""
    by_hand = "by_hand"
    """Staff did it for somebody who asked in another way."""
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
"""Ways to unsubscribe that a link of any email may undo. What was done on the subscriber's own page or by hand
stands, since emails are forwarded."""
