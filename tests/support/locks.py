"""Waiting until somebody waits, for tests of what happens at the same moment."""

import time
from concurrent.futures import Future
from typing import Any

from sqlalchemy import text

from mailer.store.database import Session


def wait_for_lock(session: Session, waiting: Future[Any]) -> int:
    """The process of the connection that waits for another transaction."""
    # Other tests are at work on other databases of the same server. Who is connected to which, a transaction looks
    # up only once; whoever waits has locks on tables.
    query = text("""
        SELECT w.pid FROM pg_locks w
        JOIN pg_locks t ON t.pid = w.pid
        JOIN pg_database d ON d.oid = t.database AND d.datname = current_database()
        WHERE NOT w.granted AND w.locktype = 'transactionid' LIMIT 1
    """)
    until = time.monotonic() + 30
    while not (found := session.scalar(query)):
        assert time.monotonic() < until, "it never came to wait"
        assert not waiting.done(), waiting.result()
        time.sleep(0.01)
    return int(found)
