"""English texts for enum members, for the command line and explanations. No behaviour depends on them.

The readers' pages have translated labels in mailer.web.public.personal_data.
"""

from mailer.domain.consents import ConsentChannel
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import Frequency, PauseReason, SkipReason
from mailer.domain.suppressions import SuppressionReason

SKIP_REASON_LABELS = {
    SkipReason.unsubscribed: "unsubscribed",
    SkipReason.unconfirmed: "unconfirmed",
    SkipReason.suppressed: "suppressed",
    SkipReason.paused: "paused",
    SkipReason.digest_only: "digest only",
    SkipReason.no_language: "no language",
    SkipReason.nothing_in_sections: "nothing in sections",
    SkipReason.cancelled: "cancelled",
}
SKIP_REASON_CAUSES = {
    SkipReason.unsubscribed: "they have unsubscribed",
    SkipReason.unconfirmed: "they have not confirmed their subscription",
    SkipReason.suppressed: "their address is suppressed",
    SkipReason.paused: "they have paused the newsletter",
    SkipReason.digest_only: "they receive one email a month instead of each issue",
    SkipReason.no_language: "the issue is not available in their languages or a fallback",
    SkipReason.nothing_in_sections: "the sections that they follow have no stories in it",
    SkipReason.cancelled: "the issue was cancelled before they were sent it",
}
"""Clauses that complete a sentence such as “Nothing was sent: …”."""

CONSENT_CHANNEL_LABELS = {
    ConsentChannel.sign_up_form: "the sign-up form",
    ConsentChannel.embedded_form: "a sign-up form on another site",
    ConsentChannel.csv_import: "an import",
    ConsentChannel.manage_page: "their manage page",
    ConsentChannel.preferences_page: "the preferences page",
    ConsentChannel.unsubscribe_page: "the unsubscribe page",
    ConsentChannel.one_click: "one-click unsubscribe",
    ConsentChannel.mailto: "an email to the unsubscribe address",
    ConsentChannel.unsubscribe_all_by_mail_link: "unsubscribing from all newsletters through a link in an email",
    ConsentChannel.unsubscribe_all_on_manage_page: "unsubscribing from all newsletters on their manage page",
    ConsentChannel.undo: "undoing the unsubscription",
    ConsentChannel.by_hand: "staff, by hand",
    ConsentChannel.erasure: "erasing their data",
}

SUPPRESSION_REASON_LABELS = {
    SuppressionReason.hard_bounce: "hard bounce",
    SuppressionReason.complaint: "complaint",
    SuppressionReason.manual: "by hand",
    SuppressionReason.erased: "erased",
    SuppressionReason.address_changed: "address changed",
    SuppressionReason.repeated_refusals: "repeated refusals",
}

RESOLUTION_LABELS = {
    Resolution.sent: "marked as sent",
    Resolution.failed: "marked as failed",
    Resolution.resend: "queued for resending",
    Resolution.retry: "queued for a retry",
}
RESOLUTION_SOURCE_LABELS = {
    ResolutionSource.link: "a click on one of its links",
    ResolutionSource.returned_mail: "a returned email",
    ResolutionSource.bounce: "a bounce",
    ResolutionSource.policy: "the newsletter's settings",
}
"""All sources except ``staff``, who are named."""

PAUSE_REASON_LABELS = {
    PauseReason.manual: "by hand",
    PauseReason.render_error: "an edition cannot be rendered",
    PauseReason.content_rejected: "the relay refuses the message",
    PauseReason.sender_rejected: "the relay refuses the sender address",
    PauseReason.first_refused: "the first deliveries were all refused",
    PauseReason.late: "it is late, and nothing has been sent",
}

FREQUENCY_LABELS = {Frequency.each: "each issue", Frequency.monthly: "once a month"}


def describe_consent_channel(channel: ConsentChannel, note: str) -> str:
    """Return where a consent was given or withdrawn, with the note of an imported file."""
    label = CONSENT_CHANNEL_LABELS[channel]
    return f"{label} (“{note}”)" if note else label


def describe_resolution(
    resolution: Resolution, source: ResolutionSource, resolved_by: str | None, note: str | None
) -> str:
    """Return how a delivery was resolved and by whom or what, such as ``marked as sent by ann: phoned``."""
    by = RESOLUTION_SOURCE_LABELS.get(source) or resolved_by
    return f"{RESOLUTION_LABELS[resolution]}{f' by {by}' if by else ''}{f': {note}' if note else ''}"


def describe_suppression(reason: SuppressionReason, note: str) -> str:
    """Return why an address is suppressed, with the note."""
    label = SUPPRESSION_REASON_LABELS[reason]
    return f"{label} ({note})" if note else label
