"""Which mail servers DNS names for the receiving domains of many readers."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.models import MailDomain


def mx_hosts(session: Session) -> dict[str, str]:
    """Return domain → the mail server that DNS prefers for it, of all that were looked up."""
    found = session.execute(select(MailDomain.domain, MailDomain.mx_host).where(MailDomain.mx_host != ""))
    return {row.domain: row.mx_host for row in found}


def stale_domains(session: Session, min_subscribers: int, looked_up_before: datetime, limit: int) -> list[str]:
    """Domains of at least that many readers that were not looked up since ``before``; the largest first."""
    query = """
        SELECT domain FROM (
            SELECT lower(split_part(address, '@', 2)) AS domain, count(*) AS n FROM subscriber GROUP BY 1
        ) counted
        WHERE n >= :readers AND NOT EXISTS (
            SELECT FROM mail_domain m WHERE m.domain = counted.domain AND m.looked_up_at > :before
        )
        ORDER BY n DESC LIMIT :limit
    """
    return list(session.scalars(text(query), {"readers": min_subscribers, "before": looked_up_before, "limit": limit}))


def save_mx_host(session: Session, domain: str, mx_host: str, now: datetime) -> None:
    """Write down what a look-up found; empty: the domain has no mail server."""
    row = insert(MailDomain).values(domain=domain, mx_host=mx_host, looked_up_at=now)
    session.execute(
        row.on_conflict_do_update(index_elements=["domain"], set_={"mx_host": mx_host, "looked_up_at": now})
    )
