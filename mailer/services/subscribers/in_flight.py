"""Mail to a subscriber that a worker is sending at this moment."""

import time
from collections.abc import Collection, Mapping

from mailer.store import batches, deliveries, subscribers
from mailer.store.database import Database, Session

_POLL_SECONDS = 0.05
_MAX_POLLS = 60
"""Three seconds: a sender looks every half second whom it may still send to, and the worker may be dead."""


def has_mail_in_flight(session: Session, newsletters: Collection[int], subscriber: int) -> bool:
    """Return whether a worker is sending mail of these newsletters to a subscriber.

    No worker can reserve more of it until the transaction ends.
    """
    for newsletter in newsletters:
        for issue in batches.issues_with_unfinished_batch(session, newsletter, subscriber):
            # A worker locks the batch while it reserves deliveries. With our lock, its reservation is committed.
            batches.lock_for_subscriber(session, issue, subscriber)
    return any(deliveries.issues_in_flight(session, subscriber, newsletter) for newsletter in newsletters)


def wait_for_mail_in_flight(database: Database, newsletters: Collection[int], subscriber: int) -> bool:
    """Wait until no worker is sending mail to a subscriber. Return False after three seconds."""
    return not _wait(database, {subscriber: newsletters})


def wait_for_addresses(database: Database, address_hashes: Collection[bytes]) -> int:
    """Wait until no worker is sending mail to these addresses, for three seconds; return to how many one still is."""
    with database.transaction() as session:
        found = [subscribers.by_hash(session, address_hash) for address_hash in address_hashes]
        newsletters = {one.id: list(subscribers.subscriptions(session, one.id)) for one in found if one}
    return len(_wait(database, newsletters))


def _wait(database: Database, newsletters: Mapping[int, Collection[int]]) -> set[int]:
    """Wait until no mail of these newsletters, by subscriber, is being sent. Return to whom it still is at the end."""
    waiting = set(newsletters)
    for _ in range(_MAX_POLLS):
        with database.transaction() as session:
            waiting = {one for one in sorted(waiting) if has_mail_in_flight(session, newsletters[one], one)}
        if not waiting:
            break
        time.sleep(_POLL_SECONDS)
    return waiting
