"""Depth, age and throughput of each queue, computed from the rows that represent the work."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.queue_status import QueueDepth

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


def has_subscribers_at(session: Session, domain: str) -> bool:
    """Return whether any subscriber has an address at a domain. Reads all subscribers if none has."""
    query = "SELECT EXISTS (SELECT FROM subscriber WHERE lower(split_part(address, '@', 2)) = :domain)"
    return bool(session.scalar(text(query), {"domain": domain}))


def stalled_issues(session: Session, since: datetime) -> dict[int, datetime]:
    """Return issue → time of its last progress, for issues with due work that made none after ``since``.

    Progress is a finished delivery, the beginning of sending, or a resumption.
    """
    query = """
        WITH quiet AS MATERIALIZED (
            SELECT i.id, greatest(i.ready_at, (SELECT max(progressed_at) FROM batch WHERE issue_id = i.id), (
                SELECT max(at) FROM issue_event WHERE issue_id = i.id AND kind = 'resumed'
            )) AS last
            FROM issue i WHERE i.state = 'sending'
        )
        SELECT id, last FROM quiet WHERE last <= :since AND (EXISTS (
            SELECT FROM batch b JOIN delivery d ON d.issue_id = b.issue_id
                AND d.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
            WHERE b.issue_id = quiet.id AND (b.state = 'sending' OR b.state = 'ready' AND b.due_at <= :since)
              AND (d.state = 'pending' AND d.due_at <= :since OR d.state = 'sending')
        ) OR EXISTS (
            SELECT FROM batch b JOIN batch_refusal g ON g.batch_id = b.id
            WHERE b.issue_id = quiet.id AND b.state = 'ready' AND (g.held > 0 OR g.next_due_at <= :since)
        ))
    """
    return {row.id: row.last for row in session.execute(text(query), {"since": since})}


def count_uncertain(session: Session) -> dict[int, int]:
    """Return issue → number of uncertain deliveries."""
    query = "SELECT issue_id, sum(uncertain)::bigint FROM batch WHERE uncertain > 0 GROUP BY 1 ORDER BY 1"
    return {row[0]: row[1] for row in session.execute(text(query))}


def count_expired_leases(session: Session, now: datetime) -> int:
    """Return how many batches have an expired lease: their worker was lost and none has taken over yet."""
    query = "SELECT count(*) FROM batch WHERE state = 'sending' AND lease_until < :now"
    return session.scalar(text(query), {"now": now}) or 0
