"""Destinations: learn from DNS which receiving domains share their mail servers, so that they share a limit, too."""

from collections.abc import Callable
from datetime import datetime, timedelta

from mailer.store import mail_domains
from mailer.store.database import Database

FEWEST = 20
"""Readers of a domain that is worth a question; it says nothing of a single one."""
_AGAIN = timedelta(days=7)
_AT_ONCE = 200
_PATIENCE = 3


def learn(database: Database, exchange: Callable[[str], str], now: datetime) -> int:
    """Look the domains of many readers up that were not looked up lately; returns how many were.

    ``exchange`` tells the preferred mail server of a domain, and raises OSError when DNS does not answer: after three
    of these the rest waits for the next time.
    """
    with database.transaction() as session:
        domains = mail_domains.to_look_up(session, FEWEST, now - _AGAIN, _AT_ONCE)
    found, silent = 0, 0
    for domain in domains:
        try:
            server = exchange(domain)
        except OSError:
            silent += 1
            if silent == _PATIENCE:
                break
            continue
        with database.transaction() as session:
            mail_domains.note(session, domain, server, now)
        found += 1
    return found
