"""Destinations: learn from DNS which receiving domains share their mail servers, so that they share a limit, too."""

from collections.abc import Callable
from datetime import datetime, timedelta

from mailer.store import mail_domains
from mailer.store.database import Database

MIN_SUBSCRIBERS = 20
"""Readers of a domain that is worth a question; it says nothing of a single one."""
_REFRESH_INTERVAL = timedelta(days=7)
_MAX_DOMAINS_PER_RUN = 200
_MAX_FAILED_LOOKUPS = 3


def refresh(database: Database, preferred_mx: Callable[[str], str], now: datetime) -> int:
    """Look the domains of many readers up that were not looked up lately; returns how many were.

    ``exchange`` tells the preferred mail server of a domain, and raises OSError when DNS does not answer: after three
    of these the rest waits for the next time.
    """
    with database.transaction() as session:
        domains = mail_domains.stale_domains(
            session, MIN_SUBSCRIBERS, now - _REFRESH_INTERVAL, _MAX_DOMAINS_PER_RUN
        )
    found, silent = 0, 0
    for domain in domains:
        try:
            server = preferred_mx(domain)
        except OSError:
            silent += 1
            if silent == _MAX_FAILED_LOOKUPS:
                break
            continue
        with database.transaction() as session:
            mail_domains.save_mx_host(session, domain, server, now)
        found += 1
    return found
