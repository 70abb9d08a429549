"""Writing the delivery ledger: reserving deliveries for sending, and recording their outcomes."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.states import DeliveryState
from mailer.domain.suppressions import SuppressionReason
from mailer.store import digests, eligibility, issues, rescheduling
from mailer.store.batches import BATCH_BOUNDARIES, Claim
from mailer.store.database import execute_driver_sql
from mailer.store.digests import AWAITING


class DueDelivery(NamedTuple):
    """A reserved delivery, which this worker must send now."""

    subscriber: int
    edition: int
    attempts: int
    """Including the attempt about to be made."""
    policy_refusals: int
    address: str
    name: str
    text_only: bool


class DeliveryUpdate(NamedTuple):
    """The outcome of one attempt at a delivery."""

    subscriber: int
    state: DeliveryState
    reply: str
    due_at: datetime | None = None
    """When to retry; only for ``pending``."""
    suppression_reason: SuppressionReason | None = None
    """Set if the address is invalid."""
    attempted: bool = True
    """False if the relay never saw the message; the attempt is then not counted."""
    policy_refused: bool = False


_DUE = """
SELECT subscriber_id FROM delivery
WHERE issue_id = %(issue)s AND subscriber_id BETWEEN %(after)s AND %(last)s
  AND state = 'pending' AND due_at <= clock_timestamp()
ORDER BY subscriber_id LIMIT %(limit)s
"""

# At most its quota for each destination that has one.
_DUE_WITHIN_QUOTAS = """
SELECT subscriber_id FROM (
    SELECT d.subscriber_id, q.quota, row_number() OVER (PARTITION BY q.destination ORDER BY d.subscriber_id) AS n
    FROM delivery d
    LEFT JOIN subscriber r ON r.id = d.subscriber_id
    LEFT JOIN unnest(%(domains)s::text[], %(destinations)s::text[], %(quotas)s::int[]) q (domain, destination, quota)
        ON q.domain = lower(split_part(r.address, '@', 2))
    WHERE d.issue_id = %(issue)s AND d.subscriber_id BETWEEN %(after)s AND %(last)s
      AND d.state = 'pending' AND d.due_at <= clock_timestamp()
) counted
WHERE quota IS NULL OR n <= quota
ORDER BY subscriber_id LIMIT %(limit)s
"""

_SKIP_REASON = eligibility.skip_reason(now="clock_timestamp()", digest="%(digest)s")
_SUBSCRIBER_JOINS = f"""
LEFT JOIN subscriber r ON r.id = d.subscriber_id
LEFT JOIN subscription s ON s.newsletter_id = %(newsletter)s AND s.subscriber_id = d.subscriber_id
{eligibility.SUPPRESSION_JOIN}
"""
# A digest waits for the end of a pause, whereas any other issue is skipped.
_WAITS_FOR_PAUSE = "%(digest)s AND s.paused_until > clock_timestamp()"
_NO_LONGER_SENDABLE = f"""
SELECT d.subscriber_id FROM unnest(%(subscribers)s::bigint[]) AS d (subscriber_id) {_SUBSCRIBER_JOINS}
WHERE {_SKIP_REASON} IS NOT NULL OR {_WAITS_FOR_PAUSE}
"""
_RESERVE = """
WITH due AS (
    SELECT d.subscriber_id, r.address, r.name, r.text_only, {reason} AS skip_reason
    FROM ({picked}) d {readers}
    WHERE ({waits}) IS NOT TRUE
)
UPDATE delivery d
SET state = (CASE WHEN due.skip_reason IS NULL THEN 'sending' ELSE 'skipped' END)::delivery_state,
    skip_reason = due.skip_reason, epoch = %(epoch)s, attempts = d.attempts + (due.skip_reason IS NULL)::int,
    finished_at = CASE WHEN due.skip_reason IS NOT NULL THEN clock_timestamp() END
FROM due
WHERE d.issue_id = %(issue)s AND d.subscriber_id = due.subscriber_id AND d.state = 'pending'
RETURNING d.subscriber_id, d.edition_id, d.attempts, d.policy_refusals,
    due.address, due.name, due.text_only, d.skip_reason
"""
_RESERVE_ANY, _RESERVE_WITHIN_QUOTAS = (
    _RESERVE.format(picked=picked, reason=_SKIP_REASON, readers=_SUBSCRIBER_JOINS, waits=_WAITS_FOR_PAUSE)
    for picked in (_DUE, _DUE_WITHIN_QUOTAS)
)

Quotas = tuple[list[str], list[str], list[int]]
"""Three columns: domain, its destination, and the maximum number of deliveries to reserve for that destination."""


def reserve(
    session: Session, claim: Claim, after: int, limit: int, quotas: Quotas | None = None
) -> tuple[list[DueDelivery], int, int]:
    """Move up to ``limit`` due deliveries of a batch to ``sending``, checking the eligibility of each again.

    Those whose time has not come by their subscriber's present preferences are postponed. ``after`` is the lowest
    subscriber id to consider. Call ``batches.renew_lease`` first in the same transaction.
    Returns the deliveries, how many were skipped instead, and the next ``after``.
    """
    values: dict[str, Any] = {
        "issue": claim.issue,
        "newsletter": claim.newsletter,
        "digest": claim.digest,
        "after": after,
        "last": claim.last_subscriber_id,
        "epoch": claim.epoch,
        "limit": limit,
    }
    rescheduling.postpone(session, claim, after)
    if quotas is not None:
        values |= zip(("domains", "destinations", "quotas"), quotas, strict=True)
    rows = sorted(
        execute_driver_sql(session, _RESERVE_ANY if quotas is None else _RESERVE_WITHIN_QUOTAS, values),
        key=itemgetter(0),
    )
    reserved = [DueDelivery(*row[:7]) for row in rows if row[7] is None]
    skipped = len(rows) - len(reserved)
    if skipped:
        _add_to_counts(session, claim, skipped=skipped)
    return reserved, skipped, rows[-1][0] + 1 if rows else after


def has_due(session: Session, claim: Claim) -> bool:
    """Return whether a batch has a delivery that is due, regardless of limits."""
    query = """
        SELECT FROM delivery WHERE issue_id = :issue AND subscriber_id BETWEEN :first AND :last
          AND state = 'pending' AND due_at <= clock_timestamp() LIMIT 1
    """
    values = {"issue": claim.issue, "first": claim.first_subscriber_id, "last": claim.last_subscriber_id}
    return session.execute(text(query), values).first() is not None


_MAX_REPLY_CHARS = 500

_RECORD_SENT = """
WITH done AS (
    UPDATE delivery d
    SET state = 'sent', last_reply = v.reply, finished_at = %(at)s, relay = coalesce(%(relay)s, d.relay),
        resolution = NULL, resolution_source = NULL, resolved_by = NULL, resolution_note = NULL
    FROM ROWS FROM (
        unnest(CAST(%(subscribers)s AS bigint[])), string_to_table(%(replies)s, E'\\n')
    ) AS v(subscriber_id, reply)
    WHERE d.issue_id = %(issue)s AND d.subscriber_id = v.subscriber_id
      -- Redundant, but keeps the planner from reading the whole issue.
      AND d.subscriber_id BETWEEN %(first)s AND %(last)s
      AND d.state = 'sending' AND d.epoch = %(epoch)s
    RETURNING 1
)
UPDATE batch SET sent = sent + (SELECT count(*) FROM done), progressed_at = %(at)s WHERE id = %(batch)s
RETURNING (SELECT count(*) FROM done)
"""

_RECORD_OTHERS = """
UPDATE delivery d
SET state = v.state::delivery_state, last_reply = coalesce(nullif(v.reply, ''), d.last_reply),
    relay = coalesce(:relay, d.relay),
    due_at = coalesce(v.due_at, d.due_at),
    attempts = d.attempts - v.back,
    policy_refusals = d.policy_refusals + v.policy_refused::int,
    finished_at = CASE WHEN v.state <> 'pending' THEN v.at END,
    resolution = CASE WHEN v.back = 1 THEN d.resolution END,
    resolution_source = CASE WHEN v.back = 1 THEN d.resolution_source END,
    resolved_by = CASE WHEN v.back = 1 THEN d.resolved_by END,
    resolution_note = CASE WHEN v.back = 1 THEN d.resolution_note END
FROM unnest(
    CAST(:subscribers AS bigint[]), CAST(:states AS text[]), CAST(:replies AS text[]),
    CAST(:dues AS timestamptz[]), CAST(:backs AS int[]), CAST(:policies AS boolean[]), CAST(:ats AS timestamptz[])
) AS v(subscriber_id, state, reply, due_at, back, policy_refused, at)
WHERE d.issue_id = :issue AND d.subscriber_id = v.subscriber_id AND d.subscriber_id BETWEEN :first AND :last
  AND d.state = 'sending' AND d.epoch = :epoch
RETURNING v.state
"""


def record(
    session: Session,
    claim: Claim,
    updates: Sequence[DeliveryUpdate],
    epoch: int,
    at: datetime,
    relay: str | None = None,
) -> int:
    """Record the outcomes of deliveries reserved under ``epoch``; return how many rows changed.

    A row that is no longer ``sending`` under this epoch is left alone, since another worker has handled it.
    """
    sent = [v for v in updates if v.state is DeliveryState.sent]
    others = [v for v in updates if v.state is not DeliveryState.sent] if len(sent) < len(updates) else []
    return _record_sent(session, claim, sent, epoch, at, relay) + _record_others(
        session, claim, others, epoch, at, relay
    )


def _record_sent(
    session: Session,
    claim: Claim,
    updates: Sequence[DeliveryUpdate],
    epoch: int,
    at: datetime,
    relay: str | None,
) -> int:
    """Record successes. They are nearly all outcomes, so they travel as two strings: a tenth of the cost of arrays."""
    if not updates:
        return 0
    values = {
        "issue": claim.issue,
        "batch": claim.batch,
        "first": claim.first_subscriber_id,
        "last": claim.last_subscriber_id,
        "epoch": epoch,
        "at": at,
        "relay": relay,
        "subscribers": "{" + ",".join([str(v.subscriber) for v in updates]) + "}",
        "replies": "\n".join([v.reply[:_MAX_REPLY_CHARS].replace("\n", " ") for v in updates]),
    }
    return int(execute_driver_sql(session, _RECORD_SENT, values)[0][0])


def _record_others(
    session: Session,
    claim: Claim,
    updates: Sequence[DeliveryUpdate],
    epoch: int,
    at: datetime,
    relay: str | None,
) -> int:
    if not updates:
        return 0
    rows = session.scalars(
        text(_RECORD_OTHERS),
        {
            "issue": claim.issue,
            "first": claim.first_subscriber_id,
            "last": claim.last_subscriber_id,
            "epoch": epoch,
            "subscribers": [v.subscriber for v in updates],
            "states": [v.state.value for v in updates],
            "replies": [v.reply[:_MAX_REPLY_CHARS] for v in updates],
            "dues": [v.due_at for v in updates],
            "backs": [0 if v.attempted else 1 for v in updates],
            "policies": [v.policy_refused for v in updates],
            "ats": [at] * len(updates),
            "relay": relay,
        },
    ).all()
    _add_to_counts(session, claim, failed=rows.count("failed"), uncertain=rows.count("uncertain"))
    return len(rows)


def _add_to_counts(session: Session, claim: Claim, failed: int = 0, skipped: int = 0, uncertain: int = 0) -> None:
    query = """
        UPDATE batch SET failed = failed + :failed, skipped = skipped + :skipped,
            uncertain = uncertain + :uncertain,
            progressed_at = CASE WHEN :finished > 0 THEN clock_timestamp() ELSE progressed_at END
        WHERE id = :batch
    """
    values = {"batch": claim.batch, "failed": failed, "skipped": skipped, "uncertain": uncertain}
    values["finished"] = failed + skipped + uncertain
    session.execute(text(query), values)


def count_sent_and_failed(session: Session, issue: int) -> tuple[int, int]:
    """Return how many deliveries of an issue were sent, and how many failed."""
    query = "SELECT coalesce(sum(sent), 0)::bigint, coalesce(sum(failed), 0)::bigint FROM batch WHERE issue_id = :issue"
    sent, failed = session.execute(text(query), {"issue": issue}).one()
    return sent, failed


def in_flight(session: Session, claim: Claim) -> list[tuple[int, int]]:
    """Return (subscriber, epoch) of deliveries that earlier claims of this batch left in ``sending``."""
    query = """
        SELECT subscriber_id, epoch FROM delivery
        WHERE issue_id = :issue AND subscriber_id BETWEEN :first AND :last AND state = 'sending' AND epoch < :epoch
    """
    values = {
        "issue": claim.issue,
        "first": claim.first_subscriber_id,
        "last": claim.last_subscriber_id,
        "epoch": claim.epoch,
    }
    return [(row.subscriber_id, row.epoch) for row in session.execute(text(query), values)]


def unreserve(session: Session, claim: Claim) -> None:
    """Return this claim's ``sending`` rows to ``pending``. Call only when no message is in flight."""
    query = """
        UPDATE delivery SET state = 'pending', attempts = attempts - 1
        WHERE issue_id = :issue AND subscriber_id BETWEEN :first AND :last AND state = 'sending' AND epoch = :epoch
    """
    values = {
        "issue": claim.issue,
        "first": claim.first_subscriber_id,
        "last": claim.last_subscriber_id,
        "epoch": claim.epoch,
    }
    session.execute(text(query), values)


def no_longer_sendable(session: Session, claim: Claim, subscribers: Sequence[int]) -> set[int]:
    """Return those of these subscribers, whose deliveries are reserved, who are no longer eligible."""
    values = {
        "newsletter": claim.newsletter,
        "digest": claim.digest,
        "subscribers": list(subscribers),
    }
    return {row[0] for row in execute_driver_sql(session, _NO_LONGER_SENDABLE, values)}


def cancel_unsent(session: Session, claim: Claim, now: datetime) -> None:
    """Skip the pending deliveries of a cancelled issue's batch.

    Call ``batches.renew_lease`` first in the same transaction.
    """
    query = """
        WITH skipped AS (
            UPDATE delivery SET state = 'skipped', skip_reason = 'cancelled', finished_at = :now
            WHERE issue_id = :issue AND subscriber_id BETWEEN :first AND :last AND state = 'pending'
            RETURNING 1
        )
        UPDATE batch SET skipped = skipped + (SELECT count(*) FROM skipped) WHERE id = :batch
    """
    values = {
        "issue": claim.issue,
        "first": claim.first_subscriber_id,
        "last": claim.last_subscriber_id,
        "batch": claim.batch,
        "now": now,
    }
    session.execute(text(query), values)
    if claim.digest:
        digests.give_back(session, issues.by_id(session, claim.issue))


def cancel_pending(session: Session, issue: int, now: datetime) -> int:
    """Skip all deliveries of an issue that no worker has reserved; return how many.

    Candidates of planned batches get a skipped delivery.
    """
    # Expansion and sending lock a batch before its deliveries. Locking all batches first avoids deadlocks.
    session.execute(text("SELECT FROM batch WHERE issue_id = :issue ORDER BY id FOR UPDATE"), {"issue": issue})
    row = issues.by_id(session, issue)
    values = {"issue": issue, "now": now, "digest_sources": row.digest_source_ids}
    held = f"""AND EXISTS (
        SELECT FROM delivery w
        WHERE w.issue_id = ANY(CAST(:digest_sources AS int[])) AND w.subscriber_id = s.subscriber_id AND {AWAITING}
    )"""
    query = f"""
        WITH planned AS (
            SELECT b.id, s.subscriber_id
            FROM batch b JOIN issue i ON i.id = b.issue_id
            JOIN subscription s ON s.newsletter_id = i.newsletter_id
                AND s.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
            WHERE b.issue_id = :issue AND b.state = 'planned' {held if row.digest_source_ids else ""}
        ), rows AS (
            INSERT INTO delivery (issue_id, subscriber_id, due_at, finished_at, state, skip_reason)
            SELECT :issue, subscriber_id, :now, :now, 'skipped', 'cancelled' FROM planned
        ), closed AS (
            UPDATE batch b SET candidates = n, skipped = n, state = 'done'
            FROM (
                SELECT b.id, count(p.id) AS n FROM batch b LEFT JOIN planned p ON p.id = b.id
                WHERE b.issue_id = :issue AND b.state = 'planned' GROUP BY b.id
            ) counted WHERE b.id = counted.id
        )
        SELECT count(*) FROM planned
    """
    unexpanded = session.scalar(text(query), values) or 0
    query = f"""
        WITH edges AS ({BATCH_BOUNDARIES}), skipped AS (
            UPDATE delivery SET state = 'skipped', skip_reason = 'cancelled', finished_at = :now
            WHERE issue_id = :issue AND state = 'pending' RETURNING subscriber_id
        ), counted AS (
            SELECT e.ids[width_bucket(s.subscriber_id, e.firsts)] AS id, count(*) AS n
            FROM skipped s, edges e GROUP BY 1
        ), closed AS (
            UPDATE batch b SET skipped = b.skipped + c.n,
                state = (CASE WHEN b.state = 'ready' THEN 'done' ELSE b.state::text END)::batch_state
            FROM counted c WHERE b.id = c.id
        )
        SELECT count(*) FROM skipped
    """
    pending = session.scalar(text(query), values) or 0
    if row.digest_source_ids:
        digests.give_back(session, row)
    return unexpanded + pending
