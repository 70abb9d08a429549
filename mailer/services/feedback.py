"""Feedback: what comes back by mail or is told by hand. It writes rows that expand reads and send checks again."""

from collections.abc import Sequence
from datetime import datetime

from mailer.domain.states import SubscriptionState
from mailer.store import feedback, newsletters, readers
from mailer.store.database import Database


class NoNewsletter(LookupError):
    """There is no such newsletter."""


def suppress(database: Database, hashes: Sequence[bytes], reason: str) -> int:
    """Suppress addresses by their keyed hashes; returns how many were not suppressed before."""
    with database.transaction() as session:
        return sum(readers.suppress(session, address_hash, reason, "") for address_hash in hashes)


def unsubscribe(database: Database, slug: str, hashes: Sequence[bytes], now: datetime) -> int:
    """End subscriptions to a newsletter for people who asked for it in another way than by their link.

    Returns how many were subscribed. The last-moment check keeps queued mail back.
    """
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None:
            raise NoNewsletter(f"There is no newsletter “{slug}”; there is {', '.join(newsletters.slugs(session))}.")
        ended = 0
        for address_hash in hashes:
            reader = readers.by_hash(session, address_hash)
            if reader and readers.set_state(
                session, newsletter.id, reader.id, SubscriptionState.unsubscribed, now
            ):
                feedback.add(session, "unsubscribe", now, newsletter.id, None, reader.id, {"how": "by hand"})
                ended += 1
        return ended
