"""Preferences: what a reader chooses by a link from a mail, and leaving."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.addresses import masked
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import choose
from mailer.domain.states import SubscriptionState
from mailer.models import Consent
from mailer.store import batches, feedback, issues, ledger, newsletters, readers
from mailer.store.database import Database

_LONGEST_WAIT = 10.0
"""Seconds that leaving waits for a message that is with the relay at this moment."""


@dataclass(frozen=True, slots=True)
class SectionChoice:
    bit: int
    title: str
    description: str
    followed: bool
    always: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """What a reader's page shows. The address is masked: mails are forwarded."""

    newsletter: int
    slug: str
    name: str
    subscriber: int
    address: str
    language: str
    """In which to speak to the reader."""
    languages: tuple[str, ...]
    """Their preferences, best first."""
    offered: tuple[str, ...]
    state: SubscriptionState
    sections: tuple[SectionChoice, ...]
    new_sections: bool
    postal_address: str
    theme: dict[str, str]


def profile(database: Database, issue: int, subscriber: int, speak: Sequence[str] = ()) -> Profile | None:
    """The reader whom a link of a mail belongs to; None when there is no such tie any more.

    ``speak``: languages to prefer for the page itself, before the reader's own.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        reader = readers.by_id(session, subscriber)
        tie = readers.subscription(session, row.newsletter_id, subscriber) if row else None
        if row is None or reader is None or tie is None:
            return None
        newsletter = newsletters.by_id(session, row.newsletter_id)
        choice = choose(
            [*speak, *reader.languages], newsletter.languages, newsletter.fallbacks, newsletter.default_language
        )
        language = choice.language if choice else newsletter.default_language

        def named(texts: dict[str, str]) -> str:
            found = choose([language], list(texts), newsletter.fallbacks, newsletter.default_language)
            return texts[found.language] if found else next(iter(texts.values()), "")

        return Profile(
            newsletter=newsletter.id,
            slug=newsletter.slug,
            name=named(newsletter.names),
            subscriber=subscriber,
            address=masked(reader.address),
            language=language,
            languages=tuple(reader.languages),
            offered=tuple(newsletter.languages),
            state=tie.state,
            sections=tuple(
                SectionChoice(
                    section.bit,
                    named(section.titles),
                    named(section.descriptions),
                    bool(tie.sections >> section.bit & 1),
                    section.always_included,
                )
                for section in newsletters.sections(session, newsletter.id)
            ),
            new_sections=bool(tie.sections >> 61 & 1),
            postal_address=newsletter.postal_address,
            theme={name: str(value) for name, value in newsletter.theme.items()},
        )


def choose_sections(
    database: Database, issue: int, subscriber: int, chosen: Sequence[int], languages: Sequence[str]
) -> bool:
    """Store a reader's sections (bits) and languages; True when the reader is known.

    Bits of sections that do not exist yet keep what they were: who followed everything goes on doing so.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        reader = readers.by_id(session, subscriber)
        tie = readers.subscription(session, row.newsletter_id, subscriber) if row else None
        if row is None or reader is None or tie is None:
            return False
        newsletter = newsletters.by_id(session, row.newsletter_id)
        existing = [section.bit for section in newsletters.sections(session, row.newsletter_id)]
        known = sum(1 << bit for bit in existing)
        wanted = sum(1 << bit for bit in set(chosen) & set(existing))
        tie.sections = (tie.sections & ALL_SECTIONS & ~known) | wanted
        kept = [tag for tag in dict.fromkeys(languages) if tag in newsletter.languages]
        if kept:
            # What they read and this newsletter does not offer stays at the end of the list.
            reader.languages = kept + [tag for tag in reader.languages if tag not in newsletter.languages]
        return True


def leave(database: Database, issue: int, subscriber: int, how: str, now: datetime) -> bool:
    """End the subscription that a link belongs to, also for mail that is already queued.

    When this returns, nothing more goes out: no worker takes the reader's deliveries from the commit on, and a
    message that is with the relay at that moment is waited for. True when the reader is known; twice is
    the same as once.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None or readers.subscription(session, row.newsletter_id, subscriber) is None:
            return False
        newsletter = row.newsletter_id
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
    """Undo leaving; True when the reader is known."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None or readers.subscription(session, row.newsletter_id, subscriber) is None:
            return False
        if readers.set_state(session, row.newsletter_id, subscriber, SubscriptionState.active, now):
            readers.add_consent(
                session,
                Consent(
                    subscriber_id=subscriber,
                    newsletter_id=row.newsletter_id,
                    kind="subscribe",
                    given=True,
                    source="undo on the unsubscribe page",
                    at=now,
                ),
            )
        return True


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
