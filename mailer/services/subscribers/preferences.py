"""Reading and changing a subscriber's preferences.

The link in any email gives access to the preferences that the email itself shows, because emails are forwarded. A magic
link, sent to the subscriber's address, gives access to everything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailer.domain.consents import UNDOABLE_BY_MAIL_LINK, ConsentChannel, ConsentKind
from mailer.domain.email_addresses import masked
from mailer.domain.languages import choose_language, match_language
from mailer.domain.localized import LocalizedText
from mailer.domain.page_frame import PageFrame
from mailer.domain.preferences import (
    NotOffered,
    Preferences,
    restored,
    restricted,
    snapshot,
    with_unlisted_languages,
)
from mailer.domain.states import SubscriptionState, TrackingMode
from mailer.domain.subscription_ref import (
    MAGIC_LINK_LIFETIME,
    UNDO_WINDOW,
    LinkKind,
    SubscriptionRef,
)
from mailer.domain.time_zones import known_time_zones
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import Consent, Newsletter, Subscriber
from mailer.services.subscribers.request_limits import MAX_MAILS_PER_DAY, Requester, check_network, may_mail
from mailer.store import newsletters, rate_limits, rescheduling, resolution, subscribers, transactional
from mailer.store.database import Database, Session
from mailer.store.subscribers import SubscriptionContext, can_undo

PAUSE_WEEKS = (1, 2, 4, 8, 12)
"""The lengths of a pause that a subscriber can choose."""
NOTICE_DELAY = timedelta(minutes=2)
"""From a change through an email's link until its notice is sent. One notice covers all changes made meanwhile."""
NOTICE_INTERVAL = timedelta(minutes=20)
"""The minimum time between two notices. A notice that comes earlier is postponed."""
_NOTICE = TransactionalEmailKind.preferences_changed
_MAGIC_LINKS_PER_HOUR = 3


@dataclass(frozen=True, slots=True)
class SectionOption:
    bit: int
    title: LocalizedText
    description: LocalizedText
    followed: bool
    always_included: bool


@dataclass(frozen=True, slots=True)
class NewsletterOption:
    """One of the sender's newsletters, and whether the subscriber has it."""

    slug: str
    name: LocalizedText
    subscribed: bool
    is_current: bool
    """Whether the page is about this newsletter."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The data of a subscriber's pages.

    Only pages behind a magic link may show ``email_address``, ``newsletters`` and preferences that an email's link
    cannot change.
    """

    frame: PageFrame
    masked_address: str
    email_address: str
    preferences: Preferences
    """``paused_until`` is None once it is over."""
    languages: tuple[str, ...]
    """The offered languages that the subscriber prefers, best first. Never empty."""
    offered_languages: tuple[str, ...]
    subscribed: bool
    can_resubscribe: bool
    """Whether this kind of link can still undo the unsubscription."""
    can_undo: bool
    """Whether this kind of link can still undo the last change."""
    bounced_at: datetime | None
    """When an email came back, if nothing is sent to the address because of that."""
    sections: tuple[SectionOption, ...]
    section_names: Mapping[str, str]
    """Key → title, in the page's language or its fallback."""
    offers_tracking: bool
    """Whether the newsletter tracks subscribers who consent."""
    newsletters: tuple[NewsletterOption, ...]
    has_other_newsletters: bool
    """Whether the sender has other newsletters, subscribed or not."""


def profile(
    database: Database,
    ref: SubscriptionRef,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    link_kind: LinkKind = LinkKind.mail,
) -> Profile | None:
    """Return the data of a subscriber's pages, or None if the subscription no longer exists.

    ``preferred_languages``: the languages for the page itself. They take precedence over the subscriber's own.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        return _profile(session, context, now, preferred_languages, link_kind) if context else None


def check_magic_link(
    database: Database, created_at: datetime, subscriber: int, slug: str, now: datetime
) -> tuple[SubscriptionRef, bool] | None:
    """Return the subscription of a magic link and whether the link is still valid, or None if it does not exist."""
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        newsletter = newsletters.by_slug(session, slug)
        if reader is None or newsletter is None or created_at > now + timedelta(minutes=5):
            return None
        valid = now - created_at <= MAGIC_LINK_LIFETIME and (
            reader.address_changed_at is None or created_at >= reader.address_changed_at
        )
        return SubscriptionRef(subscriber, newsletter=newsletter.id), valid


def send_magic_link(
    database: Database,
    ref: SubscriptionRef,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    *,
    hash_mailbox: Callable[[str], bytes],
    requester: Requester,
) -> tuple[bool, Profile] | None:
    """Send a magic link to the subscriber's address, within an hourly limit and the mailbox's daily one.

    Return whether it is sent, and the subscriber's data. Return None if there is no such subscription.
    ``hash_mailbox`` hashes an address without spelling variants such as tags. Raises RateLimited.
    """
    check_network(database, requester, now)
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        page_data = _profile(session, context, now, preferred_languages, LinkKind.mail)
        mailbox_hash = hash_mailbox(context.subscriber.address)
        limit_key = b"key" + context.subscriber.address_hash
        sent = (
            page_data.subscribed
            and page_data.bounced_at is None
            and rate_limits.acquire(session, limit_key, now, timedelta(hours=1), _MAGIC_LINKS_PER_HOUR)
            and may_mail(session, mailbox_hash, now, MAX_MAILS_PER_DAY)
        )
        if sent:
            transactional.add(
                session,
                TransactionalEmailKind.magic_link,
                context.newsletter.id,
                page_data.frame.language,
                now,
                subscriber=context.subscriber.id,
            )
        return sent, page_data


def save(
    database: Database,
    ref: SubscriptionRef,
    wanted: Preferences,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    tracking_wording: str = "",
) -> Profile | None:
    """Save the preferences that this kind of link may change. They also apply to mail already queued.

    ``wanted.languages`` must be offered by the newsletter. ``tracking_wording`` is the consent text that the page
    showed. A change through an email's link is confirmed by email. Return None if there is no such subscription.
    Raises NotOffered; nothing is saved then.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        offered = context.newsletter.languages
        if not wanted.languages or not set(offered) >= set(wanted.languages):
            raise NotOffered("No language was chosen, or one that the newsletter does not offer.")
        if wanted.time_zone not in known_time_zones():
            raise NotOffered("The time zone is unknown.")
        before = _profile(session, context, now, preferred_languages, link_kind)
        current = subscribers.lock_preferences(session, context)
        languages = with_unlisted_languages(wanted.languages, current.languages, offered)
        wanted = restricted(current, replace(wanted, languages=languages), link_kind)
        _change(session, context, current, wanted, link_kind, before.frame.language, now, tracking_wording)
        return _profile(session, context, now, preferred_languages, link_kind)


def save_for(
    database: Database, slug: str, address_hash: bytes, changes: Mapping[str, Any], now: datetime
) -> tuple[Preferences, Preferences] | None:
    """Save what staff change for a person who asked them. It also applies to mail already queued.

    ``changes``: name of a field of Preferences → its new value. Return the preferences from before and after; on their
    own page the person can undo the change. Return None if the address has no active subscription.
    Raises NewsletterNotFound.
    """
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        subscriber = subscribers.by_hash(session, address_hash)
        subscription = subscribers.subscription(session, newsletter.id, subscriber.id) if subscriber else None
        if not subscriber or not subscription or subscription.state is not SubscriptionState.active:
            return None
        context = SubscriptionContext(newsletter, subscriber, subscription)
        current = subscribers.lock_preferences(session, context)
        wanted = replace(current, **changes)
        _change(session, context, current, wanted, LinkKind.staff, "", now)
        return current, wanted


def pause(
    database: Database,
    ref: SubscriptionRef,
    weeks: int,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> Profile | None:
    """Pause all mail for some weeks, also mail already queued; 0 ends a pause. Raises NotOffered."""
    if weeks and weeks not in PAUSE_WEEKS:
        raise NotOffered("A pause of this length is not offered.")
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        before = _profile(session, context, now, preferred_languages, link_kind)
        current = subscribers.lock_preferences(session, context)
        wanted = replace(current, paused_until=now + timedelta(weeks=weeks) if weeks else None)
        _change(session, context, current, wanted, link_kind, before.frame.language, now)
        return _profile(session, context, now, preferred_languages, link_kind)


def undo(
    database: Database,
    ref: SubscriptionRef,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> tuple[bool, Profile] | None:
    """Undo the last change, within the undo period. An email's link undoes only changes made through such a link.

    Return whether anything was undone, and the subscriber's data. Return None if there is no such subscription.
    """
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        current = subscribers.lock_preferences(session, context)
        done = can_undo(context.subscription, link_kind, now)
        if done:
            previous = context.subscription.previous_preferences or {}
            wanted = restored(current, previous)
            _set_preferences(session, context, current, wanted, now)
            _record_tracking_consent(session, context, current, wanted, now)
            subscribers.save_previous(context.subscription, None, now)
            withdrawn = previous["link_kind"] == LinkKind.mail and _withdraw_notice(session, context)
            if link_kind is LinkKind.mail and not withdrawn:
                _notify(session, context, wanted.languages, now)
        return done, _profile(session, context, now, preferred_languages, link_kind)


def _change(
    session: Session,
    context: SubscriptionContext,
    current: Preferences,
    wanted: Preferences,
    link_kind: LinkKind,
    language: str,
    now: datetime,
    tracking_wording: str = "",
) -> None:
    """Save ``wanted`` with what it takes to undo it, and confirm a change through an email's link by email.

    Changes confirmed in one email are undone together. ``language`` is that of the page and of ``tracking_wording``.
    """
    if wanted == current:
        return
    subscription, previous = context.subscription, context.subscription.previous_preferences
    _set_preferences(session, context, current, wanted, now)
    _record_tracking_consent(session, context, current, wanted, now, tracking_wording, language)
    by_mail_link = link_kind is LinkKind.mail
    pending = by_mail_link and transactional.lock_pending(
        session, _NOTICE, context.newsletter.id, context.subscriber.id
    )
    if not (pending and previous and previous["link_kind"] == LinkKind.mail):
        previous = snapshot(current, link_kind)
    subscribers.save_previous(subscription, previous, now)
    if by_mail_link and not pending:
        _notify(session, context, current.languages, now)


def _set_preferences(
    session: Session, context: SubscriptionContext, current: Preferences, wanted: Preferences, now: datetime
) -> None:
    subscribers.set_preferences(context, wanted)
    if (wanted.time_zone, wanted.paused_until) != (current.time_zone, current.paused_until):
        session.flush()
        rescheduling.reschedule(session, context.subscriber.id, now)


def _notify(session: Session, context: SubscriptionContext, languages: Sequence[str], now: datetime) -> None:
    """Queue an email that confirms the saved preferences, in one of the subscriber's ``languages``."""
    newsletter, subscriber = context.newsletter.id, context.subscriber.id
    language = newsletters.page_frame(context.newsletter, languages).language
    last = transactional.last_due_at(session, _NOTICE, newsletter, subscriber)
    due = max(now + NOTICE_DELAY, last + NOTICE_INTERVAL) if last else now + NOTICE_DELAY
    transactional.add(session, _NOTICE, newsletter, language, due, subscriber=subscriber)


def _withdraw_notice(session: Session, context: SubscriptionContext) -> bool:
    """Delete the pending notice of a change. Return whether there was one."""
    pending = transactional.lock_pending(session, _NOTICE, context.newsletter.id, context.subscriber.id)
    if pending:
        session.delete(pending)
    return pending is not None


def _record_tracking_consent(
    session: Session,
    context: SubscriptionContext,
    current: Preferences,
    wanted: Preferences,
    now: datetime,
    wording: str = "",
    language: str = "",
) -> None:
    if wanted.tracking is current.tracking:
        return
    subscribers.add_consent(
        session,
        Consent(
            subscriber_id=context.subscriber.id,
            newsletter_id=context.newsletter.id,
            kind=ConsentKind.tracking,
            given=wanted.tracking,
            channel=ConsentChannel.manage_page,
            wording=wording,
            language=language if wording else "",
            at=now,
        ),
    )


def _can_resubscribe(session: Session, context: SubscriptionContext, link_kind: LinkKind, now: datetime) -> bool:
    subscription = context.subscription
    if subscription.state is not SubscriptionState.unsubscribed or now - subscription.changed_at > UNDO_WINDOW:
        return False
    return (
        link_kind is LinkKind.magic
        or subscribers.last_unsubscribe_channel(session, context.newsletter.id, context.subscriber.id)
        in UNDOABLE_BY_MAIL_LINK
    )


def _profile(
    session: Session,
    context: SubscriptionContext,
    now: datetime,
    preferred_languages: Sequence[str],
    link_kind: LinkKind,
) -> Profile:
    newsletter, subscriber, subscription = context.newsletter, context.subscriber, context.subscription
    frame = newsletters.page_frame(newsletter, [*preferred_languages, *subscriber.languages])
    preferences = subscribers.preferences(context)
    paused_until = preferences.paused_until
    sections = newsletters.sections(session, newsletter.id)
    return Profile(
        frame=frame,
        masked_address=masked(subscriber.address),
        email_address=subscriber.address,
        preferences=replace(
            preferences, paused_until=paused_until.astimezone(UTC) if paused_until and paused_until > now else None
        ),
        languages=_offered_languages(newsletter, subscriber.languages),
        offered_languages=tuple(newsletter.languages),
        subscribed=subscription.state is SubscriptionState.active,
        can_resubscribe=_can_resubscribe(session, context, link_kind, now),
        can_undo=can_undo(subscription, link_kind, now),
        bounced_at=subscribers.bounced_at(session, subscriber.address_hash),
        sections=tuple(
            SectionOption(
                section.bit,
                frame.localize(section.titles),
                frame.localize(section.descriptions),
                bool(subscription.sections >> section.bit & 1),
                section.always_included,
            )
            for section in sections
            if section.offered
        ),
        section_names={section.key: frame.localize(section.titles).text for section in sections},
        offers_tracking=newsletter.tracking is TrackingMode.individual,
        newsletters=_newsletter_options(session, newsletter, subscriber, frame.language),
        has_other_newsletters=len(newsletters.list_all(session)) > 1,
    )


def _offered_languages(newsletter: Newsletter, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the newsletter's languages that match a subscriber's, best first; at least one if possible."""
    matched = dict.fromkeys(filter(None, (match_language(tag, newsletter.languages) for tag in languages)))
    if matched:
        return tuple(matched)
    choice = choose_language(languages, newsletter.languages, newsletter.fallbacks, newsletter.default_language)
    return (choice.language,) if choice else ()


def _newsletter_options(
    session: Session, current: Newsletter, subscriber: Subscriber, language: str
) -> tuple[NewsletterOption, ...]:
    """Return the public newsletters and those that the subscriber has a subscription to."""
    subscriptions = subscribers.subscriptions(session, subscriber.id)
    return tuple(
        NewsletterOption(
            row.slug,
            row.localize(row.names, language),
            row.id in subscriptions and subscriptions[row.id].state is SubscriptionState.active,
            row.id == current.id,
        )
        for row in newsletters.list_all(session)
        if row.public or row.id in subscriptions
    )
