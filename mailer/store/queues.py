"""How much waits in each queue, for how long, and how much has gone through: read from the rows that own the work."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Depth:
    """Of one queue. ``entered`` and ``left`` only ever grow while an issue goes out: what they gain in a second is
    the flow."""

    queue: str
    waiting: int
    oldest: datetime | None
    """Since when the one that waits longest could have been taken."""
    entered: int
    left: int


_DEPTHS = """
WITH open AS (
    SELECT b.*, i.frozen_at, i.composed_at, i.state = 'sending' AS running,
        b.candidates - b.sent - b.failed - b.skipped - b.uncertain AS pending
    FROM batch b JOIN issue i ON i.id = b.issue_id WHERE i.state IN ('sending', 'paused')
)
SELECT 'expand' AS queue, coalesce(sum(candidates) FILTER (WHERE state = 'planned'), 0)::bigint AS waiting,
    min(frozen_at) FILTER (WHERE state = 'planned') AS oldest,
    coalesce(sum(candidates), 0)::bigint AS entered,
    coalesce(sum(candidates) FILTER (WHERE state <> 'planned'), 0)::bigint AS left
FROM open
UNION ALL
SELECT 'compose', count(*) FILTER (WHERE e.revision <> i.revision),
    min(i.frozen_at) FILTER (WHERE e.revision <> i.revision), count(*), count(*) FILTER (WHERE e.revision = i.revision)
FROM edition e JOIN issue i ON i.id = e.issue_id WHERE i.state IN ('sending', 'paused')
UNION ALL
SELECT 'send',
    coalesce(sum(pending) FILTER (WHERE ready AND NOT retry), 0)::bigint,
    min(due_at) FILTER (WHERE ready AND NOT retry AND pending > 0),
    coalesce(sum(candidates) FILTER (WHERE state <> 'planned'), 0)::bigint,
    coalesce(sum(sent + failed + skipped + uncertain), 0)::bigint
FROM (
    SELECT *, running AND composed_at IS NOT NULL AND (state = 'sending' OR state = 'ready' AND due_at <= :now) AS ready
    FROM open
) b
UNION ALL
SELECT 'retry', coalesce(sum(pending), 0)::bigint, min(due_at), 0, 0
FROM open
WHERE retry AND running AND composed_at IS NOT NULL AND (state = 'sending' OR state = 'ready' AND due_at <= :now)
UNION ALL
SELECT 'notes', count(*) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now),
    min(due_at) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now),
    count(*), count(*) FILTER (WHERE sent_at IS NOT NULL OR given_up_at IS NOT NULL)
FROM note
"""


def depths(session: Session, now: datetime) -> list[Depth]:
    return [Depth(*row) for row in session.execute(text(_DEPTHS), {"now": now})]


@dataclass(frozen=True, slots=True)
class Later:
    """Deliveries of a destination's domain that wait for another attempt."""

    domain: str
    count: int
    next_due: datetime
    said: str


def deferred(session: Session, limit: int) -> list[Later]:
    """Deferred deliveries by domain, most first; ``said`` is the code that they were deferred with most often."""
    query = """
        SELECT lower(split_part(r.address, '@', 2)), count(*), min(d.due_at),
            coalesce(mode() WITHIN GROUP (ORDER BY substring(d.reply from '^[0-9]{3}(?: [0-9.]{5,11})?')), '')
        FROM batch b
        JOIN issue i ON i.id = b.issue_id AND i.state IN ('sending', 'paused')
        JOIN delivery d ON d.issue_id = b.issue_id AND d.subscriber_id BETWEEN b.first AND b.last
        JOIN subscriber r ON r.id = d.subscriber_id
        WHERE b.state IN ('ready', 'sending') AND d.state = 'pending' AND d.attempts > 0
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit
    """
    return [Later(*row) for row in session.execute(text(query), {"limit": limit})]


def uncertain(session: Session) -> dict[int, int]:
    """issue → deliveries that somebody has to settle."""
    query = "SELECT issue_id, sum(uncertain)::bigint FROM batch WHERE uncertain > 0 GROUP BY 1 ORDER BY 1"
    return {row[0]: row[1] for row in session.execute(text(query))}


def overdue(session: Session, now: datetime) -> int:
    """Batches whose worker's lease is over: lost, and not taken over yet."""
    query = "SELECT count(*) FROM batch WHERE state = 'sending' AND lease_until < :now"
    return session.scalar(text(query), {"now": now}) or 0
