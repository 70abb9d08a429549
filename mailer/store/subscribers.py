"""Subscribers, subscriptions, consents and suppressions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.feedback import FeedbackKind
from mailer.domain.preferences import FIELDS, PreferenceField, Preferences
from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.domain.suppressions import BOUNCE_REASONS, SuppressionReason, SuppressionSource
from mailer.models import (
    Consent,
    Feedback,
    Issue,
    Newsletter,
    Subscriber,
    Subscription,
    Suppression,
)


def by_hash(session: Session, address_hash: bytes) -> Subscriber | None:
    return session.scalar(select(Subscriber).where(Subscriber.address_hash == address_hash))


def by_id(session: Session, subscriber: int) -> Subscriber | None:
    return session.get(Subscriber, subscriber)


def subscription(session: Session, newsletter: int, subscriber: int) -> Subscription | None:
    return session.get(Subscription, (newsletter, subscriber))


def get_or_create(session: Session, address: str, address_hash: bytes, languages: Sequence[str]) -> Subscriber:
    """Create a subscriber, or return the one with this address that another transaction has just created."""
    values = {"address": address, "address_hash": address_hash, "languages": list(languages)}
    session.execute(insert(Subscriber).values(values).on_conflict_do_nothing())
    return session.scalars(select(Subscriber).where(Subscriber.address_hash == address_hash)).one()


def lock(session: Session, subscriber: int) -> None:
    """Keep a subscriber from being erased until the transaction ends. Raises NoResultFound.

    Call this before inserting a subscription, which has no foreign key: checking one would take more time than the
    rest of the insert.
    """
    query = select(Subscriber.id).where(Subscriber.id == subscriber)
    session.execute(query.with_for_update(read=True, key_share=True)).one()


def count_by_sections(session: Session, newsletter: int) -> dict[int, int]:
    """Return mask of followed sections → number of active subscribers."""
    query = select(Subscription.sections, func.count().label("number")).where(
        Subscription.newsletter_id == newsletter, Subscription.state == SubscriptionState.active
    )
    return {row.sections: row.number for row in session.execute(query.group_by(Subscription.sections))}


def subscribe(session: Session, newsletter: int, subscriber: int, sections: int) -> Subscription:
    """Create an active subscription, or return the one that another transaction has just created."""
    lock(session, subscriber)
    values = {"newsletter_id": newsletter, "subscriber_id": subscriber, "sections": sections}
    query = insert(Subscription).values(values | {"state": SubscriptionState.active})
    session.execute(query.on_conflict_do_nothing())
    return session.get_one(Subscription, (newsletter, subscriber))


@dataclass(frozen=True, slots=True)
class SubscriptionContext:
    """The rows that a link in a mail refers to."""

    newsletter: Newsletter
    subscriber: Subscriber
    subscription: Subscription


def resolve(session: Session, ref: SubscriptionRef) -> SubscriptionContext | None:
    """Return the rows a link refers to, or None if the subscriber or their subscription no longer exists."""
    newsletter = ref.newsletter
    if ref.issue:
        newsletter = session.scalar(select(Issue.newsletter_id).where(Issue.id == ref.issue)) or 0
    current = subscription(session, newsletter, ref.subscriber)
    subscriber = by_id(session, ref.subscriber)
    if current is None or subscriber is None:
        return None
    return SubscriptionContext(session.get_one(Newsletter, newsletter), subscriber, current)


def subscriptions(session: Session, subscriber: int) -> dict[int, Subscription]:
    """Return newsletter → subscription."""
    query = select(Subscription).where(Subscription.subscriber_id == subscriber)
    return {row.newsletter_id: row for row in session.scalars(query)}


def time_zones(session: Session, newsletter: int, among: Sequence[str]) -> list[str]:
    """Return those of some time zones in which a newsletter has active subscribers, sorted."""
    query = (
        select(Subscriber.time_zone)
        .join(Subscription, Subscription.subscriber_id == Subscriber.id)
        .where(Subscription.newsletter_id == newsletter, Subscription.state == SubscriptionState.active)
        .where(Subscriber.time_zone.in_(among))
    )
    return list(session.scalars(query.distinct().order_by(Subscriber.time_zone))) if among else []


def preferences(context: SubscriptionContext) -> Preferences:
    """Return a subscriber's preferences for a newsletter."""
    values = {field.name: getattr(_row_of(context, field), field.name) for field in FIELDS}
    values |= {
        "languages": tuple(context.subscriber.languages),
        "frequency": context.subscription.frequency,
    }
    return Preferences(**values)


def lock_preferences(session: Session, context: SubscriptionContext) -> Preferences:
    """Lock a subscriber's preferences against other changes until the transaction ends; return them."""
    session.refresh(context.subscription, with_for_update=True)
    session.refresh(context.subscriber)
    return preferences(context)


def set_preferences(context: SubscriptionContext, wanted: Preferences) -> None:
    for field in FIELDS:
        value = getattr(wanted, field.name)
        setattr(_row_of(context, field), field.name, list(value) if isinstance(value, tuple) else value)


def _row_of(context: SubscriptionContext, field: PreferenceField) -> Subscriber | Subscription:
    return context.subscription if field.per_newsletter else context.subscriber


def unsubscribe(
    session: Session,
    newsletter: int,
    issue: int | None,
    subscriber: int,
    channel: ConsentChannel,
    now: datetime,
) -> bool:
    """End a subscription, and record the feedback and the withdrawn consent. Return whether this changed anything."""
    if not set_state(session, newsletter, subscriber, SubscriptionState.unsubscribed, now):
        return False
    session.add(
        Feedback(
            kind=FeedbackKind.unsubscribe,
            at=now,
            newsletter_id=newsletter,
            issue_id=issue,
            subscriber_id=subscriber,
            detail={"channel": channel},
        )
    )
    session.add(
        Consent(
            subscriber_id=subscriber,
            newsletter_id=newsletter,
            kind=ConsentKind.subscribe,
            given=False,
            channel=channel,
            at=now,
        )
    )
    return True


def last_unsubscribe_channel(session: Session, newsletter: int, subscriber: int) -> ConsentChannel | None:
    """Return the channel of the latest unsubscribe, or None if there is no record of one."""
    query = select(Consent.channel).where(
        Consent.subscriber_id == subscriber,
        Consent.newsletter_id == newsletter,
        Consent.kind == ConsentKind.subscribe,
        Consent.given.is_(False),
    )
    return session.scalar(query.order_by(Consent.at.desc(), Consent.id.desc()).limit(1))


def save_previous(subscription: Subscription, previous_preferences: dict[str, Any] | None, now: datetime) -> None:
    """Save the preferences that a change replaced, for undo; None clears them."""
    subscription.previous_preferences, subscription.previous_at = (
        previous_preferences,
        now if previous_preferences else None,
    )


def can_undo(subscription: Subscription, link_kind: LinkKind, now: datetime) -> bool:
    """Return whether this kind of link may undo the last change now."""
    previous, at = subscription.previous_preferences, subscription.previous_at
    return bool(
        previous
        and at
        and now - at <= UNDO_WINDOW
        and (link_kind is LinkKind.magic or previous["link_kind"] == LinkKind.mail)
    )


def set_state(session: Session, newsletter: int, subscriber: int, state: SubscriptionState, now: datetime) -> bool:
    """Set the state of a subscription; return whether this changed anything."""
    query = (
        update(Subscription)
        .where(
            Subscription.newsletter_id == newsletter,
            Subscription.subscriber_id == subscriber,
            Subscription.state != state,
        )
        .values(state=state, changed_at=now)
    )
    return session.connection().execute(query).rowcount > 0


def suppression(session: Session, address_hash: bytes) -> Suppression | None:
    return session.get(Suppression, address_hash)


def bounced_at(session: Session, address_hash: bytes) -> datetime | None:
    """Return when an address was suppressed because an email bounced, or None if it is not."""
    row = suppression(session, address_hash)
    if row is None or row.source is not SuppressionSource.system or row.reason not in BOUNCE_REASONS:
        return None
    return row.created_at.astimezone(UTC)


def suppress(
    session: Session,
    address_hash: bytes,
    reason: SuppressionReason,
    source: SuppressionSource,
    note: str = "",
) -> bool:
    """Suppress an address; return whether it was not suppressed before.

    An existing suppression keeps its reason, unless staff now replace one that was not set by staff.
    """
    values = {"reason": reason, "source": source, "note": note}
    query = insert(Suppression).values(address_hash=address_hash, **values).on_conflict_do_nothing()
    # SQLAlchemy gives no row count for an INSERT.
    added = session.scalar(query.returning(Suppression.address_hash)) is not None
    if not added and source is SuppressionSource.staff:
        session.execute(
            update(Suppression)
            .where(Suppression.address_hash == address_hash, Suppression.source != source)
            .values(values)
        )
    return added


def lift_suppression(session: Session, address_hash: bytes) -> bool:
    """Delete the suppression of an address; return whether there was one."""
    query = delete(Suppression).where(Suppression.address_hash == address_hash)
    return session.connection().execute(query).rowcount > 0


def add_consent(session: Session, consent: Consent) -> None:
    session.add(consent)


CONSENTS = """
SELECT newsletter_id, kind, given, channel, note, wording, language, requested_at, at, id
FROM consent WHERE subscriber_id = :subscriber
UNION ALL
SELECT newsletter_id, 'subscribe', true, 'csv_import', consent_source, '', consent_language, NULL, consent_at, 0
FROM subscription WHERE subscriber_id = :subscriber AND consent_at IS NOT NULL
"""
"""Every consent that a subscriber gave or withdrew, including the evidence kept in imported subscriptions."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A consent given or withdrawn: see models.Consent."""

    newsletter_id: int
    kind: ConsentKind
    given: bool
    channel: ConsentChannel
    note: str
    wording: str
    language: str
    requested_at: datetime | None
    at: datetime


def consents(session: Session, subscriber: int) -> list[ConsentRecord]:
    """Return a subscriber's consents and withdrawals in chronological order."""
    query = f"SELECT * FROM ({CONSENTS}) c ORDER BY at, id"
    return [
        ConsentRecord(newsletter, ConsentKind(kind), given, ConsentChannel(channel), *rest)
        for newsletter, kind, given, channel, *rest, _ in session.execute(text(query), {"subscriber": subscriber})
    ]
