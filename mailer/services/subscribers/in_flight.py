"""Mail to a subscriber that is with a relay at this moment."""

import time
from collections.abc import Collection

from mailer.store import batches, deliveries
from mailer.store.database import Database, Session

_POLL_SECONDS = 0.05
_MAX_POLLS = 200
"""Ten seconds."""


def has_mail_in_flight(session: Session, newsletters: Collection[int], subscriber: int) -> bool:
    """Return whether a worker has mail of these newsletters for a subscriber in hand.

    Until the transaction ends no worker reserves more.
    """
    for newsletter in newsletters:
        for issue in batches.issues_with_unfinished_batch(session, newsletter, subscriber):
            # A worker that reserves deliveries holds the batch: once it is ours, its reservation is committed.
            batches.lock_for_subscriber(session, issue, subscriber)
    return any(deliveries.issues_in_flight(session, subscriber, newsletter) for newsletter in newsletters)


def wait_for_mail_in_flight(database: Database, newsletters: Collection[int], subscriber: int) -> bool:
    """Wait until no worker has mail for a subscriber in hand; return False when that takes too long."""
    for _ in range(_MAX_POLLS):
        with database.transaction() as session:
            if not has_mail_in_flight(session, newsletters, subscriber):
                return True
        time.sleep(_POLL_SECONDS)
    return False
