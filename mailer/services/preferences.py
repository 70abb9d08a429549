"""Preferences: what a reader chooses on their own page, and the little that a link of any mail may change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mailer.domain.addresses import masked
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import choose, match
from mailer.domain.phrases import Words, own_words
from mailer.domain.states import SubscriptionState
from mailer.domain.ties import KEY_LASTS, UNDO, UNDONE_BY_MAIL, Tie
from mailer.domain.timezones import known_zone
from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.models import Consent, Newsletter, Subscriber, Subscription
from mailer.store import attempts, newsletters, notes, readers, settling
from mailer.store.database import Database, Session
from mailer.store.readers import Tied

PAUSES = (1, 2, 4, 8, 12)
"""Weeks that a reader can pause for."""
_KEYS_AN_HOUR = 3
_NEW_SECTIONS = 1 << 61
"""Set for who follows sections that are still to come."""


class NotOffered(ValueError):
    """A choice names a section, a language or anything else that there is not."""


class NothingChosen(ValueError):
    """A choice leaves the reader without any section."""


@dataclass(frozen=True, slots=True)
class SectionChoice:
    bit: int
    title: Wording
    description: Wording
    followed: bool
    always: bool


@dataclass(frozen=True, slots=True)
class OtherNewsletter:
    """One of the sender's newsletters, as the reader stands to it."""

    slug: str
    name: Wording
    subscribed: bool
    here: bool
    """It is the one that the page is about."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a reader's page shows. ``address`` is masked: mails are forwarded. What only the reader may see is
    for pages behind a link that was sent to the address itself."""

    slug: str
    name: Wording
    address: str
    full_address: str
    language: str
    """In which to speak to the reader."""
    page_languages: tuple[str, ...]
    """In which the page can be had."""
    languages: tuple[str, ...]
    """Those of ``offered`` that the reader prefers, best first; never empty."""
    offered: tuple[str, ...]
    subscribed: bool
    may_come_back: bool
    """Leaving can still be taken back by the link that leads here."""
    may_take_back: bool
    """What a link of any mail has changed last can still be undone by one."""
    sections: tuple[SectionChoice, ...]
    section_names: Mapping[str, str]
    """Key → title, in ``language`` or the nearest."""
    new_sections: bool
    """Follows sections that are added later, too."""
    got: tuple[SectionChoice, ...]
    """The sections that can be left of the edition that the link stood in, whether followed or not."""
    may_drop: bool
    """At least one of ``got`` can be left so that something remains."""
    text_only: bool
    time_zone: str
    monthly: bool
    paused_until: datetime | None
    """None when it is over."""
    tracking: bool
    """Agreed to be tracked as a person."""
    asks_for_tracking: bool
    """The newsletter would track readers who agree."""
    newsletters: tuple[OtherNewsletter, ...]
    several: bool
    """The sender has more than this one, whether the reader has them or not."""
    archive: str
    """The newsletter's name in addresses where its archive is open to everybody, else empty."""
    postal_address: str
    theme: dict[str, str]
    own_words: Mapping[str, Words] = field(default_factory=dict)
    """The newsletter's, for this language."""


@dataclass(frozen=True, slots=True)
class Choices:
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
    database: Database, tie: Tie, now: datetime, speak: Sequence[str] = (), by: str = "mail"
) -> Profile | None:
    """The reader whom a link belongs to; None when there is no such tie any more.

    ``speak``: languages to prefer for the page itself, before the reader's own. ``by``: what link it is, of
    any ``mail`` or with a ``key``.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        return _profile(session, tie, found, now, speak, by) if found else None


def by_key(
    database: Database, made: datetime, subscriber: int, slug: str, now: datetime
) -> tuple[Tie, bool] | None:
    """Where the link of a reader's own page leads, and whether it still opens; None for nowhere."""
    with database.transaction() as session:
        reader = readers.by_id(session, subscriber)
        newsletter = newsletters.by_slug(session, slug)
        if reader is None or newsletter is None or made > now + timedelta(minutes=5):
            return None
        good = now - made <= KEY_LASTS and (reader.keys_from is None or made >= reader.keys_from)
        return Tie(subscriber, newsletter=newsletter.id), good


def send_key(
    database: Database, tie: Tie, now: datetime, speak: Sequence[str] = ()
) -> tuple[bool, Profile] | None:
    """Have the link of the reader's own page sent to the reader's address, a few times an hour at most.

    Returns whether it is sent this time, and the reader; None for no such reader.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        settling.arrived(session, tie, now)
        shown = _profile(session, tie, found, now, speak)
        who = b"key" + found.reader.address_hash
        sent = shown.subscribed and attempts.count(session, who, now, timedelta(hours=1)) <= _KEYS_AN_HOUR
        if sent:
            notes.add(session, "key", found.newsletter.id, shown.language, now, subscriber=found.reader.id)
        return sent, shown


def choose_all(
    database: Database, tie: Tie, wanted: Choices, now: datetime, speak: Sequence[str] = ()
) -> tuple[Profile, Profile] | None:
    """Store a reader's choices.

    Returns how the reader's page was before and is now; None when there is no such reader. Raises NotOffered
    or NothingChosen, and stores nothing then. Sections that everybody gets need no choosing.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        before = _profile(session, tie, found, now, speak, "key")
        former = _standing(found, "key")
        reader, subscription, newsletter = found.reader, found.subscription, found.newsletter
        known = {section.bit: section for section in newsletters.sections(session, newsletter.id)}
        if not known.keys() >= set(wanted.sections) or not set(newsletter.languages) >= set(wanted.languages):
            raise NotOffered(NotOffered.__doc__)
        if not wanted.languages:
            raise NotOffered("A choice names no language.")
        always = [bit for bit, section in known.items() if section.always_included]
        if known and not wanted.sections and not always:
            raise NothingChosen(NothingChosen.__doc__)
        if wanted.time_zone is not None:
            if not known_zone(wanted.time_zone):
                raise NotOffered("A choice names no time zone.")
            reader.time_zone = wanted.time_zone
        followed = sum(1 << bit for bit in set(wanted.sections) - set(always))
        kept = subscription.sections & sum(1 << bit for bit in always)
        to_come = ALL_SECTIONS & ~sum(1 << bit for bit in known) if wanted.new_sections else 0
        subscription.sections = followed | kept | to_come
        reader.languages = with_others(wanted.languages, reader.languages, newsletter.languages)
        if wanted.text_only is not None:
            reader.text_only = wanted.text_only
        if wanted.monthly is not None:
            subscription.frequency = "monthly" if wanted.monthly else "each"
        if wanted.tracking is not None:
            _track(session, found, wanted.tracking, wanted.tracking_wording, wanted.language, now)
        after = _profile(session, tie, found, now, speak, "key")
        if former != _standing(found, "key"):
            readers.remember(subscription, former, now)
        return before, after


def take_back(
    database: Database, tie: Tie, by: str, now: datetime, speak: Sequence[str] = ()
) -> tuple[bool, Profile] | None:
    """Undo the last change within the time for it. ``by``: ``key`` may undo any, ``mail`` what a link of any
    mail has done. Returns whether there was something to undo, and the reader; None for no such reader."""
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        settling.arrived(session, tie, now)
        reader, subscription, former = found.reader, found.subscription, found.subscription.former
        done = _may_take_back(subscription, by, now)
        if done:
            assert former
            subscription.sections = former["sections"]
            subscription.frequency = former["frequency"]
            paused = former["paused_until"]
            subscription.paused_until = datetime.fromisoformat(paused) if paused else None
            if former["by"] == "key":
                reader.languages = former["languages"]
                reader.text_only, reader.time_zone = former["text_only"], former["time_zone"]
                _track(session, found, former["tracking"], "", "", now)
            readers.remember(subscription, None, now)
        return done, _profile(session, tie, found, now, speak, by)


def drop_sections(
    database: Database, tie: Tie, sections: Sequence[int], now: datetime, speak: Sequence[str] = ()
) -> tuple[tuple[Wording, ...], Profile] | None:
    """Stop following some sections of the edition that a link stood in; the titles, and the reader. Raises
    NotOffered for others, and NothingChosen for none, or when nothing would be left to get."""
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        settling.arrived(session, tie, now)
        shown = _profile(session, tie, found, now, speak)
        offered = {section.bit: section for section in shown.got}
        if not offered.keys() >= set(sections):
            raise NotOffered(NotOffered.__doc__)
        left = found.subscription.sections & ~sum(1 << bit for bit in set(sections))
        known = newsletters.sections(session, found.newsletter.id)
        if not sections or not any(s.always_included or left >> s.bit & 1 for s in known):
            raise NothingChosen(NothingChosen.__doc__)
        readers.remember(found.subscription, _standing(found, "mail"), now)
        found.subscription.sections = left
        titles = tuple(offered[bit].title for bit in dict.fromkeys(sections))
        return titles, _profile(session, tie, found, now, speak)


def set_monthly(database: Database, tie: Tie, now: datetime, speak: Sequence[str] = ()) -> Profile | None:
    """One mail a month instead of each issue; holds for mail that is already queued."""
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        settling.arrived(session, tie, now)
        if found.subscription.frequency != "monthly":
            readers.remember(found.subscription, _standing(found, "mail"), now)
            found.subscription.frequency = "monthly"
        return _profile(session, tie, found, now, speak)


def pause(
    database: Database, tie: Tie, weeks: int, by: str, now: datetime, speak: Sequence[str] = ()
) -> Profile | None:
    """Send nothing for some weeks, also not what is already queued; 0 ends a pause. Raises NotOffered.

    ``by``: ``key`` sets any, ``mail`` makes a pause longer but never shorter.
    """
    if weeks and weeks not in PAUSES:
        raise NotOffered("A pause is not that long.")
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return None
        settling.arrived(session, tie, now)
        until = now + timedelta(weeks=weeks) if weeks else None
        paused = found.subscription.paused_until
        if by == "key" or (until and (not paused or until > paused)):
            readers.remember(found.subscription, _standing(found, by), now)
            found.subscription.paused_until = until
        return _profile(session, tie, found, now, speak, by)


def _standing(found: Tied, by: str) -> dict[str, Any]:
    """What a change replaces. A change by a link of any mail may only ever bring back what such links change."""
    subscription, reader = found.subscription, found.reader
    paused = subscription.paused_until
    standing: dict[str, Any] = {
        "by": by,
        "sections": subscription.sections,
        "frequency": subscription.frequency,
        "paused_until": paused.isoformat() if paused else None,
    }
    if by == "key":
        standing |= {
            "languages": reader.languages,
            "text_only": reader.text_only,
            "time_zone": reader.time_zone,
            "tracking": subscription.tracking,
        }
    return standing


def _track(session: Session, found: Tied, agreed: bool, wording: str, language: str, now: datetime) -> None:
    if found.subscription.tracking is agreed:
        return
    found.subscription.tracking = agreed
    readers.add_consent(
        session,
        Consent(
            subscriber_id=found.reader.id,
            newsletter_id=found.newsletter.id,
            kind="tracking",
            given=agreed,
            source="own page",
            wording=wording,
            language=language,
            at=now,
        ),
    )


def with_others(chosen: Sequence[str], own: Sequence[str], offered: Sequence[str]) -> list[str]:
    """The chosen languages as the reader's list: ``sr-Latn-BA`` stays when ``sr-Latn`` was chosen for it, and
    what this newsletter does not offer keeps its place for the others."""
    theirs: dict[str, str] = {}
    for tag in own:
        theirs.setdefault(match(tag, offered) or "", tag)
    result = [theirs.get(tag, tag) for tag in dict.fromkeys(chosen)]
    for place, tag in enumerate(own):
        if match(tag, offered) is None:
            result.insert(place, tag)
    return result


def _may_come_back(session: Session, found: Tied, by: str, now: datetime) -> bool:
    subscription = found.subscription
    if subscription.state is not SubscriptionState.unsubscribed or now - subscription.changed_at > UNDO:
        return False
    return by == "key" or readers.how_left(session, found.newsletter.id, found.reader.id) in UNDONE_BY_MAIL


def _may_take_back(subscription: Subscription, by: str, now: datetime) -> bool:
    former, at = subscription.former, subscription.former_at
    return bool(former and at and now - at <= UNDO and (by == "key" or former["by"] == "mail"))


def _profile(
    session: Session, tie: Tie, found: Tied, now: datetime, speak: Sequence[str], by: str = "mail"
) -> Profile:
    newsletter, reader, subscription = found.newsletter, found.reader, found.subscription
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = page_language([*speak, *reader.languages], newsletter.languages, chains, default)
    preferred = dict.fromkeys(filter(None, (match(tag, newsletter.languages) for tag in reader.languages)))
    if not preferred and (given := choose(reader.languages, newsletter.languages, chains, default)):
        preferred = {given.language: None}

    def words(texts: dict[str, str]) -> Wording:
        return worded(texts, language, chains, default)

    known = newsletters.sections(session, newsletter.id)
    sections = tuple(
        SectionChoice(
            section.bit,
            words(section.titles),
            words(section.descriptions),
            bool(subscription.sections >> section.bit & 1),
            section.always_included,
        )
        for section in known
    )
    got = readers.sections_got(session, tie.issue, reader.id) if tie.issue else 0
    leavable = tuple(section for section in sections if got >> section.bit & 1 and not section.always)
    kept = [section for section in sections if section.always or section.followed]
    paused = subscription.paused_until
    return Profile(
        slug=newsletter.slug,
        name=words(newsletter.names),
        address=masked(reader.address),
        full_address=reader.address,
        language=language,
        page_languages=spoken(newsletter.languages),
        languages=tuple(preferred),
        offered=tuple(newsletter.languages),
        subscribed=subscription.state is SubscriptionState.active,
        may_come_back=_may_come_back(session, found, by, now),
        may_take_back=_may_take_back(subscription, "mail", now),
        sections=sections,
        section_names={section.key: words(section.titles).text for section in known},
        new_sections=bool(subscription.sections & _NEW_SECTIONS),
        got=leavable,
        may_drop=any({*kept} - {section} for section in leavable),
        text_only=reader.text_only,
        time_zone=reader.time_zone,
        monthly=subscription.frequency == "monthly",
        paused_until=paused.astimezone(UTC) if paused and paused > now else None,
        tracking=subscription.tracking,
        asks_for_tracking=newsletter.tracking == "individual",
        newsletters=_newsletters(session, newsletter, reader, language),
        several=len(newsletters.all_of_them(session)) > 1,
        archive=newsletter.slug if newsletter.public else "",
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
        own_words=own_words(newsletter.phrases, language),
    )


def _newsletters(
    session: Session, here: Newsletter, reader: Subscriber, language: str
) -> tuple[OtherNewsletter, ...]:
    """Those that anybody can subscribe to, and those that the reader has."""
    ties = readers.subscriptions(session, reader.id)
    return tuple(
        OtherNewsletter(
            row.slug,
            worded(row.names, language, row.fallbacks, row.default_language),
            row.id in ties and ties[row.id].state is SubscriptionState.active,
            row.id == here.id,
        )
        for row in newsletters.all_of_them(session)
        if row.public or row.id in ties
    )
