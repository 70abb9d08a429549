"""What waits or failed because it was refused, by domain, relay and reply.

Deliveries are counted once, when their batch is released or changed by hand. Only those of the few batches that are
being sent are read for each question, so it takes the same time for a million deliveries as for ten thousand.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.queue_status import RefusalGroup

# Numbers, addresses and ids differ in each reply of the same wording.
_WORDING = r"hashtext(left(regexp_replace(d.last_reply, '<[^>]*>|\S*@\S*|\S*\d\S*', '', 'g'), 200))"
CODE = "substring(d.last_reply FROM '^[245][0-9]{2}(?: [245][.][0-9]{1,3}[.][0-9]{1,3})?')"
"""The code at the beginning of the last reply of the delivery ``d``, in SQL."""


def _groups(batches: str) -> str:
    """Return the query that counts what waits and failed of some batches."""
    return f"""
    SELECT b.id AS batch_id, lower(split_part(r.address, '@', 2)) AS domain, coalesce(d.relay, '') AS relay,
        coalesce({CODE}, '') AS code, coalesce({_WORDING}, 0) AS wording,
        count(*) FILTER (WHERE d.state = 'pending' AND d.attempts > 0)::int AS deferred,
        count(*) FILTER (WHERE d.state = 'pending' AND d.attempts = 0)::int AS held,
        count(*) FILTER (WHERE d.state = 'failed')::int AS failed,
        min(d.due_at) FILTER (WHERE d.state = 'pending' AND d.attempts > 0) AS next_due_at,
        min(d.subscriber_id) AS example
    FROM batch b
    -- OFFSET makes the planner read the few batches first, then their deliveries.
    CROSS JOIN LATERAL (
        SELECT * FROM delivery
        WHERE issue_id = b.issue_id AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
          AND (state = 'failed' OR state = 'pending' AND (attempts > 0 OR due_at <= clock_timestamp())) OFFSET 0
    ) d
    JOIN subscriber r ON r.id = d.subscriber_id
    WHERE {batches} GROUP BY 1, 2, 3, 4, 5
    """


_COUNT = f"""
INSERT INTO batch_refusal (batch_id, domain, relay, code, wording, deferred, held, failed, next_due_at, example)
{_groups("b.id = ANY(CAST(:batches AS bigint[])) AND b.state <> 'sending'")}
"""
# Both parts have the same types, so that a condition on the result reaches the index of the table.
_IN_FLIGHT = f"""
SELECT b.issue_id, b.state AS batch_state, b.is_retry, b.due_at, g.*
FROM batch_refusal g JOIN batch b ON b.id = g.batch_id AND b.state <> 'sending'
JOIN issue i ON i.id = b.issue_id AND i.state IN ('sending', 'paused')
UNION ALL
SELECT b.issue_id, b.state, b.is_retry, b.due_at, g.*
FROM ({_groups("b.state = 'sending'")}) g JOIN batch b ON b.id = g.batch_id
JOIN issue i ON i.id = b.issue_id AND i.state IN ('sending', 'paused')
"""


def count(session: Session, batches: Sequence[int]) -> None:
    """Count what waits and failed of these batches again, except those being sent. Call it with the batches locked.

    Those are counted when they are released.
    """
    if batches:
        session.execute(text("DELETE FROM batch_refusal WHERE batch_id = ANY(:batches)"), {"batches": list(batches)})
        session.execute(text(_COUNT), {"batches": list(batches)})


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
    the retry queue.
    """
    query = f"""
        SELECT domain, waiting, again,
            sum(waiting) OVER ()::bigint, sum(again) OVER ()::bigint, min(next_again) OVER () FROM (
            SELECT domain, sum(deferred)::bigint AS again, min(next_due_at) AS next_again,
                (sum(deferred) + coalesce(
                    sum(held) FILTER (WHERE :held AND (is_retry OR due_at > :now)), 0))::bigint AS waiting
            FROM ({_IN_FLIGHT}) g
            WHERE batch_state IN ('ready', 'sending') AND (deferred > 0 OR held > 0) GROUP BY 1
        ) by_domain WHERE waiting > 0 ORDER BY waiting DESC, domain LIMIT :limit
    """
    values = {"now": now, "limit": limit, "held": include_blocked}
    return [PostponedDomain(*row) for row in session.execute(text(query), values)]


def list_groups(
    session: Session, limit: int, *, relay: str | None = None, domains: Sequence[str] | None = None
) -> list[RefusalGroup]:
    """Return what one relay, or the servers of some domains, refused of the issues in flight, most first."""
    query = f"""
        SELECT code, deferred, failed, next_due_at, coalesce(d.last_reply, '') FROM (
            SELECT code, wording, sum(deferred)::bigint AS deferred, sum(failed)::bigint AS failed,
                min(next_due_at) AS next_due_at, (array_agg(issue_id ORDER BY issue_id, example))[1] AS issue,
                (array_agg(example ORDER BY issue_id, example))[1] AS example
            FROM ({_IN_FLIGHT}) g
            WHERE (code <> '' OR wording <> 0) AND deferred + failed > 0
              AND (CAST(:relay AS text) IS NULL OR relay = :relay)
              AND (CAST(:domains AS text[]) IS NULL OR domain = ANY(CAST(:domains AS text[])))
            GROUP BY 1, 2 ORDER BY sum(deferred + failed) DESC, 1, 2 LIMIT :limit
        ) g LEFT JOIN delivery d ON d.issue_id = g.issue AND d.subscriber_id = g.example
        ORDER BY deferred + failed DESC, code, last_reply
    """
    values = {"relay": relay, "domains": None if domains is None else list(domains), "limit": limit}
    return [RefusalGroup(*row) for row in session.execute(text(query), values)]
