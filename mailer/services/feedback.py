"""Feedback: what comes back by mail or is told by hand. It writes rows that expand reads and send checks again."""

from collections.abc import Sequence
from datetime import datetime

from mailer.store import readers
from mailer.store.database import Database


def suppress(database: Database, hashes: Sequence[bytes], reason: str) -> int:
    """Suppress addresses by their keyed hashes; returns how many were not suppressed before."""
    with database.transaction() as session:
        return sum(readers.suppress(session, address_hash, reason, "") for address_hash in hashes)
