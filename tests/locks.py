"""Waiting until somebody waits, for tests of what happens at the same moment."""

import time
from concurrent.futures import Future
from typing import Any

from sqlalchemy import text

from mailer.store.database import Session


def wait_for_a_lock(session: Session, waiting: Future[Any]) -> int:
    """The process of the connection that waits for another transaction."""
    # Other tests are at work on other databases of the same server.
    query = text(
        "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND locktype = 'transactionid' AND datname = current_database() LIMIT 1"
    )
    until = time.monotonic() + 30
    while not (found := session.scalar(query)):
        assert time.monotonic() < until, "it never came to wait"
        assert not waiting.done(), waiting.result()
        time.sleep(0.01)
    return int(found)
