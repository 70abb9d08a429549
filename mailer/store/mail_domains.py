"""Mail servers (MX hosts) of receiving domains with many subscribers."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.models import MailDomain


def mx_hosts(session: Session) -> dict[str, str]:
    """Return domain → preferred mail server, for all domains that were looked up and have one."""
    rows = session.execute(select(MailDomain.domain, MailDomain.mx_host).where(MailDomain.mx_host != ""))
    return {row.domain: row.mx_host for row in rows}


def stale_domains(session: Session, min_subscribers: int, looked_up_before: datetime, limit: int) -> list[str]:
    """Return domains with at least ``min_subscribers`` that need a look-up, largest first."""
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
    """Save the result of a look-up. An empty ``mx_host`` means that the domain has no mail server."""
    row = insert(MailDomain).values(domain=domain, mx_host=mx_host, looked_up_at=now)
    session.execute(
        row.on_conflict_do_update(index_elements=["domain"], set_={"mx_host": mx_host, "looked_up_at": now})
    )
