"""Looks up the MX hosts of receiving domains: domains with the same host share a rate limit."""

from collections.abc import Callable
from datetime import datetime, timedelta

from mailer.store import mail_domains
from mailer.store.database import Database

MIN_SUBSCRIBERS = 20
"""A domain is looked up if it has this many subscribers, so that no lookup reveals a reader."""
_REFRESH_INTERVAL = timedelta(days=7)
_MAX_DOMAINS_PER_RUN = 200
_MAX_FAILED_LOOKUPS = 3


def refresh(database: Database, preferred_mx: Callable[[str], str], now: datetime) -> int:
    """Look up the MX hosts of large domains that are out of date. Return their number.

    ``preferred_mx`` returns the preferred mail server of a domain, and raises OSError if DNS does not answer. After
    three such errors the other domains are left for the next run.
    """
    with database.transaction() as session:
        domains = mail_domains.stale_domains(session, MIN_SUBSCRIBERS, now - _REFRESH_INTERVAL, _MAX_DOMAINS_PER_RUN)
    updated = failed = 0
    for domain in domains:
        try:
            server = preferred_mx(domain)
        except OSError:
            failed += 1
            if failed == _MAX_FAILED_LOOKUPS:
                break
            continue
        with database.transaction() as session:
            mail_domains.save_mx_host(session, domain, server, now)
        updated += 1
    return updated
