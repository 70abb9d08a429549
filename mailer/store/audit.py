"""Proving that an issue's ledger adds up: the frozen audience, the batches that count, and each row."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from mailer.store.batches import EDGES


class Finding(NamedTuple):
    """One thing that does not add up."""

    rule: str
    """Which promise it breaks, in one word."""
    what: str
    """A sentence."""
    batch: int | None = None
    subscriber: int | None = None


def one_snapshot(session: Session) -> None:
    """Have everything that this transaction reads be of one moment. Call it first: workers may be sending."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


# What is wrong with a row by itself; the first that fits is named.
_ROW_RULES = {
    "outcome": (
        "is sent without an outcome",
        "d.state = 'sent' AND (coalesce(d.reply, '') = '' OR d.finished_at IS NULL)",
    ),
    "edition": ("is sent without an edition", "d.state = 'sent' AND d.edition_id IS NULL"),
    "attempt": (
        "has an outcome without an attempt",
        "d.state IN ('sent', 'failed', 'uncertain') AND d.attempts < 1",
    ),
    "failure": ("has failed at no time", "d.state = 'failed' AND d.finished_at IS NULL"),
    "reason": (
        "is skipped without a reason, or has one and is not skipped",
        "(d.state = 'skipped') <> (d.reason IS NOT NULL)",
    ),
}
_BROKEN = " OR ".join(f"({condition})" for _, condition in _ROW_RULES.values())

# One pass over all rows of the issue.
_BATCHES = f"""
WITH edges AS ({EDGES}), kept AS (
    SELECT e.ids[width_bucket(subscriber_id, e.firsts)] AS id, count(*) AS rows,
        count(*) FILTER (WHERE state = 'sent') AS sent, count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'skipped') AS skipped,
        count(*) FILTER (WHERE state = 'uncertain') AS uncertain,
        count(*) FILTER (WHERE state IN ('pending', 'sending')) AS pending,
        count(*) FILTER (WHERE {_BROKEN}) AS broken, max(subscriber_id) AS last
    FROM delivery d, edges e WHERE issue_id = :issue GROUP BY 1
)
SELECT b.id, b.first, b.last, b.state, b.candidates, b.sent, b.failed, b.skipped, b.uncertain,
    coalesce(k.rows, 0) AS rows, coalesce(k.sent, 0) AS rows_sent, coalesce(k.failed, 0) AS rows_failed,
    coalesce(k.skipped, 0) AS rows_skipped, coalesce(k.uncertain, 0) AS rows_uncertain,
    coalesce(k.pending, 0) AS rows_pending,
    coalesce(k.broken > 0 OR k.last > b.last OR b.id IS NULL
        OR k.pending > 0 AND (b.state = 'done' OR b.state <> 'sending' AND i.state IN ('sent', 'cancelled')),
        false) AS broken
FROM (SELECT * FROM batch WHERE issue_id = :issue) b FULL JOIN kept k ON k.id = b.id
CROSS JOIN (SELECT state FROM issue WHERE id = :issue) i
ORDER BY b.first
"""

_ROWS = """
SELECT rule, count(*) AS rows, (array_agg(subscriber_id ORDER BY subscriber_id))[1:{shown}] AS subscribers
FROM (
    SELECT d.subscriber_id, CASE
            WHEN b.id IS NULL OR d.subscriber_id > b.last THEN 'outside'
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
_ROWS_SAY = {name: says for name, (says, _) in _ROW_RULES.items()} | {
    "outside": "is outside every batch",
    "done": "is open, but its batch is done",
    "ended": "is open, but its issue has ended",
}

_TWICE = """
SELECT subscriber_id FROM delivery WHERE issue_id = :issue GROUP BY 1 HAVING count(*) > 1 ORDER BY 1
"""

# Who was subscribed when the audience was frozen is a candidate. Not said of a digest, for which it depends on a
# choice that may have changed since; nor of readers who moved: what they had at another address came with them.
# A subscription that was being made at that moment may have been too late: its transaction was open.
_MISSING = """
SELECT s.subscriber_id
FROM issue i JOIN subscription s ON s.newsletter_id = i.newsletter_id
JOIN subscriber r ON r.id = s.subscriber_id
WHERE i.id = :issue AND i.digest_month IS NULL AND s.changed_at < i.frozen_at - interval '5 minutes'
  AND (r.keys_from IS NULL OR r.keys_from < i.frozen_at)
  AND NOT EXISTS (SELECT FROM batch b WHERE b.issue_id = i.id AND b.state = 'planned')
  AND NOT EXISTS (SELECT FROM delivery d WHERE d.issue_id = :issue AND d.subscriber_id = s.subscriber_id)
ORDER BY 1
"""

_SHOWN = 20
"""Rows that are named for each rule."""


def findings(session: Session, issue: int) -> list[Finding]:
    """What contradicts the promises of the ledger; empty when all is well."""
    batches = session.execute(text(_BATCHES), {"issue": issue}).all()
    found = [finding for batch in batches if batch.id is not None for finding in _of_batch(batch)]
    for before, after in pairwise(batch for batch in batches if batch.id is not None):
        if after.first <= before.last:
            what = f"Batches {before.id} and {after.id} both hold subscriber {after.first}."
            found.append(Finding("overlap", what, after.id, after.first))
    if any(batch.broken for batch in batches):
        found += _of_rows(session, issue)
    for rule, query, says in (
        ("twice", _TWICE, "The delivery to subscriber {} stands twice in the ledger."),
        ("missing", _MISSING, "Subscriber {} was a candidate and has no delivery."),
    ):
        subscribers = session.scalars(text(query), {"issue": issue}).all()
        found += [Finding(rule, says.format(one), None, one) for one in subscribers[:_SHOWN]]
        found += _more(rule, len(subscribers))
    return found


def _of_batch(batch: Row[Any]) -> Iterator[Finding]:
    where = f"Batch {batch.id} (subscribers {batch.first} to {batch.last})"
    if batch.state == "planned":
        if batch.rows:
            yield Finding("planned", f"{where} is not expanded and has {batch.rows} ledger rows.", batch.id)
        return
    if batch.rows != batch.candidates:
        what = f"{where} has {batch.candidates} candidates and {batch.rows} ledger rows."
        yield Finding("candidates", what, batch.id)
    for name in ("sent", "failed", "skipped", "uncertain"):
        counted, kept = getattr(batch, name), getattr(batch, f"rows_{name}")
        if counted != kept:
            yield Finding("counts", f"{where} counts {counted} {name}, the ledger {kept}.", batch.id)
    settled = batch.sent + batch.failed + batch.skipped + batch.uncertain
    if batch.candidates != settled + batch.rows_pending:
        what = (
            f"{where} has {batch.candidates} candidates, and {batch.sent} sent + {batch.failed} failed + "
            f"{batch.skipped} skipped + {batch.rows_pending} pending + {batch.uncertain} uncertain."
        )
        yield Finding("sum", what, batch.id)


def _of_rows(session: Session, issue: int) -> Iterator[Finding]:
    rules = " ".join(f"WHEN {condition} THEN '{name}'" for name, (_, condition) in _ROW_RULES.items())
    query = _ROWS.format(shown=_SHOWN, rules=rules, edges=EDGES)
    for row in session.execute(text(query), {"issue": issue}):
        for one in row.subscribers:
            yield Finding(row.rule, f"The delivery to subscriber {one} {_ROWS_SAY[row.rule]}.", None, one)
        yield from _more(row.rule, row.rows)


def _more(rule: str, rows: int) -> list[Finding]:
    return [Finding(rule, f"And {rows - _SHOWN} more like these.")] if rows > _SHOWN else []
