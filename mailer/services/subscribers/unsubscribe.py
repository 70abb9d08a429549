"""Unsubscribe: ending a subscription by a link, also for mail already queued, and undoing that within a day."""

from datetime import datetime

from mailer.domain.consents import UNDOABLE_BY_MAIL_LINK, ConsentChannel, ConsentKind
from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.models import Consent
from mailer.services.subscribers.in_flight import wait_for_mail_in_flight
from mailer.store import feedback, personal_data, resolution, subscribers
from mailer.store.database import Database, Session

REASONS = ("often", "interest", "never", "other")
"""Why somebody leaves, as the page asks: too often, not interesting, never asked for it, something else."""
UNSUBSCRIBE_ALL_CHANNELS = {
    LinkKind.mail: ConsentChannel.unsubscribe_all_by_mail_link,
    LinkKind.magic: ConsentChannel.unsubscribe_all_on_manage_page,
}
"""How subscriptions ended that were ended together: by undoing that, all of them come back."""
MAX_COMMENT_LENGTH = 500


def current_ref(database: Database, ref: SubscriptionRef) -> SubscriptionRef:
    """Return the reference with the subscriber who was kept, where two were merged."""
    with database.transaction() as session:
        return ref._replace(subscriber=personal_data.resolve_alias(session, ref.subscriber))


def unsubscribe(database: Database, ref: SubscriptionRef, channel: ConsentChannel, now: datetime) -> bool:
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
    wait_for_mail_in_flight(database, [newsletter], ref.subscriber)
    return True


def unsubscribe_all(database: Database, ref: SubscriptionRef, link_kind: LinkKind, now: datetime) -> bool:
    """Do the same for every newsletter that the subscriber has."""
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
        wait_for_mail_in_flight(database, [newsletter], ref.subscriber)
    return True


def resubscribe(database: Database, ref: SubscriptionRef, link_kind: LinkKind, now: datetime) -> bool:
    """Undo the unsubscribe within the time for it; True when the subscriber is subscribed after this. A magic link
    may undo any, a link of any email what such a link did."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return False
        subscription = found.subscription
        if subscription.state is SubscriptionState.active:
            return True
        if subscription.state is not SubscriptionState.unsubscribed or now - subscription.changed_at > UNDO_WINDOW:
            return False
        here = found.newsletter.id
        if (
            link_kind is LinkKind.mail
            and subscribers.last_unsubscribe_channel(session, here, ref.subscriber) not in UNDOABLE_BY_MAIL_LINK
        ):
            return False
        for newsletter in {here, *_unsubscribed_together(session, ref.subscriber, link_kind, now)}:
            if subscribers.set_state(session, newsletter, ref.subscriber, SubscriptionState.active, now):
                subscribers.add_consent(
                    session,
                    Consent(
                        subscriber_id=ref.subscriber,
                        newsletter_id=newsletter,
                        kind=ConsentKind.subscribe,
                        given=True,
                        channel=ConsentChannel.undo,
                        at=now,
                    ),
                )
        return True


def _unsubscribed_together(session: Session, subscriber: int, link_kind: LinkKind, now: datetime) -> list[int]:
    """Return the newsletters that were ended all at once within the time to undo it, and not changed since."""
    channels = (
        set(UNSUBSCRIBE_ALL_CHANNELS.values())
        if link_kind is LinkKind.magic
        else {UNSUBSCRIBE_ALL_CHANNELS[LinkKind.mail]}
    )
    subscriptions = subscribers.subscriptions(session, subscriber)
    return [
        consent.newsletter_id
        for consent in subscribers.consents(session, subscriber)
        if consent.channel in channels
        and now - consent.at <= UNDO_WINDOW
        and subscriptions[consent.newsletter_id].changed_at == consent.at
    ]


def record_reason(database: Database, ref: SubscriptionRef, reason: str, comment: str) -> bool:
    """Record why somebody unsubscribed, in their words or by a reason that the page offers; True if anything was.

    Other reasons are dropped, and a comment is cut to MAX_COMMENT_LENGTH characters.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None or found.subscription.state is not SubscriptionState.unsubscribed:
            return False
        why = {"why": reason} if reason in REASONS else {}
        comment = "".join(c for c in comment.strip() if c.isprintable() or c == "\n")[:MAX_COMMENT_LENGTH]
        answer = why | ({"words": comment} if comment else {})
        return bool(answer) and feedback.record_unsubscribe_reason(session, found.newsletter.id, ref.subscriber, answer)
