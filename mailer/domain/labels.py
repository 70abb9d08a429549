"""Texts for enum members, for the command line and pages of staff. No behaviour depends on them.

The readers' pages have translated labels in mailer.web.public.personal_data.
"""

from mailer.domain.consents import ConsentChannel
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.staff_texts import StaffText, gettext
from mailer.domain.states import DeliveryState, Frequency, IssueState, PauseReason, SkipReason
from mailer.domain.suppressions import SuppressionReason

SKIP_REASON_LABELS = {
    SkipReason.unsubscribed: gettext("unsubscribed"),
    SkipReason.unconfirmed: gettext("unconfirmed"),
    SkipReason.suppressed: gettext("suppressed"),
    SkipReason.paused: gettext("paused"),
    SkipReason.digest_only: gettext("digest only"),
    SkipReason.no_language: gettext("no language"),
    SkipReason.nothing_in_sections: gettext("nothing in sections"),
    SkipReason.cancelled: gettext("cancelled"),
}
SKIP_REASON_CAUSES = {
    SkipReason.unsubscribed: gettext("they have unsubscribed"),
    SkipReason.unconfirmed: gettext("they have not confirmed their subscription"),
    SkipReason.suppressed: gettext("their address is suppressed"),
    SkipReason.paused: gettext("they have paused the newsletter"),
    SkipReason.digest_only: gettext("they receive one email a month instead of each issue"),
    SkipReason.no_language: gettext("the issue is not available in their languages or a fallback"),
    SkipReason.nothing_in_sections: gettext("the sections that they follow have no stories in it"),
    SkipReason.cancelled: gettext("the issue was cancelled before they were sent it"),
}
"""Clauses that complete a sentence such as “Nothing was sent: …”."""

CONSENT_CHANNEL_LABELS = {
    ConsentChannel.sign_up_form: gettext("the sign-up form"),
    ConsentChannel.embedded_form: gettext("a sign-up form on another site"),
    ConsentChannel.csv_import: gettext("an import"),
    ConsentChannel.manage_page: gettext("their manage page"),
    ConsentChannel.preferences_page: gettext("the preferences page"),
    ConsentChannel.unsubscribe_page: gettext("the unsubscribe page"),
    ConsentChannel.one_click: gettext("one-click unsubscribe"),
    ConsentChannel.mailto: gettext("an email to the unsubscribe address"),
    ConsentChannel.unsubscribe_all_by_mail_link: gettext(
        "unsubscribing from all newsletters through a link in an email"
    ),
    ConsentChannel.unsubscribe_all_on_manage_page: gettext("unsubscribing from all newsletters on their manage page"),
    ConsentChannel.undo: gettext("undoing the unsubscription"),
    ConsentChannel.by_hand: gettext("staff, by hand"),
    ConsentChannel.erasure: gettext("erasing their data"),
}

SUPPRESSION_REASON_LABELS = {
    SuppressionReason.hard_bounce: gettext("hard bounce"),
    SuppressionReason.complaint: gettext("complaint"),
    SuppressionReason.manual: gettext("by hand"),
    SuppressionReason.erased: gettext("erased"),
    SuppressionReason.address_changed: gettext("address changed"),
    SuppressionReason.repeated_refusals: gettext("repeated refusals"),
}

ISSUE_STATE_LABELS = {
    IssueState.draft: gettext("draft"),
    IssueState.review: gettext("review"),
    IssueState.approved: gettext("approved"),
    IssueState.scheduled: gettext("scheduled"),
    IssueState.sending: gettext("sending"),
    IssueState.paused: gettext("paused"),
    IssueState.sent: gettext("sent"),
    IssueState.cancelled: gettext("cancelled"),
}
DELIVERY_STATE_LABELS = {
    DeliveryState.pending: gettext("pending"),
    DeliveryState.sending: gettext("sending"),
    DeliveryState.sent: gettext("sent"),
    DeliveryState.failed: gettext("failed"),
    DeliveryState.skipped: gettext("skipped"),
    DeliveryState.uncertain: gettext("uncertain"),
}

RESOLUTION_LABELS = {
    Resolution.sent: gettext("marked as sent"),
    Resolution.failed: gettext("marked as failed"),
    Resolution.resend: gettext("queued for resending"),
    Resolution.retry: gettext("queued for a retry"),
}
RESOLUTION_SOURCE_LABELS = {
    ResolutionSource.link: gettext("a click on one of its links"),
    ResolutionSource.returned_mail: gettext("a returned email"),
    ResolutionSource.bounce: gettext("a bounce"),
    ResolutionSource.policy: gettext("the newsletter's settings"),
}
"""All sources except ``staff``, who are named."""

PAUSE_REASON_LABELS = {
    PauseReason.manual: gettext("by hand"),
    PauseReason.render_error: gettext("an edition cannot be rendered"),
    PauseReason.content_rejected: gettext("the relay refuses the message"),
    PauseReason.sender_rejected: gettext("the relay refuses the sender address"),
    PauseReason.first_refused: gettext("the first deliveries were all refused"),
    PauseReason.late: gettext("it is late, and nothing has been sent"),
}

FREQUENCY_LABELS = {Frequency.each: gettext("each issue"), Frequency.monthly: gettext("once a month")}


def describe_consent_channel(channel: ConsentChannel, note: str) -> StaffText:
    """Return where a consent was given or withdrawn, with the note of an imported file."""
    label = CONSENT_CHANNEL_LABELS[channel]
    return gettext("%(label)s (“%(note)s”)", label=label, note=note) if note else label


def describe_resolution(
    resolution: Resolution, source: ResolutionSource, resolved_by: str | None, note: str | None
) -> StaffText:
    """Return how a delivery was resolved and by whom or what, such as ``marked as sent by ann: phoned``."""
    text = RESOLUTION_LABELS[resolution]
    if by := RESOLUTION_SOURCE_LABELS.get(source) or resolved_by:
        text = gettext("%(resolution)s by %(by)s", resolution=text, by=by)
    return gettext("%(where)s: %(problem)s", where=text, problem=note) if note else text


def describe_suppression(reason: SuppressionReason, note: str) -> StaffText:
    """Return why an address is suppressed, with the note."""
    label = SUPPRESSION_REASON_LABELS[reason]
    return gettext("%(label)s (%(note)s)", label=label, note=note) if note else label
