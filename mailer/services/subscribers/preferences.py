"""Preferences: what a reader chooses on their own page, and the little that a link of any mail may change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.email_addresses import masked
from mailer.domain.languages import choose_language, match_language
from mailer.domain.localized import LocalizedText, localize, ui_language, ui_languages
from mailer.domain.states import SubscriptionState
from mailer.domain.subscription_ref import (
    MAGIC_LINK_LIFETIME,
    UNDO_WINDOW,
    UNDOABLE_BY_MAIL_LINK,
    SubscriptionRef,
)
from mailer.domain.text_overrides import OverrideText, overrides_for
from mailer.domain.time_zones import is_known_time_zone
from mailer.models import Consent, Newsletter, Subscriber, Subscription
from mailer.store import newsletters, rate_limits, resolution, subscribers, transactional
from mailer.store.database import Database, Session
from mailer.store.subscribers import SubscriptionContext

PAUSE_WEEKS = (1, 2, 4, 8, 12)
"""Weeks that a reader can pause for."""
_MAGIC_LINKS_PER_HOUR = 3
_NEW_SECTIONS_BIT = 1 << 61
"""Set for who follows sections that are still to come."""


class NotOffered(ValueError):
    """A choice names a section, a language or anything else that there is not."""


class NothingChosen(ValueError):
    """A choice leaves the reader without any section."""


@dataclass(frozen=True, slots=True)
class SectionOption:
    bit: int
    title: LocalizedText
    description: LocalizedText
    followed: bool
    always_included: bool


@dataclass(frozen=True, slots=True)
class NewsletterOption:
    """One of the sender's newsletters, as the reader stands to it."""

    slug: str
    name: LocalizedText
    subscribed: bool
    is_current: bool
    """It is the one that the page is about."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a reader's page shows. ``address`` is masked: mails are forwarded. What only the reader may see is
    for pages behind a link that was sent to the address itself."""

    slug: str
    name: LocalizedText
    masked_address: str
    email_address: str
    language: str
    """In which to speak to the reader."""
    ui_languages: tuple[str, ...]
    """In which the page can be had."""
    languages: tuple[str, ...]
    """Those of ``offered`` that the reader prefers, best first; never empty."""
    offered_languages: tuple[str, ...]
    subscribed: bool
    can_resubscribe: bool
    """Leaving can still be taken back by the link that leads here."""
    can_undo: bool
    """What a link of any mail has changed last can still be undone by one."""
    sections: tuple[SectionOption, ...]
    section_names: Mapping[str, str]
    """Key → title, in ``language`` or the nearest."""
    new_sections: bool
    """Follows sections that are added later, too."""
    edition_sections: tuple[SectionOption, ...]
    """The sections that can be left of the edition that the link stood in, whether followed or not."""
    can_drop_sections: bool
    """At least one of ``got`` can be left so that something remains."""
    text_only: bool
    time_zone: str
    monthly: bool
    paused_until: datetime | None
    """None when it is over."""
    tracking: bool
    """Agreed to be tracked as a person."""
    offers_tracking: bool
    """The newsletter would track readers who agree."""
    newsletters: tuple[NewsletterOption, ...]
    has_other_newsletters: bool
    """The sender has more than this one, whether the reader has them or not."""
    archive_slug: str
    """The newsletter's name in addresses where its archive is open to everybody, else empty."""
    postal_address: str
    theme: dict[str, str]
    text_overrides: Mapping[str, OverrideText] = field(default_factory=dict)
    """The newsletter's, for this language."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a reader wants. None: as it is."""

    sections: Sequence[int]
    """Bits."""
    languages: Sequence[str]
    """Best first."""
    new_sections: bool
    text_only: bool | None = None
    time_zone: str | None = None
    monthly: bool | None = None
    tracking: bool | None = None
    tracking_wording: str = ""
    """What the page said beside the box for tracking, in ``language``."""
    language: str = ""


def profile(
    database: Database,
    ref: SubscriptionRef,
    now: datetime,
    preferred_languages: Sequence[str] = (),
    link_kind: str = "mail",
) -> Profile | None:
    """The reader whom a link belongs to; None when there is no such tie any more.

    ``speak``: languages to prefer for the page itself, before the reader's own. ``by``: what link it is, of
    any ``mail`` or with a ``key``.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        return _profile(session, ref, found, now, preferred_languages, link_kind) if found else None


def check_magic_link(
    database: Database, created_at: datetime, subscriber: int, slug: str, now: datetime
) -> tuple[SubscriptionRef, bool] | None:
    """Where the link of a reader's own page leads, and whether it still opens; None for nowhere."""
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        newsletter = newsletters.by_slug(session, slug)
        if reader is None or newsletter is None or created_at > now + timedelta(minutes=5):
            return None
        good = now - created_at <= MAGIC_LINK_LIFETIME and (
            reader.address_changed_at is None or created_at >= reader.address_changed_at
        )
        return SubscriptionRef(subscriber, newsletter=newsletter.id), good


def send_magic_link(
    database: Database, ref: SubscriptionRef, now: datetime, preferred_languages: Sequence[str] = ()
) -> tuple[bool, Profile] | None:
    """Have the link of the reader's own page sent to the reader's address, a few times an hour at most.

    Returns whether it is sent this time, and the reader; None for no such reader.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        shown = _profile(session, ref, found, now, preferred_languages)
        who = b"key" + found.subscriber.address_hash
        sent = (
            shown.subscribed
            and rate_limits.hit(session, who, now, timedelta(hours=1)) <= _MAGIC_LINKS_PER_HOUR
        )
        if sent:
            transactional.add(
                session, "key", found.newsletter.id, shown.language, now, subscriber=found.subscriber.id
            )
        return sent, shown


def save(
    database: Database,
    ref: SubscriptionRef,
    preferences: Preferences,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> tuple[Profile, Profile] | None:
    """Store a reader's choices.

    Returns how the reader's page was before and is now; None when there is no such reader. Raises NotOffered
    or NothingChosen, and stores nothing then. Sections that everybody gets need no choosing.
    """
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        before = _profile(session, ref, found, now, preferred_languages, "key")
        former = _undo_state(found, "key")
        reader, subscription, newsletter = found.subscriber, found.subscription, found.newsletter
        known = {section.bit: section for section in newsletters.sections(session, newsletter.id)}
        if not known.keys() >= set(preferences.sections) or not set(newsletter.languages) >= set(
            preferences.languages
        ):
            raise NotOffered(NotOffered.__doc__)
        if not preferences.languages:
            raise NotOffered("A choice names no language.")
        always = [bit for bit, section in known.items() if section.always_included]
        if known and not preferences.sections and not always:
            raise NothingChosen(NothingChosen.__doc__)
        if preferences.time_zone is not None:
            if not is_known_time_zone(preferences.time_zone):
                raise NotOffered("A choice names no time zone.")
            reader.time_zone = preferences.time_zone
        followed = sum(1 << bit for bit in set(preferences.sections) - set(always))
        kept = subscription.sections & sum(1 << bit for bit in always)
        to_come = ALL_SECTIONS & ~sum(1 << bit for bit in known) if preferences.new_sections else 0
        subscription.sections = followed | kept | to_come
        reader.languages = with_unlisted_languages(
            preferences.languages, reader.languages, newsletter.languages
        )
        if preferences.text_only is not None:
            reader.text_only = preferences.text_only
        if preferences.monthly is not None:
            subscription.frequency = "monthly" if preferences.monthly else "each"
        if preferences.tracking is not None:
            _set_tracking(
                session, found, preferences.tracking, preferences.tracking_wording, preferences.language, now
            )
        after = _profile(session, ref, found, now, preferred_languages, "key")
        if former != _undo_state(found, "key"):
            subscribers.save_previous(subscription, former, now)
        return before, after


def undo(
    database: Database,
    ref: SubscriptionRef,
    link_kind: str,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> tuple[bool, Profile] | None:
    """Undo the last change within the time for it. ``by``: ``key`` may undo any, ``mail`` what a link of any
    mail has done. Returns whether there was something to undo, and the reader; None for no such reader."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        reader, subscription, former = (
            found.subscriber,
            found.subscription,
            found.subscription.previous_preferences,
        )
        done = _can_undo(subscription, link_kind, now)
        if done:
            assert former
            subscription.sections = former["sections"]
            subscription.frequency = former["frequency"]
            paused = former["paused_until"]
            subscription.paused_until = datetime.fromisoformat(paused) if paused else None
            if former["by"] == "key":
                reader.languages = former["languages"]
                reader.text_only, reader.time_zone = former["text_only"], former["time_zone"]
                _set_tracking(session, found, former["tracking"], "", "", now)
            subscribers.save_previous(subscription, None, now)
        return done, _profile(session, ref, found, now, preferred_languages, link_kind)


def drop_sections(
    database: Database,
    ref: SubscriptionRef,
    sections: Sequence[int],
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> tuple[tuple[LocalizedText, ...], Profile] | None:
    """Stop following some sections of the edition that a link stood in; the titles, and the reader. Raises
    NotOffered for others, and NothingChosen for none, or when nothing would be left to get."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        shown = _profile(session, ref, found, now, preferred_languages)
        offered = {section.bit: section for section in shown.edition_sections}
        if not offered.keys() >= set(sections):
            raise NotOffered(NotOffered.__doc__)
        left = found.subscription.sections & ~sum(1 << bit for bit in set(sections))
        known = newsletters.sections(session, found.newsletter.id)
        if not sections or not any(s.always_included or left >> s.bit & 1 for s in known):
            raise NothingChosen(NothingChosen.__doc__)
        subscribers.save_previous(found.subscription, _undo_state(found, "mail"), now)
        found.subscription.sections = left
        titles = tuple(offered[bit].title for bit in dict.fromkeys(sections))
        return titles, _profile(session, ref, found, now, preferred_languages)


def set_monthly(
    database: Database, ref: SubscriptionRef, now: datetime, preferred_languages: Sequence[str] = ()
) -> Profile | None:
    """One mail a month instead of each issue; holds for mail that is already queued."""
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        if found.subscription.frequency != "monthly":
            subscribers.save_previous(found.subscription, _undo_state(found, "mail"), now)
            found.subscription.frequency = "monthly"
        return _profile(session, ref, found, now, preferred_languages)


def pause(
    database: Database,
    ref: SubscriptionRef,
    weeks: int,
    link_kind: str,
    now: datetime,
    preferred_languages: Sequence[str] = (),
) -> Profile | None:
    """Send nothing for some weeks, also not what is already queued; 0 ends a pause. Raises NotOffered.

    ``by``: ``key`` sets any, ``mail`` makes a pause longer but never shorter.
    """
    if weeks and weeks not in PAUSE_WEEKS:
        raise NotOffered("A pause is not that long.")
    with database.transaction() as session:
        found = subscribers.resolve(session, ref)
        if found is None:
            return None
        resolution.confirm_delivered(session, ref, now)
        until = now + timedelta(weeks=weeks) if weeks else None
        paused = found.subscription.paused_until
        if link_kind == "key" or (until and (not paused or until > paused)):
            subscribers.save_previous(found.subscription, _undo_state(found, link_kind), now)
            found.subscription.paused_until = until
        return _profile(session, ref, found, now, preferred_languages, link_kind)


def _undo_state(context: SubscriptionContext, link_kind: str) -> dict[str, Any]:
    """What a change replaces. A change by a link of any mail may only ever bring back what such links change."""
    subscription, reader = context.subscription, context.subscriber
    paused = subscription.paused_until
    standing: dict[str, Any] = {
        "by": link_kind,
        "sections": subscription.sections,
        "frequency": subscription.frequency,
        "paused_until": paused.isoformat() if paused else None,
    }
    if link_kind == "key":
        standing |= {
            "languages": reader.languages,
            "text_only": reader.text_only,
            "time_zone": reader.time_zone,
            "tracking": subscription.tracking,
        }
    return standing


def _set_tracking(
    session: Session, context: SubscriptionContext, agreed: bool, wording: str, language: str, now: datetime
) -> None:
    if context.subscription.tracking is agreed:
        return
    context.subscription.tracking = agreed
    subscribers.add_consent(
        session,
        Consent(
            subscriber_id=context.subscriber.id,
            newsletter_id=context.newsletter.id,
            kind="tracking",
            given=agreed,
            channel="own page",
            wording=wording,
            language=language,
            at=now,
        ),
    )


def with_unlisted_languages(
    chosen: Sequence[str], current: Sequence[str], offered: Sequence[str]
) -> list[str]:
    """The chosen languages as the reader's list: ``sr-Latn-BA`` stays when ``sr-Latn`` was chosen for it, and
    what this newsletter does not offer keeps its place for the others."""
    theirs: dict[str, str] = {}
    for tag in current:
        theirs.setdefault(match_language(tag, offered) or "", tag)
    result = [theirs.get(tag, tag) for tag in dict.fromkeys(chosen)]
    for place, tag in enumerate(current):
        if match_language(tag, offered) is None:
            result.insert(place, tag)
    return result


def _can_resubscribe(session: Session, context: SubscriptionContext, link_kind: str, now: datetime) -> bool:
    subscription = context.subscription
    if (
        subscription.state is not SubscriptionState.unsubscribed
        or now - subscription.changed_at > UNDO_WINDOW
    ):
        return False
    return (
        link_kind == "key"
        or subscribers.last_unsubscribe_channel(session, context.newsletter.id, context.subscriber.id)
        in UNDOABLE_BY_MAIL_LINK
    )


def _can_undo(subscription: Subscription, link_kind: str, now: datetime) -> bool:
    former, at = subscription.previous_preferences, subscription.previous_at
    return bool(former and at and now - at <= UNDO_WINDOW and (link_kind == "key" or former["by"] == "mail"))


def _profile(
    session: Session,
    ref: SubscriptionRef,
    context: SubscriptionContext,
    now: datetime,
    preferred_languages: Sequence[str],
    link_kind: str = "mail",
) -> Profile:
    newsletter, reader, subscription = context.newsletter, context.subscriber, context.subscription
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = ui_language([*preferred_languages, *reader.languages], newsletter.languages, chains, default)
    preferred = dict.fromkeys(
        filter(None, (match_language(tag, newsletter.languages) for tag in reader.languages))
    )
    if not preferred and (given := choose_language(reader.languages, newsletter.languages, chains, default)):
        preferred = {given.language: None}

    def words(texts: dict[str, str]) -> LocalizedText:
        return localize(texts, language, chains, default)

    known = newsletters.sections(session, newsletter.id)
    sections = tuple(
        SectionOption(
            section.bit,
            words(section.titles),
            words(section.descriptions),
            bool(subscription.sections >> section.bit & 1),
            section.always_included,
        )
        for section in known
    )
    got = subscribers.delivered_sections(session, ref.issue, reader.id) if ref.issue else 0
    leavable = tuple(
        section for section in sections if got >> section.bit & 1 and not section.always_included
    )
    kept = [section for section in sections if section.always_included or section.followed]
    paused = subscription.paused_until
    return Profile(
        slug=newsletter.slug,
        name=words(newsletter.names),
        masked_address=masked(reader.address),
        email_address=reader.address,
        language=language,
        ui_languages=ui_languages(newsletter.languages),
        languages=tuple(preferred),
        offered_languages=tuple(newsletter.languages),
        subscribed=subscription.state is SubscriptionState.active,
        can_resubscribe=_can_resubscribe(session, context, link_kind, now),
        can_undo=_can_undo(subscription, "mail", now),
        sections=sections,
        section_names={section.key: words(section.titles).text for section in known},
        new_sections=bool(subscription.sections & _NEW_SECTIONS_BIT),
        edition_sections=leavable,
        can_drop_sections=any({*kept} - {section} for section in leavable),
        text_only=reader.text_only,
        time_zone=reader.time_zone,
        monthly=subscription.frequency == "monthly",
        paused_until=paused.astimezone(UTC) if paused and paused > now else None,
        tracking=subscription.tracking,
        offers_tracking=newsletter.tracking == "individual",
        newsletters=_newsletter_options(session, newsletter, reader, language),
        has_other_newsletters=len(newsletters.list_all(session)) > 1,
        archive_slug=newsletter.slug if newsletter.public else "",
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
        text_overrides=overrides_for(newsletter.text_overrides, language),
    )


def _newsletter_options(
    session: Session, current: Newsletter, subscriber: Subscriber, language: str
) -> tuple[NewsletterOption, ...]:
    """Those that anybody can subscribe to, and those that the reader has."""
    ties = subscribers.subscriptions(session, subscriber.id)
    return tuple(
        NewsletterOption(
            row.slug,
            localize(row.names, language, row.fallbacks, row.default_language),
            row.id in ties and ties[row.id].state is SubscriptionState.active,
            row.id == current.id,
        )
        for row in newsletters.list_all(session)
        if row.public or row.id in ties
    )
