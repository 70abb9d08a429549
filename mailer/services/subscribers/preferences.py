"""What a subscriber chooses by a link: of any email the choices that the email itself shows, else everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mailer.domain.consents import UNDOABLE_BY_MAIL_LINK, ConsentChannel, ConsentKind
from mailer.domain.email_addresses import masked
from mailer.domain.languages import choose_language, match_language
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.page_frame import PageFrame
from mailer.domain.preferences import (
    NotOffered,
    Preferences,
    restored,
    restricted,
    snapshot,
    with_unlisted_languages,
)
from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import (
    MAGIC_LINK_LIFETIME,
    UNDO_WINDOW,
    LinkKind,
    SubscriptionRef,
)
from mailer.domain.time_zones import is_known_time_zone
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import Consent, Newsletter, Subscriber
from mailer.store import newsletters, rate_limits, resolution, subscribers, transactional
from mailer.store.database import Database, Session
from mailer.store.subscribers import SubscriptionContext, can_undo

PAUSE_WEEKS = (1, 2, 4, 8, 12)
"""Weeks that a subscriber can pause for."""
NOTICE_DELAY = timedelta(minutes=2)
"""After a change by a link of any email, until it is confirmed by email: what is changed meanwhile goes into one."""
NOTICE_INTERVAL = timedelta(minutes=20)
"""Between two such emails, so at most three an hour. A change in between waits, and is announced all the same."""
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
    """It is the one that the page is about."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the pages of a subscriber show. ``email_address``, ``newsletters`` and what a link of any email may not
    change are for pages behind a link that was sent to the address itself: emails are forwarded."""

    frame: PageFrame
    masked_address: str
    email_address: str
    preferences: Preferences
    """``paused_until`` is None once it is over."""
    languages: tuple[str, ...]
    """Those of ``offered_languages`` that the subscriber prefers, best first; never empty."""
    offered_languages: tuple[str, ...]
    subscribed: bool
    can_resubscribe: bool
    """Unsubscribing can still be undone by the kind of link that leads here."""
    can_undo: bool
    """The last change can still be undone by it."""
    sections: tuple[SectionOption, ...]
    section_names: Mapping[str, str]
    """Key → title, in the page's language or the nearest."""
    offers_tracking: bool
    """The newsletter would track subscribers who agree."""
    newsletters: tuple[NewsletterOption, ...]
    has_other_newsletters: bool
    """The sender has more than this one, whether the subscriber has them or not."""


def profile(
    database: Database,
    ref: SubscriptionRef,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    link_kind: LinkKind = LinkKind.mail,
) -> Profile | None:
    """Return the subscriber whom a link belongs to; None when there is no such subscription any more.

    ``preferred_languages``: for the page itself, before the subscriber's own.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        return _profile(session, found, now, preferred_languages, link_kind) if found else None


def check_magic_link(
    database: Database, created_at: datetime, subscriber: int, slug: str, now: datetime
) -> tuple[SubscriptionRef, bool] | None:
    """Return where a magic link leads, and whether it is still valid; None for nowhere."""
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
    database: Database, ref: SubscriptionRef, now: datetime, preferred_languages: Sequence[str] = ()
) -> tuple[bool, Profile] | None:
    """Have the magic link sent to the subscriber's address, a few times an hour at most.

    Returns whether it is sent this time, and the subscriber; None for no such subscriber.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        shown = _profile(session, found, now, preferred_languages, LinkKind.mail)
        who = b"key" + found.subscriber.address_hash
        sent = shown.subscribed and rate_limits.hit(session, who, now, timedelta(hours=1)) <= _MAGIC_LINKS_PER_HOUR
        if sent:
            transactional.add(
                session,
                TransactionalEmailKind.magic_link,
                found.newsletter.id,
                shown.frame.language,
                now,
                subscriber=found.subscriber.id,
            )
        return sent, shown


def save(
    database: Database,
    ref: SubscriptionRef,
    wanted: Preferences,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    tracking_wording: str = "",
) -> Profile | None:
    """Store a subscriber's choices, as far as the kind of link may change them; also for mail already queued.

    ``wanted.languages``: of those that the newsletter offers. ``tracking_wording``: what the page said beside
    the box for tracking. A change by a link of any email is confirmed to the address. Returns None when there is no
    such subscriber. Raises NotOffered, and stores nothing then.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        offered = found.newsletter.languages
        if not wanted.languages or not set(offered) >= set(wanted.languages):
            raise NotOffered("A choice names no language, or one that the newsletter does not have.")
        if not is_known_time_zone(wanted.time_zone):
            raise NotOffered("A choice names no time zone.")
        before = _profile(session, found, now, preferred_languages, link_kind)
        current = subscribers.lock_preferences(session, found)
        languages = with_unlisted_languages(wanted.languages, current.languages, offered)
        wanted = restricted(current, replace(wanted, languages=languages), link_kind)
        _change(session, found, current, wanted, link_kind, before.frame.language, now, tracking_wording)
        return _profile(session, found, now, preferred_languages, link_kind)


def pause(
    database: Database,
    ref: SubscriptionRef,
    weeks: int,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> Profile | None:
    """Send nothing for some weeks, not even mail already queued; 0 ends a pause. Raises NotOffered."""
    if weeks and weeks not in PAUSE_WEEKS:
        raise NotOffered("A pause is not that long.")
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        before = _profile(session, found, now, preferred_languages, link_kind)
        current = subscribers.lock_preferences(session, found)
        wanted = replace(current, paused_until=now + timedelta(weeks=weeks) if weeks else None)
        _change(session, found, current, wanted, link_kind, before.frame.language, now)
        return _profile(session, found, now, preferred_languages, link_kind)


def undo(
    database: Database,
    ref: SubscriptionRef,
    link_kind: LinkKind,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> tuple[bool, Profile] | None:
    """Undo the last change within the time for it: by a magic link any, by another link what such a link did.

    Returns whether there was something to undo, and the subscriber; None for no such subscriber.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        current = subscribers.lock_preferences(session, found)
        done = can_undo(found.subscription, link_kind, now)
        if done:
            previous = found.subscription.previous_preferences or {}
            wanted = restored(current, previous)
            subscribers.set_preferences(found, wanted)
            _record_tracking_consent(session, found, current, wanted, now)
            subscribers.save_previous(found.subscription, None, now)
            withdrawn = previous["link_kind"] == LinkKind.mail and _withdraw_notice(session, found)
            if link_kind is LinkKind.mail and not withdrawn:
                _notify(session, found, wanted.languages, now)
        return done, _profile(session, found, now, preferred_languages, link_kind)


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
    """Store ``wanted`` so that it can be undone, and announce it where the link may have been forwarded.

    Changes that are announced in one email are undone together. ``language``: of the page and ``tracking_wording``.
    """
    if wanted == current:
        return
    subscription, previous = context.subscription, context.subscription.previous_preferences
    subscribers.set_preferences(context, wanted)
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


def _notify(session: Session, context: SubscriptionContext, languages: Sequence[str], now: datetime) -> None:
    """Have the subscriber told by email what is stored now. ``languages``: theirs, whatever page others asked for."""
    newsletter, subscriber = context.newsletter.id, context.subscriber.id
    language = newsletters.page_frame(context.newsletter, languages).language
    last = transactional.last_due_at(session, _NOTICE, newsletter, subscriber)
    due = max(now + NOTICE_DELAY, last + NOTICE_INTERVAL) if last else now + NOTICE_DELAY
    transactional.add(session, _NOTICE, newsletter, language, due, subscriber=subscriber)


def _withdraw_notice(session: Session, context: SubscriptionContext) -> bool:
    """Return True when a change was not announced yet, and need not be any more."""
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
    newsletter, reader, subscription = context.newsletter, context.subscriber, context.subscription
    frame = newsletters.page_frame(newsletter, [*preferred_languages, *reader.languages])
    preferences = subscribers.preferences(context)
    until = preferences.paused_until
    known = newsletters.sections(session, newsletter.id)
    return Profile(
        frame=frame,
        masked_address=masked(reader.address),
        email_address=reader.address,
        preferences=replace(preferences, paused_until=until.astimezone(UTC) if until and until > now else None),
        languages=_offered_languages(newsletter, reader.languages),
        offered_languages=tuple(newsletter.languages),
        subscribed=subscription.state is SubscriptionState.active,
        can_resubscribe=_can_resubscribe(session, context, link_kind, now),
        can_undo=can_undo(subscription, link_kind, now),
        sections=tuple(
            SectionOption(
                section.bit,
                frame.localize(section.titles),
                frame.localize(section.descriptions),
                bool(subscription.sections >> section.bit & 1),
                section.always_included,
            )
            for section in known
        ),
        section_names={section.key: frame.localize(section.titles).text for section in known},
        offers_tracking=newsletter.tracking == "individual",
        newsletters=_newsletter_options(session, newsletter, reader, frame.language),
        has_other_newsletters=len(newsletters.list_all(session)) > 1,
    )


def _offered_languages(newsletter: Newsletter, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the newsletter's languages that somebody with this list prefers, best first; at least one."""
    matched = dict.fromkeys(filter(None, (match_language(tag, newsletter.languages) for tag in languages)))
    if matched:
        return tuple(matched)
    found = choose_language(languages, newsletter.languages, newsletter.fallbacks, newsletter.default_language)
    return (found.language,) if found else ()


def _newsletter_options(
    session: Session, current: Newsletter, subscriber: Subscriber, language: str
) -> tuple[NewsletterOption, ...]:
    """Those that anybody can subscribe to, and those that the subscriber has."""
    subscriptions = subscribers.subscriptions(session, subscriber.id)
    return tuple(
        NewsletterOption(
            row.slug,
            localize(row.names, language, row.fallbacks, row.default_language),
            row.id in subscriptions and subscriptions[row.id].state is SubscriptionState.active,
            row.id == current.id,
        )
        for row in newsletters.list_all(session)
        if row.public or row.id in subscriptions
    )
