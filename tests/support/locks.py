"""Waiting for lock contention, for tests of concurrent transactions."""

import time
from concurrent.futures import Future
from typing import Any

from sqlalchemy import text

from mailer.store.database import Session


def wait_for_lock(session: Session, waiting: Future[Any], kind: str = "transactionid") -> int:
    """Wait until a connection waits for another transaction. Return its backend process id."""
    # Other tests use other databases on the same server. pg_stat_activity is cached within a transaction, so the
    # database is found by the table locks of the waiting process.
    query = text("""
        SELECT w.pid FROM pg_locks w
        JOIN pg_locks t ON t.pid = w.pid
        JOIN pg_database d ON d.oid = t.database AND d.datname = current_database()
        WHERE NOT w.granted AND w.locktype = :kind LIMIT 1
    """)
    deadline = time.monotonic() + 30
    while not (pid := session.scalar(query, {"kind": kind})):
        assert time.monotonic() < deadline, "no connection waits for a lock"
        assert not waiting.done(), waiting.result()
        time.sleep(0.01)
    return int(pid)
