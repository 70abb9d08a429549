"""Mail to a subscriber that a worker is sending at this moment."""

import time
from collections.abc import Collection

from mailer.store import batches, deliveries
from mailer.store.database import Database, Session

_POLL_SECONDS = 0.05
_MAX_POLLS = 200


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
    """Wait until no worker is sending mail to a subscriber. Return False after ten seconds."""
    for _ in range(_MAX_POLLS):
        with database.transaction() as session:
            if not has_mail_in_flight(session, newsletters, subscriber):
                return True
        time.sleep(_POLL_SECONDS)
    return False
