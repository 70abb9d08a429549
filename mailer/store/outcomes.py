"""What became of an issue's mail, by language, section and receiving domain."""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session


class Outcome(NamedTuple):
    """Deliveries that were sent or failed; of those sent, how many bounced; and after how many the reader left."""

    sent: int
    failed: int
    bounced: int
    left: int


_OUTCOMES = """
WITH returned AS (
    SELECT subscriber_id, bool_or(kind = 'bounce') AS bounced, bool_or(kind = 'unsubscribe') AS unsubscribed
    FROM feedback WHERE issue_id = :issue AND kind IN ('bounce', 'unsubscribe') GROUP BY 1
)
SELECT {by}, count(*) FILTER (WHERE d.state = 'sent'), count(*) FILTER (WHERE d.state = 'failed'),
    count(*) FILTER (WHERE f.bounced AND (d.state = 'sent' OR d.resolution_source = 'bounce')),
    count(*) FILTER (WHERE f.unsubscribed)
FROM delivery d {join} LEFT JOIN returned f ON f.subscriber_id = d.subscriber_id
WHERE d.issue_id = :issue AND d.state IN ('sent', 'failed', 'uncertain')
"""


def of_issue(session: Session, issue: int) -> Outcome:
    query = _OUTCOMES.format(by="1", join="")
    row = session.execute(text(f"{query} GROUP BY 1"), {"issue": issue}).first()
    return Outcome(*row[1:]) if row else Outcome(0, 0, 0, 0)


def by_edition(session: Session, issue: int) -> list[tuple[str, int, Outcome]]:
    """Return (language, section mask, outcome) of each edition."""
    query = _OUTCOMES.format(by="e.language, e.sections", join="JOIN edition e ON e.id = d.edition_id")
    rows = session.execute(text(f"{query} GROUP BY 1, 2"), {"issue": issue})
    return [(row[0], row[1], Outcome(*row[2:])) for row in rows]


def by_domain(session: Session, issue: int, limit: int) -> list[tuple[str, Outcome]]:
    """Return (domain, outcome), the domains with most readers first; none for readers whose data was erased."""
    query = _OUTCOMES.format(
        by="lower(split_part(r.address, '@', 2))", join="JOIN subscriber r ON r.id = d.subscriber_id"
    )
    rows = session.execute(
        text(f"{query} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :limit"), {"issue": issue, "limit": limit}
    )
    return [(row[0], Outcome(*row[1:])) for row in rows]
