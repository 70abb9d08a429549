"""Limits on what anyone can have sent to an address: confirmations, changes of address and magic links.

All of them share one counter for each mailbox and one for each network.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.store import rate_limits
from mailer.store.database import Database, Session

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
MAX_UNCONFIRMED_MAILS_PER_DAY = 3
"""To one mailbox whose owner has not confirmed the address, counted over all spellings of the address."""
MAX_MAILS_PER_DAY = 6
"""To one mailbox. What strangers may cause leaves half of it for magic links."""
_MAX_REQUESTS_PER_HOUR = 30
"""From one network. An office or a classroom may share one IP address."""
MAX_REQUESTS_PER_ISP_HOUR = 300
"""From all networks of an IPv6 provider. A single customer may have thousands of them."""


class RateLimited(RuntimeError):
    """Too many requests came from this network. Please try again later."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Where a request comes from. The hashes are keyed."""

    network_hash: bytes
    isp_hash: bytes = b""
    """Hash of the provider's IPv6 prefix; empty if it is not counted."""


def check_network(database: Database, requester: Requester, now: datetime) -> None:
    """Count a request, also if what it asks for fails later. Raises RateLimited."""
    with database.transaction() as session:
        key = b"network" + requester.network_hash
        allowed = rate_limits.acquire(session, key, now, _HOUR, _MAX_REQUESTS_PER_HOUR)
        if allowed and requester.isp_hash:
            key = b"provider" + requester.isp_hash
            allowed = rate_limits.acquire(session, key, now, _HOUR, MAX_REQUESTS_PER_ISP_HOUR)
    if not allowed:
        raise RateLimited(RateLimited.__doc__)


def may_mail(session: Session, mailbox_hash: bytes, now: datetime, limit: int = MAX_UNCONFIRMED_MAILS_PER_DAY) -> bool:
    """Return whether another requested email may go to a mailbox today, and count it if so.

    ``mailbox_hash``: the keyed hash of the mailbox, without spelling variants such as tags.
    """
    return rate_limits.acquire(session, b"mailbox" + mailbox_hash, now, _DAY, limit)
