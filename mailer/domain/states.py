"""States of issues, translations, subscriptions, batches and deliveries, and the transitions of issues."""

from collections.abc import Sequence
from enum import StrEnum

from mailer.domain.errors import UserError


class IssueState(StrEnum):
    draft = "draft"
    review = "review"
    approved = "approved"
    scheduled = "scheduled"
    sending = "sending"
    paused = "paused"
    sent = "sent"
    cancelled = "cancelled"


class TranslationStatus(StrEnum):
    missing = "missing"
    draft = "draft"
    ready = "ready"


class TextSubject(StrEnum):
    """What a text is of. Each has one text a language."""

    front_matter = "front_matter"
    story = "story"
    contact = "contact"


class VersionKind(StrEnum):
    """How a version of a text came about."""

    saved = "saved"
    imported = "imported"
    restored = "restored"
    """An earlier version, or a removed story, was put back."""
    removed = "removed"
    """The text was removed. This version has no content."""
    set_aside = "set_aside"
    """What somebody wrote that could not become the text. It is kept beside it."""
    contributed = "contributed"
    """What somebody wrote who was asked for the text and has no account. A colleague takes it in."""


BESIDE_THE_TEXT = (VersionKind.set_aside, VersionKind.contributed)
"""Kinds of versions that never were the text of an issue."""


class MissingTranslationPolicy(StrEnum):
    """How to handle a story that has no text in the edition's language."""

    fallback = "fallback"
    omit = "omit"
    block = "block"


class TrackingMode(StrEnum):
    """What is recorded about opened emails and followed links."""

    none = "none"
    aggregate = "aggregate"
    """Counts per link and edition, without persons."""
    individual = "individual"
    """Also per person, for those who gave their consent."""


class UncertainPolicy(StrEnum):
    """How to handle an uncertain delivery."""

    keep = "keep"
    """A person resolves it."""
    resend = "resend"


class SubscriptionState(StrEnum):
    pending = "pending"
    """Requested, not yet confirmed."""
    active = "active"
    unsubscribed = "unsubscribed"


class ListedState(StrEnum):
    """What keeps mail from a subscriber, in lists."""

    active = "active"
    """They get mail."""
    paused = "paused"
    unsubscribed = "unsubscribed"
    pending = "pending"
    suppressed = "suppressed"
    """Whatever the state of the subscription."""


class ImportState(StrEnum):
    """How far an uploaded list of subscribers has come."""

    reading = "reading"
    """A worker looks it over, or will."""
    ready = "ready"
    """It was looked over, and nothing is written before somebody says so."""
    importing = "importing"
    """A worker imports it, or will."""
    done = "done"
    refused = "refused"
    """It cannot be imported."""
    cancelled = "cancelled"
    """What was imported until then is kept."""


class Frequency(StrEnum):
    each = "each"
    """Every issue."""
    monthly = "monthly"
    """One email a month with that month's issues."""


class BatchState(StrEnum):
    planned = "planned"
    """A range of subscribers that has no deliveries yet."""
    ready = "ready"
    """Has deliveries that are or will be due."""
    sending = "sending"
    """Claimed by a worker, until its lease ends."""
    done = "done"


class DeliveryState(StrEnum):
    pending = "pending"
    sending = "sending"
    sent = "sent"
    failed = "failed"
    skipped = "skipped"
    uncertain = "uncertain"
    """The final dot was sent, but no reply was received. Resolved by later evidence, and never silently resent."""


class SkipReason(StrEnum):
    """Why a candidate is skipped, in the order in which the reasons are tested; the first that applies is recorded.

    The conditions are in mailer.store.eligibility, the texts in mailer.domain.labels.
    """

    unsubscribed = "unsubscribed"
    unconfirmed = "unconfirmed"
    suppressed = "suppressed"
    paused = "paused"
    """The subscriber has paused the newsletter. A digest waits for the end of the pause instead."""
    digest_only = "digest_only"
    """The subscriber gets the issue in their next digest."""
    no_language = "no_language"
    nothing_in_sections = "nothing_in_sections"
    cancelled = "cancelled"


class PauseReason(StrEnum):
    manual = "manual"
    render_error = "render_error"
    """An edition cannot be rendered. Only a change of content ends this."""
    content_rejected = "content_rejected"
    """The relay refuses the message itself."""
    sender_rejected = "sender_rejected"
    """The relay refuses our sender address."""
    first_refused = "first_refused"
    """The first deliveries were all refused for good, whatever the replies."""
    late = "late"
    """Nothing has been sent, though it was due hours ago. Somebody decides whether it is sent now."""


class StoryChangeKind(StrEnum):
    """A change of an issue's plan that can be undone."""

    removed = "removed"
    moved = "moved"
    held_over = "held_over"
    """A story was moved into another draft."""
    section_order = "section_order"
    picture = "picture"
    """A story got another picture, or none."""


class IssueEventKind(StrEnum):
    created = "created"
    imported = "imported"
    written = "written"
    """A text was written in the browser. The saves of one writer within minutes are one event."""
    language_begun = "language_begun"
    """Front matter and texts were begun as drafts in a language."""
    language_removed = "language_removed"
    """The drafts of a language in which nothing was written were removed."""
    texts_ready = "texts_ready"
    """The drafts of a language were marked as ready."""
    story_added = "story_added"
    story_copied = "story_copied"
    """A story of another issue was used again."""
    story_removed = "story_removed"
    story_moved = "story_moved"
    story_held_over = "story_held_over"
    """It was moved into another draft, or came from one."""
    story_restored = "story_restored"
    """Its removal or its move was undone."""
    section_order = "section_order"
    """The order of sections was changed, or changed back."""
    contact_changed = "contact_changed"
    """A contact note was added, written, moved or removed, or its removal was undone."""
    header_image = "header_image"
    story_picture = "story_picture"
    policy = "policy"
    """The policy for missing translations was changed."""
    tested = "tested"
    """A test was sent to somebody."""
    digest = "digest"
    approved = "approved"
    approval_withdrawn = "approval_withdrawn"
    """A language was changed after its approval."""
    reopened = "reopened"
    scheduled = "scheduled"
    unscheduled = "unscheduled"
    late = "late"
    """Its time passed hours ago, so it waits until somebody sends it."""
    sending = "sending"
    seed_list = "seed_list"
    """It went to the addresses of the seed list."""
    limited = "limited"
    """The rate limit was changed or removed."""
    paused = "paused"
    resumed = "resumed"
    retried = "retried"
    resolved = "resolved"
    """Uncertain deliveries were resolved."""
    cancelled = "cancelled"
    sent = "sent"


# Who makes each transition, and in which function of mailer.services:
#
# draft, review       → approved   coordinator  issues.approve.approve
# review, approved    → draft      coordinator  issues.schedule.reopen
# approved            → scheduled  coordinator  issues.schedule.schedule, schedule_local_time
# scheduled           → approved   coordinator  issues.schedule.unschedule
# scheduled           → sending    scheduler    delivery.dispatch.start_due: its time has come, not too long ago
# sending             → paused     coordinator  issues.schedule.pause
# sending             → paused     scheduler    delivery.dispatch.pause_late: nothing was sent for hours
# sending             → paused     worker       delivery.send: the relay refuses the message or the sender
# sending             → paused     worker       issues.compile.render_stale: an edition cannot be rendered
# paused              → sending    coordinator  issues.schedule.resume
# sending             → sent       scheduler    delivery.dispatch.finish_done: every delivery is finished
# sent                → sending    ops          delivery.resolve.retry, resolve
# draft to paused     → cancelled  coordinator  issues.schedule.cancel
_TRANSITIONS: dict[IssueState, frozenset[IssueState]] = {
    IssueState.draft: frozenset({IssueState.review, IssueState.approved, IssueState.cancelled}),
    IssueState.review: frozenset({IssueState.draft, IssueState.approved, IssueState.cancelled}),
    IssueState.approved: frozenset({IssueState.draft, IssueState.scheduled, IssueState.cancelled}),
    IssueState.scheduled: frozenset({IssueState.approved, IssueState.sending, IssueState.cancelled}),
    IssueState.sending: frozenset({IssueState.paused, IssueState.sent, IssueState.cancelled}),
    IssueState.paused: frozenset({IssueState.sending, IssueState.cancelled}),
    IssueState.sent: frozenset({IssueState.sending}),  # "retry what failed" opens it again
    IssueState.cancelled: frozenset(),
}


class IssueAction(StrEnum):
    """What a coordinator can do with an issue when its state does not allow something else."""

    approve = "approve"
    unschedule = "unschedule"
    reopen = "reopen"
    cancel = "cancel"


class InvalidIssueState(UserError, ValueError):
    """The issue is not in a state that allows this. ``remedies`` are the actions to take first, in order."""

    def __init__(self, message: str, issue: int, remedies: Sequence[IssueAction] = ()) -> None:
        super().__init__(message)
        self.issue = issue
        self.remedies = remedies


def check_transition(issue: int, current: IssueState, target: IssueState) -> None:
    """Raise InvalidIssueState, with a message for a coordinator, if this transition is not allowed."""
    if target in _TRANSITIONS[current]:
        return
    unapproved = target is IssueState.scheduled and current in EDITABLE_STATES
    raise InvalidIssueState(
        f"Issue {issue} is {current.value}; it cannot become {target.value}.",
        issue,
        (IssueAction.approve,) if unapproved else (),
    )


EDITABLE_STATES = frozenset({IssueState.draft, IssueState.review})
_BACK_TO_DRAFT = {
    IssueState.approved: (IssueAction.reopen,),
    IssueState.scheduled: (IssueAction.unschedule, IssueAction.reopen),
    IssueState.sending: (IssueAction.cancel,),
    IssueState.paused: (IssueAction.cancel,),
}
"""What to do about an issue in each state whose text is to be changed."""


def check_editable(issue: int, state: IssueState, consequence: str) -> None:
    """Raise InvalidIssueState if the issue is no draft; ``consequence`` completes the message."""
    if state not in EDITABLE_STATES:
        message = f"Issue {issue} is {state.value}; {consequence}."
        raise InvalidIssueState(message, issue, _BACK_TO_DRAFT.get(state, ()))
