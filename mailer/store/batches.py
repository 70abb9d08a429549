"""Batches, claimed with a lease and an epoch so that only one worker at a time writes to a range of deliveries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.store import refusals
from mailer.store.database import execute_driver_sql

BATCH_BOUNDARIES = """
SELECT array_agg(first_subscriber_id ORDER BY first_subscriber_id) AS firsts,
    array_agg(id ORDER BY first_subscriber_id) AS ids
FROM batch WHERE issue_id = :issue
"""
"""Arrays for finding the batches of many subscribers at once: ``ids[width_bucket(subscriber, firsts)]``."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch claimed by this worker until the lease ends. ``epoch`` fences every write."""

    batch: int
    issue: int
    newsletter: int
    first_subscriber_id: int
    last_subscriber_id: int
    epoch: int
    is_retry: bool
    digest: bool
    """Whether the issue is a digest for monthly subscribers."""
    previous_worker: str
    """The worker of the last claim. If it was lost, it may have left deliveries in ``sending``."""


# Deliveries that a lost worker left in flight are examined even if the issue has been stopped. The lease is compared
# with the database's clock, which set it.
_MARK_LOST_ENQUEUED = """
UPDATE batch SET enqueued_at = :now
WHERE id IN (
    SELECT id FROM batch
    WHERE state = 'sending' AND lease_until < clock_timestamp() - CAST(:host_grace AS interval)
      AND (enqueued_at IS NULL OR enqueued_at < :stale)
    FOR UPDATE SKIP LOCKED
)
RETURNING id
"""

_MARK_DUE_ENQUEUED = """
-- MATERIALIZED: a plain subquery may run again for each row of the UPDATE, and each run would apply LIMIT anew.
WITH chosen AS MATERIALIZED (
    SELECT b.id FROM batch b JOIN (
        SELECT b.id, row_number() OVER (PARTITION BY b.issue_id ORDER BY b.due_at, b.id) AS turn
        FROM batch b JOIN issue i ON i.id = b.issue_id
        WHERE i.state = 'sending' AND i.ready_at IS NOT NULL AND b.state = 'ready' AND b.due_at <= :now
          AND (b.enqueued_at IS NULL OR b.enqueued_at < :stale)
          AND CASE WHEN b.is_retry THEN :retry ELSE :first END
    ) waiting ON waiting.id = b.id
    -- Repeated for the locked row: another scheduler may have marked it in the meantime.
    WHERE b.enqueued_at IS NULL OR b.enqueued_at < :stale
    ORDER BY waiting.turn, b.due_at, b.id
    LIMIT greatest(0, :limit - (
        SELECT count(*) FROM batch h WHERE h.state = 'ready' AND h.due_at <= :now AND h.enqueued_at >= :stale
    ))
    FOR UPDATE OF b SKIP LOCKED
)
UPDATE batch b SET enqueued_at = :now FROM chosen WHERE b.id = chosen.id
RETURNING b.id, b.is_retry
"""


def mark_enqueued(
    session: Session,
    now: datetime,
    reenqueue_after: timedelta,
    limit: int,
    *,
    host_grace: timedelta = timedelta(0),
    first_attempts: bool = True,
    retries: bool = True,
) -> list[tuple[int, bool]]:
    """Mark as enqueued the batches that are due and not recently enqueued, or whose host is lost.

    Returns (batch, is_retry) pairs sorted by batch. Due batches are selected oldest first, alternating between issues:
    at most ``limit`` minus those enqueued and not yet claimed. Batches of lost hosts come in addition: those whose
    lease expired ``host_grace`` ago and that no worker of the same host has recovered (see ``claim_lost``).
    ``first_attempts`` and ``retries`` tell whether these queues have room.
    """
    times = {"now": now, "stale": now - reenqueue_after}
    lost = session.scalars(text(_MARK_LOST_ENQUEUED), times | {"host_grace": host_grace}) if first_attempts else ()
    lost_batches = [(batch, False) for batch in lost]
    due = session.execute(text(_MARK_DUE_ENQUEUED), times | {"limit": limit, "first": first_attempts, "retry": retries})
    return sorted(lost_batches + [(row.id, row.is_retry) for row in due])


def reset_enqueued(session: Session, issue: int) -> None:
    """Have an issue's batches enqueued again at once. Tasks that ran while it was paused had no effect."""
    query = """
        UPDATE batch SET enqueued_at = NULL
        WHERE issue_id = :issue AND state = 'ready' AND enqueued_at IS NOT NULL
    """
    session.execute(text(query), {"issue": issue})


_CLAIM = """
UPDATE batch b
SET state = 'sending', epoch = b.epoch + 1, worker = :worker,
    lease_until = clock_timestamp() + :lease,
    enqueued_at = NULL -- if this worker is lost, the batch can be enqueued again without delay
FROM issue i, (SELECT id, state, worker FROM batch WHERE {chosen} FOR UPDATE SKIP LOCKED) before
WHERE b.id = before.id AND i.id = b.issue_id AND {claimable}
RETURNING b.id, b.issue_id, i.newsletter_id, b.first_subscriber_id, b.last_subscriber_id, b.epoch, b.is_retry,
    i.digest_month IS NOT NULL AS digest, before.worker AS previous_worker
"""
_CLAIM_ONE = _CLAIM.format(
    chosen="id = :batch",
    claimable="""(
        (i.state = 'sending' AND i.ready_at IS NOT NULL AND b.state = 'ready' AND b.due_at <= clock_timestamp())
        OR (b.state = 'sending' AND b.lease_until < clock_timestamp()
            - CASE WHEN starts_with(before.worker, :host) THEN interval '0' ELSE CAST(:host_grace AS interval) END)
    )""",
)
_CLAIM_LOST = _CLAIM.format(
    chosen="""id = (
        SELECT id FROM batch
        WHERE state = 'sending' AND lease_until < clock_timestamp() AND starts_with(worker, :host)
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
    )""",
    claimable="true",
)


def claim(
    session: Session, batch: int, worker: str, lease: timedelta, host: str = "", host_grace: timedelta = timedelta(0)
) -> Claim | None:
    """Claim a batch. Return None if it is already claimed, done, paused or not yet due.

    A batch whose lease has expired can be claimed at once by a worker of the same ``host`` (the beginning of their
    names), by others after ``host_grace`` more.
    """
    values = {"batch": batch, "worker": worker, "lease": lease, "host": host, "host_grace": host_grace}
    row = session.execute(text(_CLAIM_ONE), values).one_or_none()
    return Claim(*row) if row else None


def claim_lost(session: Session, worker: str, host: str, lease: timedelta) -> Claim | None:
    """Claim a batch that a worker of this host lost; None if there is none.

    ``host`` is the beginning of the names of its workers. Their journals are on this host alone.
    """
    row = session.execute(text(_CLAIM_LOST), {"worker": worker, "host": host, "lease": lease}).one_or_none()
    return Claim(*row) if row else None


def renew_lease(session: Session, claim: Claim, lease: timedelta) -> bool | None:
    """Lock the batch until the transaction ends and extend its lease.

    Returns None if the claim was lost (write nothing), False if the issue is not sending now (reserve nothing), else
    True. Locking the batch first also orders ``ledger.reserve`` against an unsubscribe, which locks it too.
    """
    query = """
        UPDATE batch b SET lease_until = clock_timestamp() + %(lease)s
        FROM issue i
        WHERE b.id = %(batch)s AND b.epoch = %(epoch)s AND b.state = 'sending' AND i.id = b.issue_id
        RETURNING i.state = 'sending'
    """
    rows = execute_driver_sql(session, query, {"batch": claim.batch, "epoch": claim.epoch, "lease": lease})
    return bool(rows[0][0]) if rows else None


def release(session: Session, claim: Claim, not_before: datetime | None = None, *, as_retry: bool = False) -> None:
    """End a claim: the batch is done, or ready again when its next delivery is due. Count what was refused.

    ``not_before`` delays deliveries that are already due. ``as_retry`` puts the batch into the retry queue.
    """
    query = """
        WITH open AS (
            SELECT least(
                    greatest(min(due_at), CAST(:again_at AS timestamptz)),
                    min(due_at) FILTER (WHERE due_at > clock_timestamp())
                ) AS due_at,
                bool_and(attempts > 0) OR :retry AS is_retry, count(*) AS n
            FROM delivery
            WHERE issue_id = :issue AND subscriber_id BETWEEN :first AND :last AND state IN ('pending', 'sending')
        )
        UPDATE batch b
        SET state = (CASE WHEN open.n = 0 THEN 'done' ELSE 'ready' END)::batch_state,
            due_at = coalesce(open.due_at, b.due_at), is_retry = coalesce(open.is_retry, false),
            lease_until = NULL, enqueued_at = NULL
        FROM open WHERE b.id = :batch AND b.epoch = :epoch AND b.state = 'sending' RETURNING b.id
    """
    released = session.scalars(
        text(query),
        {
            "issue": claim.issue,
            "first": claim.first_subscriber_id,
            "last": claim.last_subscriber_id,
            "batch": claim.batch,
            "epoch": claim.epoch,
            "again_at": not_before,
            "retry": as_retry,
        },
    ).all()
    refusals.count(session, released)


def requeue_postponed(session: Session, now: datetime) -> None:
    """Make postponed batches due now. Each delivery still waits for its own due time."""
    query = """
        UPDATE batch b SET due_at = :now, enqueued_at = NULL FROM issue i
        WHERE i.id = b.issue_id AND i.state = 'sending' AND b.state = 'ready' AND b.due_at > :now
    """
    session.execute(text(query), {"now": now})


def has_waiting(session: Session, claim: Claim, *, other_issue: bool) -> bool:
    """Return whether an unclaimed batch is due, of another issue than the claim's if ``other_issue``."""
    query = """
        SELECT FROM batch b JOIN issue i ON i.id = b.issue_id
        WHERE (b.issue_id <> :issue OR NOT :other_issue) AND b.state = 'ready' AND b.due_at <= clock_timestamp()
          AND i.state = 'sending' AND i.ready_at IS NOT NULL LIMIT 1
    """
    return session.execute(text(query), {"issue": claim.issue, "other_issue": other_issue}).first() is not None


def lock_for_subscriber(session: Session, issue: int, subscriber: int) -> bool:
    """Lock the unfinished batch of a delivery, so that no worker reserves from it; return whether there is one."""
    query = """
        SELECT id FROM batch WHERE issue_id = :issue AND :subscriber BETWEEN first_subscriber_id AND last_subscriber_id
        AND state <> 'done' FOR UPDATE
    """
    return session.execute(text(query), {"issue": issue, "subscriber": subscriber}).first() is not None


def list_finished_issues(session: Session) -> list[int]:
    """Return the issues in sending whose batches are all done."""
    query = """
        SELECT id FROM issue i WHERE i.state = 'sending' AND i.ready_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM batch b WHERE b.issue_id = i.id AND b.state <> 'done')
    """
    return list(session.scalars(text(query)))


def cancelled_with_work(session: Session) -> list[int]:
    """Return cancelled issues that still have pending deliveries in unclaimed batches."""
    query = """
        SELECT DISTINCT b.issue_id FROM batch b JOIN issue i ON i.id = b.issue_id
        WHERE i.state = 'cancelled' AND b.state IN ('planned', 'ready') AND (b.state = 'planned' OR EXISTS (
            SELECT FROM delivery d
            WHERE d.issue_id = b.issue_id
              AND d.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id AND d.state = 'pending'
        ))
    """
    return list(session.scalars(text(query)))


def bring_forward(session: Session, issue: int, subscriber: int, due_at: datetime) -> None:
    """Have the batch of a delivery that is due earlier now enqueued in time."""
    query = """
        UPDATE batch SET due_at = :due_at, enqueued_at = NULL
        WHERE issue_id = :issue AND :subscriber BETWEEN first_subscriber_id AND last_subscriber_id
          AND state = 'ready' AND due_at > :due_at
    """
    session.execute(text(query), {"issue": issue, "subscriber": subscriber, "due_at": due_at})


def issues_with_unfinished_batch(session: Session, newsletter: int, subscriber: int) -> list[int]:
    """Return the newsletter's issues with an unfinished batch that contains this subscriber."""
    query = """
        SELECT i.id FROM issue i JOIN batch b ON b.issue_id = i.id
        WHERE i.newsletter_id = :newsletter AND i.state IN ('sending', 'paused', 'cancelled') AND b.state <> 'done'
          AND :subscriber BETWEEN b.first_subscriber_id AND b.last_subscriber_id
        ORDER BY i.id
    """
    return list(session.scalars(text(query), {"newsletter": newsletter, "subscriber": subscriber}))
