"""How much waits in each queue, for how long, and how much has gone through: read from the rows that own the work."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Of one queue. ``entered`` and ``left`` only ever grow while an issue goes out: what they gain in a second is
    the flow."""

    queue: str
    waiting: int
    not_ready: int
    """What cannot be taken now: its time has not come, nothing may go there, or its issue is paused. Over the queues
    of deliveries (``expand``, ``send``, ``retry``), all that is waiting or comes later is all that is pending."""
    oldest: datetime | None
    """Since when the one that waits longest could have been taken."""
    entered: int
    completed: int


_DEPTHS = """
WITH open AS (
    SELECT b.*, i.frozen_at, i.ready_at, i.state = 'sending' AS running,
        b.candidates - b.sent - b.failed - b.skipped - b.uncertain AS pending
    FROM batch b JOIN issue i ON i.id = b.issue_id WHERE i.state IN ('sending', 'paused')
), expanded AS (
    SELECT *,
        running AND ready_at IS NOT NULL AND (state = 'sending' OR state = 'ready' AND due_at <= :now) AS ready
    FROM open WHERE state <> 'planned'
)
SELECT 'expand' AS queue, coalesce(sum(candidates) FILTER (WHERE state = 'planned'), 0)::bigint AS waiting,
    0::bigint AS later,
    min(frozen_at) FILTER (WHERE state = 'planned') AS oldest,
    coalesce(sum(candidates), 0)::bigint AS entered,
    coalesce(sum(candidates) FILTER (WHERE state <> 'planned'), 0)::bigint AS left
FROM open
UNION ALL
SELECT 'compose', count(*) FILTER (WHERE e.revision <> i.revision), 0,
    min(i.frozen_at) FILTER (WHERE e.revision <> i.revision), count(*), count(*) FILTER (WHERE e.revision = i.revision)
FROM edition e JOIN issue i ON i.id = e.issue_id WHERE i.state IN ('sending', 'paused')
UNION ALL
SELECT 'send',
    coalesce(sum(pending) FILTER (WHERE ready AND NOT is_retry), 0)::bigint,
    coalesce(sum(pending) FILTER (WHERE NOT ready AND NOT is_retry), 0)::bigint,
    min(due_at) FILTER (WHERE ready AND NOT is_retry AND pending > 0),
    coalesce(sum(candidates) FILTER (WHERE state <> 'planned'), 0)::bigint,
    coalesce(sum(sent + failed + skipped + uncertain), 0)::bigint
FROM expanded
UNION ALL
SELECT 'retry', coalesce(sum(pending) FILTER (WHERE ready), 0)::bigint,
    coalesce(sum(pending) FILTER (WHERE NOT ready), 0)::bigint, min(due_at) FILTER (WHERE ready), 0, 0
FROM expanded WHERE is_retry
UNION ALL
SELECT 'transactional', count(*) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now),
    count(*) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at > :now),
    min(due_at) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now),
    count(*), count(*) FILTER (WHERE sent_at IS NOT NULL OR given_up_at IS NOT NULL)
FROM transactional_email
"""


def depths(session: Session, now: datetime) -> list[QueueDepth]:
    return [QueueDepth(*row) for row in session.execute(text(_DEPTHS), {"now": now})]


class PostponedDomain(NamedTuple):
    """Deliveries to a domain that were put off: by the domain, by a limit, or since nothing may go there."""

    domain: str
    waiting: int
    retries: int
    """Those of them that were tried before."""
    next_retry_at: datetime | None
    total_waiting: int
    """Of all domains, also of those that are not listed."""
    total_retries: int
    earliest_retry_at: datetime | None


def list_postponed(session: Session, now: datetime, limit: int, *, include_blocked: bool) -> list[PostponedDomain]:
    """What was put off, by domain, most first.

    ``held``: also what was not tried before, is due, and is left over in a batch that comes later or through the
    queue of retries. Ask for that when destinations are held back: it may be much, and takes as long.
    """
    # OFFSET keeps it in this order: the few batches first, then what is in them.
    query = """
        SELECT *, sum(waiting) OVER ()::bigint, sum(again) OVER ()::bigint, min(next_again) OVER () FROM (
            SELECT lower(split_part(r.address, '@', 2)) AS domain, count(*) AS waiting,
                count(*) FILTER (WHERE d.attempts > 0) AS again,
                min(d.due_at) FILTER (WHERE d.attempts > 0) AS next_again
            FROM batch b
            JOIN issue i ON i.id = b.issue_id AND i.state IN ('sending', 'paused')
            CROSS JOIN LATERAL (
                SELECT * FROM delivery
                WHERE issue_id = b.issue_id
                  AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id AND state = 'pending'
                  AND (attempts > 0 OR :held AND due_at <= :now AND (b.is_retry OR b.due_at > :now)) OFFSET 0
            ) d
            JOIN subscriber r ON r.id = d.subscriber_id
            WHERE b.state IN ('ready', 'sending')
            GROUP BY 1
        ) by_domain ORDER BY waiting DESC, domain LIMIT :limit
    """
    return [
        PostponedDomain(*row)
        for row in session.execute(text(query), {"now": now, "limit": limit, "held": include_blocked})
    ]


def has_subscribers_at(session: Session, domain: str) -> bool:
    """Whether any reader has an address at a domain. Looks through all readers when none has."""
    query = "SELECT EXISTS (SELECT FROM subscriber WHERE lower(split_part(address, '@', 2)) = :domain)"
    return bool(session.scalar(text(query), {"domain": domain}))


def count_uncertain(session: Session) -> dict[int, int]:
    """Return issue → deliveries that somebody has to settle."""
    query = "SELECT issue_id, sum(uncertain)::bigint FROM batch WHERE uncertain > 0 GROUP BY 1 ORDER BY 1"
    return {row[0]: row[1] for row in session.execute(text(query))}


def count_expired_leases(session: Session, now: datetime) -> int:
    """Batches whose worker's lease is over: lost, and not taken over yet."""
    query = "SELECT count(*) FROM batch WHERE state = 'sending' AND lease_until < :now"
    return session.scalar(text(query), {"now": now}) or 0
