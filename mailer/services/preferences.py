"""Preferences: what a reader chooses by a link from a mail, and leaving."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.addresses import masked
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import choose, match
from mailer.domain.states import SubscriptionState
from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.models import Consent, Newsletter, Subscriber, Subscription
from mailer.store import batches, feedback, issues, ledger, newsletters, readers
from mailer.store.database import Database, Session

UNDO = timedelta(hours=24)
"""How long leaving can be taken back by the link that did it. Later it takes a new confirmed opt-in: the mail
may have been forwarded since."""
_LONGEST_WAIT = 10.0
"""Seconds that leaving waits for a message that is with the relay at this moment."""
_NEW_SECTIONS = 1 << 61
"""Set for who follows sections that are still to come."""


class NotOffered(ValueError):
    """A choice names a section or a language that the newsletter does not have."""


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
class Profile:
    """What a reader's page shows. The address is masked: mails are forwarded."""

    slug: str
    name: Wording
    address: str
    language: str
    """In which to speak to the reader."""
    page_languages: tuple[str, ...]
    """In which the page can be had."""
    languages: tuple[str, ...]
    """Those of ``offered`` that the reader prefers, best first; never empty."""
    offered: tuple[str, ...]
    subscribed: bool
    may_come_back: bool
    """Leaving can still be taken back."""
    sections: tuple[SectionChoice, ...]
    new_sections: bool
    """Follows sections that are added later, too."""
    postal_address: str
    theme: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Tie:
    """A reader and the newsletter that a link of a mail belongs to."""

    newsletter: Newsletter
    reader: Subscriber
    subscription: Subscription


def profile(
    database: Database, issue: int, subscriber: int, now: datetime, speak: Sequence[str] = ()
) -> Profile | None:
    """The reader whom a link of a mail belongs to; None when there is no such tie any more.

    ``speak``: languages to prefer for the page itself, before the reader's own.
    """
    with database.transaction() as session:
        tie = _tie(session, issue, subscriber)
        return _profile(session, tie, now, speak) if tie else None


def choose_sections(
    database: Database,
    issue: int,
    subscriber: int,
    sections: Sequence[int],
    languages: Sequence[str],
    *,
    new_sections: bool,
    now: datetime,
    speak: Sequence[str] = (),
) -> tuple[Profile, Profile] | None:
    """Store a reader's sections (bits) and languages (best first).

    Returns how the reader's page was before and is now; None when there is no such reader. Raises NotOffered
    or NothingChosen, and stores nothing then. Sections that everybody gets need no choosing.
    """
    with database.transaction() as session:
        tie = _tie(session, issue, subscriber)
        if tie is None:
            return None
        before = _profile(session, tie, now, speak)
        known = {section.bit: section for section in newsletters.sections(session, tie.newsletter.id)}
        if not known.keys() >= set(sections) or not set(tie.newsletter.languages) >= set(languages):
            raise NotOffered(NotOffered.__doc__)
        if not languages:
            raise NotOffered("A choice names no language.")
        always = [bit for bit, section in known.items() if section.always_included]
        if known and not sections and not always:
            raise NothingChosen(NothingChosen.__doc__)
        followed = sum(1 << bit for bit in set(sections) - set(always))
        kept = tie.subscription.sections & sum(1 << bit for bit in always)
        to_come = ALL_SECTIONS & ~sum(1 << bit for bit in known) if new_sections else 0
        tie.subscription.sections = followed | kept | to_come
        tie.reader.languages = _with_others(languages, tie.reader.languages, tie.newsletter.languages)
        return before, _profile(session, tie, now, speak)


def _with_others(chosen: Sequence[str], own: Sequence[str], offered: Sequence[str]) -> list[str]:
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


def leave(database: Database, issue: int, subscriber: int, how: str, now: datetime) -> bool:
    """End the subscription that a link belongs to, also for mail that is already queued.

    When this returns, nothing more goes out: no worker takes the reader's deliveries from the commit on, and
    a message that is with the relay at that moment is waited for. True when the reader is known; twice is
    the same as once.
    """
    with database.transaction() as session:
        tie = _tie(session, issue, subscriber)
        if tie is None:
            return False
        newsletter = tie.newsletter.id
        if readers.set_state(session, newsletter, subscriber, SubscriptionState.unsubscribed, now):
            feedback.add(session, "unsubscribe", now, newsletter, issue, subscriber, {"how": how})
            readers.add_consent(
                session,
                Consent(
                    subscriber_id=subscriber,
                    newsletter_id=newsletter,
                    kind="subscribe",
                    given=False,
                    source=how,
                    at=now,
                ),
            )
    _wait_for_flights(database, newsletter, subscriber)
    return True


def come_back(database: Database, issue: int, subscriber: int, now: datetime) -> bool:
    """Take leaving back within the time for it; True when the reader is subscribed after this."""
    with database.transaction() as session:
        tie = _tie(session, issue, subscriber)
        if tie is None:
            return False
        if tie.subscription.state is SubscriptionState.active:
            return True
        if not _may_come_back(tie.subscription, now):
            return False
        if readers.set_state(session, tie.newsletter.id, subscriber, SubscriptionState.active, now):
            readers.add_consent(
                session,
                Consent(
                    subscriber_id=subscriber,
                    newsletter_id=tie.newsletter.id,
                    kind="subscribe",
                    given=True,
                    source="undo on the unsubscribe page",
                    at=now,
                ),
            )
        return True


def _tie(session: Session, issue: int, subscriber: int) -> _Tie | None:
    row = issues.by_id(session, issue)
    reader = readers.by_id(session, subscriber)
    subscription = readers.subscription(session, row.newsletter_id, subscriber) if row else None
    if row is None or reader is None or subscription is None:
        return None
    return _Tie(newsletters.by_id(session, row.newsletter_id), reader, subscription)


def _may_come_back(subscription: Subscription, now: datetime) -> bool:
    return subscription.state is SubscriptionState.unsubscribed and now - subscription.changed_at <= UNDO


def _profile(session: Session, tie: _Tie, now: datetime, speak: Sequence[str]) -> Profile:
    newsletter, reader, subscription = tie.newsletter, tie.reader, tie.subscription
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = page_language([*speak, *reader.languages], newsletter.languages, chains, default)
    preferred = dict.fromkeys(filter(None, (match(tag, newsletter.languages) for tag in reader.languages)))
    if not preferred and (given := choose(reader.languages, newsletter.languages, chains, default)):
        preferred = {given.language: None}

    def words(texts: dict[str, str]) -> Wording:
        return worded(texts, language, chains, default)

    return Profile(
        slug=newsletter.slug,
        name=words(newsletter.names),
        address=masked(reader.address),
        language=language,
        page_languages=spoken(newsletter.languages),
        languages=tuple(preferred),
        offered=tuple(newsletter.languages),
        subscribed=subscription.state is SubscriptionState.active,
        may_come_back=_may_come_back(subscription, now),
        sections=tuple(
            SectionChoice(
                section.bit,
                words(section.titles),
                words(section.descriptions),
                bool(subscription.sections >> section.bit & 1),
                section.always_included,
            )
            for section in newsletters.sections(session, newsletter.id)
        ),
        new_sections=bool(subscription.sections & _NEW_SECTIONS),
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
    )


def _wait_for_flights(database: Database, newsletter: int, subscriber: int) -> None:
    until = time.monotonic() + _LONGEST_WAIT
    while True:
        with database.transaction() as session:
            for issue in batches.open_for(session, newsletter, subscriber):
                # Whoever is taking deliveries holds the batch: once it is ours, their taking is committed.
                batches.hold_for(session, issue, subscriber)
            flying = ledger.being_sent(session, subscriber, newsletter)
        if not flying or time.monotonic() > until:
            return
        time.sleep(0.05)
