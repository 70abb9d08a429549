"""Unsubscribing through a link, which also stops mail already queued, and undoing it within a day."""

from datetime import datetime

from mailer.domain.consents import UNDOABLE_BY_MAIL_LINK, ConsentChannel, ConsentKind
from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.models import Consent
from mailer.services.subscribers.in_flight import has_mail_in_flight, wait_for_mail_in_flight
from mailer.store import feedback, personal_data, resolution, subscribers
from mailer.store.database import Database, Session

REASONS = ("often", "interest", "never", "other")
"""The answers on the page: too many emails, no longer interested, never signed up, other."""
UNSUBSCRIBE_ALL_CHANNELS = {
    LinkKind.mail: ConsentChannel.unsubscribe_all_by_mail_link,
    LinkKind.magic: ConsentChannel.unsubscribe_all_on_manage_page,
}
"""Subscriptions ended together through these channels are also restored together."""
MAX_COMMENT_LENGTH = 500


def current_ref(database: Database, ref: SubscriptionRef) -> SubscriptionRef:
    """Return the reference with merged subscribers resolved."""
    with database.transaction() as session:
        return ref._replace(subscriber=personal_data.resolve_alias(session, ref.subscriber))


def unsubscribe(database: Database, ref: SubscriptionRef, channel: ConsentChannel, now: datetime) -> bool:
    """End the subscription that a link belongs to. Return False if there is no such subscription. Idempotent.

    No worker reserves the subscriber's deliveries after the commit, and mail in flight is waited for, up to three
    seconds.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return False
        newsletter = context.newsletter.id
        resolution.confirm_delivered(session, ref, now)
        subscribers.unsubscribe(session, newsletter, ref.issue or None, ref.subscriber, channel, now)
    wait_for_mail_in_flight(database, [newsletter], ref.subscriber)
    return True


def unsubscribe_all(database: Database, ref: SubscriptionRef, link_kind: LinkKind, now: datetime) -> bool:
    """End all subscriptions of the subscriber. Return False if the link's subscription does not exist. Idempotent."""
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return False
        resolution.confirm_delivered(session, ref, now)
        ended = [
            newsletter
            for newsletter in subscribers.subscriptions(session, ref.subscriber)
            if subscribers.unsubscribe(
                session,
                newsletter,
                (ref.issue or None) if newsletter == context.newsletter.id else None,
                ref.subscriber,
                UNSUBSCRIBE_ALL_CHANNELS[link_kind],
                now,
            )
        ]
    for newsletter in ended:
        wait_for_mail_in_flight(database, [newsletter], ref.subscriber)
    return True


def is_mail_in_flight(database: Database, subscriber: int) -> bool:
    """Return whether a worker is sending mail to a subscriber now, which can no longer be stopped."""
    with database.transaction() as session:
        return has_mail_in_flight(session, list(subscribers.subscriptions(session, subscriber)), subscriber)


def resubscribe(database: Database, ref: SubscriptionRef, link_kind: LinkKind, now: datetime) -> bool:
    """Undo an unsubscription, within the undo period. Return whether the subscriber is subscribed now.

    An email's link undoes only what such a link did; a magic link undoes any unsubscription.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return False
        subscription = context.subscription
        if subscription.state is SubscriptionState.active:
            return True
        if subscription.state is not SubscriptionState.unsubscribed or now - subscription.changed_at > UNDO_WINDOW:
            return False
        here = context.newsletter.id
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
    """Return the newsletters unsubscribed together within the undo period and not changed since."""
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
    """Record why a subscriber unsubscribed. Return whether anything was recorded.

    A reason that is not in REASONS is ignored. A comment is cut to MAX_COMMENT_LENGTH characters.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None or context.subscription.state is not SubscriptionState.unsubscribed:
            return False
        comment = "".join(c for c in comment.strip() if c.isprintable() or c == "\n")[:MAX_COMMENT_LENGTH]
        answer = ({"reason": reason} if reason in REASONS else {}) | ({"comment": comment} if comment else {})
        return bool(answer) and feedback.record_unsubscribe_reason(
            session, context.newsletter.id, ref.subscriber, answer
        )
