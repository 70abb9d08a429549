"""Audit of an issue's ledger: the frozen audience, the counts of its batches, and each delivery."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from mailer.domain.states import BatchState
from mailer.models import Issue
from mailer.store.batches import BATCH_BOUNDARIES


class LedgerFinding(NamedTuple):
    """One inconsistency."""

    rule: str
    """The broken rule, in one word."""
    message: str
    """The inconsistency, in one sentence."""
    batch: int | None = None
    subscriber: int | None = None


def use_repeatable_read(session: Session) -> None:
    """Let this transaction read one consistent snapshot while workers are sending. Call it first."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


# Checks of single rows; the first that applies is reported.
_ROW_CHECKS = {
    "outcome": (
        "is sent without an outcome",
        "d.state = 'sent' AND (coalesce(d.last_reply, '') = '' AND d.resolution IS NULL OR d.finished_at IS NULL)",
    ),
    "edition": ("is sent without an edition", "d.state = 'sent' AND d.edition_id IS NULL"),
    "attempt": (
        "has an outcome without an attempt",
        "d.state IN ('sent', 'failed', 'uncertain') AND d.attempts < 1",
    ),
    "failure": ("has failed at no time", "d.state = 'failed' AND d.finished_at IS NULL"),
    "reason": (
        "is skipped without a reason, or has one and is not skipped",
        "(d.state = 'skipped') <> (d.skip_reason IS NOT NULL)",
    ),
}
_ANY_ROW_CHECK = " OR ".join(f"({condition})" for _, condition in _ROW_CHECKS.values())

# One pass over all rows of the issue.
_CHECK_BATCHES = f"""
WITH edges AS ({BATCH_BOUNDARIES}), kept AS (
    SELECT e.ids[width_bucket(subscriber_id, e.firsts)] AS id, count(*) AS rows,
        count(*) FILTER (WHERE state = 'sent') AS sent, count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'skipped') AS skipped,
        count(*) FILTER (WHERE state = 'uncertain') AS uncertain,
        count(*) FILTER (WHERE state IN ('pending', 'sending')) AS pending,
        count(*) FILTER (WHERE {_ANY_ROW_CHECK}) AS broken, max(subscriber_id) AS last
    FROM delivery d, edges e WHERE issue_id = :issue GROUP BY 1
)
SELECT b.id, b.first_subscriber_id, b.last_subscriber_id, b.state,
    b.candidates, b.sent, b.failed, b.skipped, b.uncertain,
    coalesce(k.rows, 0) AS rows, coalesce(k.sent, 0) AS rows_sent, coalesce(k.failed, 0) AS rows_failed,
    coalesce(k.skipped, 0) AS rows_skipped, coalesce(k.uncertain, 0) AS rows_uncertain,
    coalesce(k.pending, 0) AS rows_pending,
    coalesce(k.broken > 0 OR k.last > b.last_subscriber_id OR b.id IS NULL
        OR k.pending > 0 AND (b.state = 'done' OR b.state <> 'sending' AND i.state IN ('sent', 'cancelled')),
        false) AS broken
FROM (SELECT * FROM batch WHERE issue_id = :issue) b FULL JOIN kept k ON k.id = b.id
CROSS JOIN (SELECT state FROM issue WHERE id = :issue) i
ORDER BY b.first_subscriber_id
"""

_CHECK_ROWS = """
SELECT rule, count(*) AS rows, (array_agg(subscriber_id ORDER BY subscriber_id))[1:{shown}] AS subscribers
FROM (
    SELECT d.subscriber_id, CASE
            WHEN b.id IS NULL OR d.subscriber_id > b.last_subscriber_id THEN 'outside'
            WHEN b.state = 'planned' THEN NULL
            WHEN d.state IN ('pending', 'sending') AND b.state = 'done' THEN 'done'
            WHEN d.state IN ('pending', 'sending') AND b.state <> 'sending'
                AND i.state IN ('sent', 'cancelled') THEN 'ended'
            {rules}
        END AS rule
    FROM issue i JOIN delivery d ON d.issue_id = i.id CROSS JOIN ({edges}) e
    LEFT JOIN batch b ON b.id = e.ids[width_bucket(d.subscriber_id, e.firsts)]
    WHERE i.id = :issue
) named
WHERE rule IS NOT NULL GROUP BY rule ORDER BY rule
"""
_ROW_CHECK_MESSAGES = {name: message for name, (message, _) in _ROW_CHECKS.items()} | {
    "outside": "is outside every batch",
    "done": "is open, but its batch is done",
    "ended": "is open, but its issue has ended",
}

_DUPLICATE_DELIVERIES = """
SELECT subscriber_id FROM delivery WHERE issue_id = :issue GROUP BY 1 HAVING count(*) > 1 ORDER BY 1
"""

# Everyone subscribed when the audience was frozen is a candidate. This is not checked for subscribers who changed
# address, since that may have merged two of them. Subscriptions made shortly before freezing are exempt: their
# transaction may not have been committed.
_MISSING_DELIVERIES = """
SELECT m.subscriber_id
FROM (
    SELECT s.subscriber_id FROM subscription s
    WHERE s.newsletter_id = :newsletter AND s.changed_at < :before
      AND NOT EXISTS (SELECT FROM delivery d WHERE d.issue_id = :issue AND d.subscriber_id = s.subscriber_id)
    OFFSET 0
) m
JOIN subscriber r ON r.id = m.subscriber_id
WHERE r.address_changed_at IS NULL OR r.address_changed_at < :frozen_at
ORDER BY 1
"""

# Everyone for whom a digest holds an issue has a delivery of it, unless their subscription is gone.
_MISSING_IN_DIGEST = """
SELECT DISTINCT w.subscriber_id FROM delivery w
JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id = w.subscriber_id
WHERE w.issue_id = ANY(CAST(:sources AS int[])) AND w.digest_id = :issue
  AND NOT EXISTS (SELECT FROM delivery d WHERE d.issue_id = :issue AND d.subscriber_id = w.subscriber_id)
ORDER BY 1
"""
_FREEZE_MARGIN = timedelta(minutes=5)

_MAX_LISTED = 20
"""Maximum number of rows reported per rule."""


def findings(session: Session, issue: int) -> list[LedgerFinding]:
    """Return the inconsistencies in an issue's ledger; empty if there are none."""
    batches = session.execute(text(_CHECK_BATCHES), {"issue": issue}).all()
    result = [finding for batch in batches if batch.id is not None for finding in _check_batch(batch)]
    for before, after in pairwise(batch for batch in batches if batch.id is not None):
        if after.first_subscriber_id <= before.last_subscriber_id:
            message = f"Batches {before.id} and {after.id} both contain subscriber {after.first_subscriber_id}."
            result.append(LedgerFinding("overlap", message, after.id, after.first_subscriber_id))
    if any(batch.broken for batch in batches):
        result += _check_rows(session, issue)
    duplicates = session.scalars(text(_DUPLICATE_DELIVERIES), {"issue": issue}).all()
    result += _subscriber_findings("twice", "The ledger contains the delivery to subscriber {} twice.", duplicates)
    if not any(batch.state == BatchState.planned for batch in batches):
        missing = _missing_deliveries(session, issue)
        result += _subscriber_findings("missing", "Subscriber {} was a candidate and has no delivery.", missing)
    return result


def _missing_deliveries(session: Session, issue: int) -> Sequence[int]:
    row = session.get_one(Issue, issue)
    if row.frozen_at is None:
        return ()
    if row.digest_month:
        values = {"issue": issue, "newsletter": row.newsletter_id, "sources": row.digest_source_ids}
        return session.scalars(text(_MISSING_IN_DIGEST), values).all()
    before = row.frozen_at - _FREEZE_MARGIN
    values = {"issue": issue, "newsletter": row.newsletter_id, "before": before, "frozen_at": row.frozen_at}
    return session.scalars(text(_MISSING_DELIVERIES), values).all()


def _check_batch(batch: Row[Any]) -> Iterator[LedgerFinding]:
    label = f"Batch {batch.id} (subscribers {batch.first_subscriber_id} to {batch.last_subscriber_id})"
    if batch.state == BatchState.planned:
        if batch.rows:
            yield LedgerFinding("planned", f"{label} is not expanded and has {batch.rows} ledger rows.", batch.id)
        return
    if batch.rows != batch.candidates:
        message = f"{label} has {batch.candidates} candidates and {batch.rows} ledger rows."
        yield LedgerFinding("candidates", message, batch.id)
    for state in ("sent", "failed", "skipped", "uncertain"):
        batch_count, row_count = getattr(batch, state), getattr(batch, f"rows_{state}")
        if batch_count != row_count:
            message = f"{label} counts {batch_count} {state}, the ledger {row_count}."
            yield LedgerFinding("counts", message, batch.id)
    finished = batch.sent + batch.failed + batch.skipped + batch.uncertain
    if batch.candidates != finished + batch.rows_pending:
        message = (
            f"{label} has {batch.candidates} candidates, and {batch.sent} sent + {batch.failed} failed + "
            f"{batch.skipped} skipped + {batch.rows_pending} pending + {batch.uncertain} uncertain."
        )
        yield LedgerFinding("sum", message, batch.id)


def _check_rows(session: Session, issue: int) -> Iterator[LedgerFinding]:
    rules = " ".join(f"WHEN {condition} THEN '{name}'" for name, (_, condition) in _ROW_CHECKS.items())
    query = _CHECK_ROWS.format(shown=_MAX_LISTED, rules=rules, edges=BATCH_BOUNDARIES)
    for row in session.execute(text(query), {"issue": issue}):
        message = f"The delivery to subscriber {{}} {_ROW_CHECK_MESSAGES[row.rule]}."
        yield from _subscriber_findings(row.rule, message, row.subscribers, row.rows)


def _subscriber_findings(
    rule: str, message: str, subscribers: Sequence[int], total: int = 0
) -> Iterator[LedgerFinding]:
    """Yield a finding per listed subscriber. ``total``: their number if ``subscribers`` is truncated."""
    for subscriber in subscribers[:_MAX_LISTED]:
        yield LedgerFinding(rule, message.format(subscriber), None, subscriber)
    more = max(total, len(subscribers)) - _MAX_LISTED
    if more > 0:
        yield LedgerFinding(rule, f"And {more:,} more like these.")
