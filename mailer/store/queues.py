"""Depth, age and throughput of each queue, computed from the rows that represent the work."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.queue_status import QueueDepth, RefusalGroup

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
    """Postponed deliveries to a domain: deferred by it, rate-limited or blocked."""

    domain: str
    waiting: int
    retries: int
    """How many of them were attempted before."""
    total_waiting: int
    """Over all domains, including those not listed."""
    total_retries: int
    earliest_retry_at: datetime | None


def list_postponed(session: Session, now: datetime, limit: int, *, include_blocked: bool) -> list[PostponedDomain]:
    """Return postponed deliveries by domain, most first.

    ``include_blocked`` also counts due first attempts that were left over when their batch was postponed or moved to
    the retry queue. It is slow if there are many; pass it only if a destination is blocked.
    """
    # OFFSET makes the planner read the few batches first, then their deliveries.
    query = """
        SELECT domain, waiting, again,
            sum(waiting) OVER ()::bigint, sum(again) OVER ()::bigint, min(next_again) OVER () FROM (
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


def refusals(
    session: Session, limit: int, *, relay: str | None = None, domains: Sequence[str] | None = None
) -> list[RefusalGroup]:
    """Return what one relay, or the servers of some domains, refused of the issues in flight, most first."""
    query = """
        SELECT coalesce(substring(d.last_reply FROM '^[245][0-9]{2}(?: [245][.][0-9]{1,3}[.][0-9]{1,3})?'), ''),
            count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'failed'),
            min(d.due_at) FILTER (WHERE d.state = 'pending'), min(d.last_reply)
        FROM batch b
        JOIN issue i ON i.id = b.issue_id AND i.state IN ('sending', 'paused')
        CROSS JOIN LATERAL (
            SELECT * FROM delivery
            WHERE issue_id = b.issue_id AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
              AND (state = 'pending' AND attempts > 0 OR state = 'failed')
              AND last_reply IS NOT NULL AND (CAST(:relay AS text) IS NULL OR relay = :relay) OFFSET 0
        ) d
        JOIN subscriber r ON r.id = d.subscriber_id
        WHERE (b.failed > 0 OR b.state IN ('ready', 'sending')) AND (
            CAST(:domains AS text[]) IS NULL OR lower(split_part(r.address, '@', 2)) = ANY(CAST(:domains AS text[]))
        )
        GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :limit
    """
    values = {"relay": relay, "domains": None if domains is None else list(domains), "limit": limit}
    return [RefusalGroup(*row) for row in session.execute(text(query), values)]


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
        SELECT id, last FROM quiet WHERE last <= :since AND EXISTS (
            SELECT FROM batch b JOIN delivery d ON d.issue_id = b.issue_id
                AND d.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
            WHERE b.issue_id = quiet.id AND b.state IN ('ready', 'sending')
              AND (d.state = 'pending' AND d.due_at <= :since OR d.state = 'sending')
        )
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
