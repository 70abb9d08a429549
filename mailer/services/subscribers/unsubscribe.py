"""Leave: ending a subscription by a link, also for mail that is already queued, and coming back within a day."""

import time
from datetime import datetime

from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import UNDO_WINDOW, UNDOABLE_BY_MAIL_LINK, SubscriptionRef
from mailer.models import Consent
from mailer.store import batches, deliveries, feedback, personal_data, resolution, subscribers
from mailer.store.database import Database, Session

REASONS = ("often", "interest", "never", "other")
"""Why somebody leaves, as the page asks: too often, not interesting, never asked for it, something else."""
UNSUBSCRIBE_ALL_CHANNELS = {"mail": "all newsletters", "key": "all newsletters, own page"}
"""How those were ended that were ended together, by a link of any mail or by the reader's own page: they come
back together, too."""
MAX_COMMENT_LENGTH = 500
_MAX_WAIT_SECONDS = 10.0
"""Seconds that leaving waits for a message that is with the relay at this moment."""


def current_ref(database: Database, ref: SubscriptionRef) -> SubscriptionRef:
    """A tie as it is now: that of whom its reader was brought together with."""
    with database.transaction() as session:
        return ref._replace(subscriber=personal_data.resolve_alias(session, ref.subscriber))


def unsubscribe(database: Database, ref: SubscriptionRef, channel: str, now: datetime) -> bool:
    """End the subscription that a link belongs to.

    When this returns, nothing more goes out: no worker takes the reader's deliveries from the commit on, and
    a message that is with the relay at that moment is waited for. True when the reader is known; twice is
    the same as once.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return False
        newsletter = found.newsletter.id
        resolution.confirm_delivered(session, ref, now)
        subscribers.unsubscribe(session, newsletter, ref.issue or None, ref.subscriber, channel, now)
    wait_for_in_flight(database, newsletter, ref.subscriber)
    return True


def unsubscribe_all(database: Database, ref: SubscriptionRef, link_kind: str, now: datetime) -> bool:
    """The same for every newsletter that the reader has. ``by``: ``mail`` or ``key``, as in come_back."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return False
        resolution.confirm_delivered(session, ref, now)
        ended = [
            newsletter
            for newsletter in subscribers.subscriptions(session, ref.subscriber)
            if subscribers.unsubscribe(
                session,
                newsletter,
                (ref.issue or None) if newsletter == found.newsletter.id else None,
                ref.subscriber,
                UNSUBSCRIBE_ALL_CHANNELS[link_kind],
                now,
            )
        ]
    for newsletter in ended:
        wait_for_in_flight(database, newsletter, ref.subscriber)
    return True


def resubscribe(database: Database, ref: SubscriptionRef, link_kind: str, now: datetime) -> bool:
    """Take leaving back within the time for it; True when the reader is subscribed after this. ``by``: ``key``
    may undo any, ``mail`` what a link of any mail has done."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return False
        subscription = found.subscription
        if subscription.state is SubscriptionState.active:
            return True
        if (
            subscription.state is not SubscriptionState.unsubscribed
            or now - subscription.changed_at > UNDO_WINDOW
        ):
            return False
        here = found.newsletter.id
        if (
            link_kind == "mail"
            and subscribers.last_unsubscribe_channel(session, here, ref.subscriber)
            not in UNDOABLE_BY_MAIL_LINK
        ):
            return False
        for newsletter in {here, *_unsubscribed_together(session, ref.subscriber, link_kind, now)}:
            if subscribers.set_state(session, newsletter, ref.subscriber, SubscriptionState.active, now):
                subscribers.add_consent(
                    session,
                    Consent(
                        subscriber_id=ref.subscriber,
                        newsletter_id=newsletter,
                        kind="subscribe",
                        given=True,
                        channel="undo on the unsubscribe page",
                        at=now,
                    ),
                )
        return True


def _unsubscribed_together(session: Session, subscriber: int, link_kind: str, now: datetime) -> list[int]:
    """The newsletters that were left all at once within the time for taking it back, and not touched since."""
    how = set(UNSUBSCRIBE_ALL_CHANNELS.values()) if link_kind == "key" else {UNSUBSCRIBE_ALL_CHANNELS["mail"]}
    ties = subscribers.subscriptions(session, subscriber)
    return [
        consent.newsletter_id
        for consent in subscribers.consents(session, subscriber)
        if consent.channel in how
        and now - consent.at <= UNDO_WINDOW
        and ties[consent.newsletter_id].changed_at == consent.at
    ]


def record_reason(database: Database, ref: SubscriptionRef, reason: str, comment: str) -> bool:
    """Note why a reader has left, if they care to tell; True when something was noted.

    A reason that the page does not offer is dropped, and more than LONGEST_WORDS characters are cut.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None or found.subscription.state is not SubscriptionState.unsubscribed:
            return False
        why = {"why": reason} if reason in REASONS else {}
        said = "".join(c for c in comment.strip() if c.isprintable() or c == "\n")[:MAX_COMMENT_LENGTH]
        told = why | ({"words": said} if said else {})
        return bool(told) and feedback.record_unsubscribe_reason(
            session, found.newsletter.id, ref.subscriber, told
        )


def wait_for_in_flight(database: Database, newsletter: int, subscriber: int) -> bool:
    """Wait until no worker has mail for a reader in hand; False when that takes too long."""
    until = time.monotonic() + _MAX_WAIT_SECONDS
    while True:
        with database.transaction() as session:
            for issue in batches.issues_with_unfinished_batch(session, newsletter, subscriber):
                # Whoever is taking deliveries holds the batch: once it is ours, their taking is committed.
                batches.lock_for_subscriber(session, issue, subscriber)
            flying = deliveries.issues_in_flight(session, subscriber, newsletter)
        if not flying or time.monotonic() > until:
            return not flying
        time.sleep(0.05)
