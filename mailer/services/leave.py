"""Leave: ending a subscription by a link, also for mail that is already queued, and coming back within a day."""

import time
from datetime import datetime

from mailer.domain.states import SubscriptionState
from mailer.domain.ties import UNDO, UNDONE_BY_MAIL, Tie
from mailer.models import Consent
from mailer.store import batches, deliveries, feedback, people, readers, settling
from mailer.store.database import Database, Session

REASONS = ("often", "interest", "never", "other")
"""Why somebody leaves, as the page asks: too often, not interesting, never asked for it, something else."""
EVERY_ONE = {"mail": "all newsletters", "key": "all newsletters, own page"}
"""How those were ended that were ended together, by a link of any mail or by the reader's own page: they come
back together, too."""
LONGEST_WORDS = 500
_LONGEST_WAIT = 10.0
"""Seconds that leaving waits for a message that is with the relay at this moment."""


def present(database: Database, tie: Tie) -> Tie:
    """A tie as it is now: that of whom its reader was brought together with."""
    with database.transaction() as session:
        return tie._replace(subscriber=people.became(session, tie.subscriber))


def leave(database: Database, tie: Tie, how: str, now: datetime) -> bool:
    """End the subscription that a link belongs to.

    When this returns, nothing more goes out: no worker takes the reader's deliveries from the commit on, and
    a message that is with the relay at that moment is waited for. True when the reader is known; twice is
    the same as once.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return False
        newsletter = found.newsletter.id
        settling.arrived(session, tie, now)
        readers.end(session, newsletter, tie.issue or None, tie.subscriber, how, now)
    wait_for_flights(database, newsletter, tie.subscriber)
    return True


def leave_all(database: Database, tie: Tie, by: str, now: datetime) -> bool:
    """The same for every newsletter that the reader has. ``by``: ``mail`` or ``key``, as in come_back."""
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return False
        settling.arrived(session, tie, now)
        ended = [
            newsletter
            for newsletter in readers.subscriptions(session, tie.subscriber)
            if readers.end(
                session,
                newsletter,
                (tie.issue or None) if newsletter == found.newsletter.id else None,
                tie.subscriber,
                EVERY_ONE[by],
                now,
            )
        ]
    for newsletter in ended:
        wait_for_flights(database, newsletter, tie.subscriber)
    return True


def come_back(database: Database, tie: Tie, by: str, now: datetime) -> bool:
    """Take leaving back within the time for it; True when the reader is subscribed after this. ``by``: ``key``
    may undo any, ``mail`` what a link of any mail has done."""
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return False
        subscription = found.subscription
        if subscription.state is SubscriptionState.active:
            return True
        if subscription.state is not SubscriptionState.unsubscribed or now - subscription.changed_at > UNDO:
            return False
        here = found.newsletter.id
        if by == "mail" and readers.how_left(session, here, tie.subscriber) not in UNDONE_BY_MAIL:
            return False
        for newsletter in {here, *_ended_together(session, tie.subscriber, by, now)}:
            if readers.set_state(session, newsletter, tie.subscriber, SubscriptionState.active, now):
                readers.add_consent(
                    session,
                    Consent(
                        subscriber_id=tie.subscriber,
                        newsletter_id=newsletter,
                        kind="subscribe",
                        given=True,
                        source="undo on the unsubscribe page",
                        at=now,
                    ),
                )
        return True


def _ended_together(session: Session, subscriber: int, by: str, now: datetime) -> list[int]:
    """The newsletters that were left all at once within the time for taking it back, and not touched since."""
    how = set(EVERY_ONE.values()) if by == "key" else {EVERY_ONE["mail"]}
    ties = readers.subscriptions(session, subscriber)
    return [
        consent.newsletter_id
        for consent in readers.consents(session, subscriber)
        if consent.source in how
        and now - consent.at <= UNDO
        and ties[consent.newsletter_id].changed_at == consent.at
    ]


def say_why(database: Database, tie: Tie, reason: str, words: str) -> bool:
    """Note why a reader has left, if they care to tell; True when something was noted.

    A reason that the page does not offer is dropped, and more than LONGEST_WORDS characters are cut.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None or found.subscription.state is not SubscriptionState.unsubscribed:
            return False
        why = {"why": reason} if reason in REASONS else {}
        said = "".join(c for c in words.strip() if c.isprintable() or c == "\n")[:LONGEST_WORDS]
        told = why | ({"words": said} if said else {})
        return bool(told) and feedback.explain_leaving(session, found.newsletter.id, tie.subscriber, told)


def wait_for_flights(database: Database, newsletter: int, subscriber: int) -> bool:
    """Wait until no worker has mail for a reader in hand; False when that takes too long."""
    until = time.monotonic() + _LONGEST_WAIT
    while True:
        with database.transaction() as session:
            for issue in batches.open_for(session, newsletter, subscriber):
                # Whoever is taking deliveries holds the batch: once it is ours, their taking is committed.
                batches.hold_for(session, issue, subscriber)
            flying = deliveries.being_sent(session, subscriber, newsletter)
        if not flying or time.monotonic() > until:
            return not flying
        time.sleep(0.05)
