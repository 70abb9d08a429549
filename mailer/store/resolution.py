"""Settling deliveries after the fact: by a person's word, by later evidence, or by trying once more.

Whoever changes rows here holds their batches, as workers do; an issue is locked before its batches, never after.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.resolution import REQUEUED_REPLY, Resolution, describe
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.store import issues
from mailer.store.batches import BATCH_BOUNDARIES

# OFFSET leaves the array of batches behind before the ids are sorted out.
_LOCK_BATCHES = f"""
SELECT FROM batch
WHERE id IN (
    SELECT e.ids[width_bucket(s.id, e.firsts)]
    FROM unnest(CAST(:subscribers AS bigint[])) s(id), ({BATCH_BOUNDARIES}) e OFFSET 0
)
ORDER BY id FOR UPDATE
"""

# From one state to another, with the counts of the batches. What is made due again opens its batch; one that is
# with a worker is put right when it is given back. Attempts of what failed count anew: the first refusal after that
# is not the last. What is proven to have come was tried.
_CHANGE_STATE = f"""
WITH edges AS ({BATCH_BOUNDARIES}), moved AS (
    UPDATE delivery d
    SET state = CAST(:to AS delivery_state),
        last_reply = left(
            :reply || CASE WHEN :keep THEN coalesce('; before: ' || d.last_reply, '') ELSE '' END, 500
        ),
        due_at = CASE WHEN :to = 'pending' THEN :due_at ELSE d.due_at END,
        finished_at = CASE WHEN :to = 'pending' THEN NULL ELSE CAST(:now AS timestamptz) END,
        attempts = CASE WHEN :to <> 'pending' THEN greatest(d.attempts, 1) WHEN was.state = 'failed' THEN 0
            ELSE d.attempts END,
        resends = d.resends + CASE WHEN :to = 'pending' AND was.state = 'uncertain' THEN 1 ELSE 0 END
    FROM (
        SELECT subscriber_id, state FROM delivery
        WHERE issue_id = :issue AND subscriber_id = ANY(CAST(:subscribers AS bigint[]))
          AND (state = CAST(:of AS delivery_state) OR (:due AND state = 'pending' AND resends > 0))
    ) was
    WHERE d.issue_id = :issue AND d.subscriber_id = was.subscriber_id
    RETURNING d.subscriber_id, was.state AS was
), counted AS (
    SELECT e.ids[width_bucket(m.subscriber_id, e.firsts)] AS id, count(*) AS n,
        count(*) FILTER (WHERE m.was = 'failed') AS failed, count(*) FILTER (WHERE m.was = 'uncertain') AS uncertain
    FROM moved m, edges e GROUP BY 1
), written AS (
    UPDATE batch b
    SET sent = b.sent + CASE WHEN :to = 'sent' THEN c.n ELSE 0 END,
        failed = b.failed - c.failed + CASE WHEN :to = 'failed' THEN c.n ELSE 0 END,
        uncertain = b.uncertain - c.uncertain,
        is_retry = b.is_retry OR (:to = 'pending' AND b.state = 'done'),
        state = CASE WHEN :to = 'pending' AND b.state = 'done' THEN 'ready'::batch_state ELSE b.state END,
        due_at = CASE WHEN :to = 'pending' THEN least(b.due_at, :due_at) ELSE b.due_at END,
        enqueued_at = CASE WHEN :to = 'pending' THEN NULL ELSE b.enqueued_at END
    FROM counted c WHERE b.id = c.id
)
SELECT subscriber_id FROM moved ORDER BY 1
"""


def _change_state(
    session: Session,
    issue: int,
    subscribers: Sequence[int],
    from_state: str,
    to_state: str,
    reply: str,
    now: datetime,
    *,
    include_resends: bool = False,
    due_at: datetime | None = None,
    keep_previous_reply: bool = True,
) -> list[int]:
    """Returns whom it changed. ``due``: also what is due once more after an unknown outcome. ``due_at``: when what
    becomes pending is due, if not now. ``keep``: leave what the ledger said before behind ``reply``."""
    values = {"issue": issue, "subscribers": list(subscribers)}
    session.execute(text(_LOCK_BATCHES), values)
    values |= {
        "of": from_state,
        "to": to_state,
        "reply": reply,
        "now": now,
        "due": include_resends,
        "keep": keep_previous_reply,
    }
    values["due_at"] = due_at or now
    return list(session.scalars(text(_CHANGE_STATE), values))


def resolve(
    session: Session,
    issue: int,
    subscribers: Sequence[int],
    resolution: Resolution,
    reply: str,
    now: datetime,
) -> list[int]:
    """Settle the uncertain ones among some deliveries; returns whom that changed. Lock the issue first."""
    to = "pending" if resolution is Resolution.resend else resolution.value
    return _change_state(session, issue, subscribers, "uncertain", to, reply, now)


def retry_failed(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> list[int]:
    """Make the failed ones among some deliveries due; returns whom that changed. Lock the issue first."""
    return _change_state(session, issue, subscribers, "failed", "pending", REQUEUED_REPLY, now)


def confirm_delivered(session: Session, ref: SubscriptionRef, now: datetime) -> bool:
    """Whoever uses a link or an address out of a mail has it: its delivery is sent, if that was uncertain."""
    return bool(ref.issue) and _resolve_by_evidence(
        session, ref.issue, ref.subscriber, Resolution.sent, "a link in it", "", now
    )


def record_returned_mail(
    session: Session, issue: int, subscriber: int, bounce_reply: str | None, now: datetime
) -> bool:
    """A mail that came to the return path of a delivery proves that the relay took it, if that was uncertain.

    ``refused``: what a bounce says of a reader who did not get it; None for all other mail.
    """
    if bounce_reply is None:
        return _resolve_by_evidence(
            session, issue, subscriber, Resolution.sent, "mail that came back", "", now
        )
    return _resolve_by_evidence(session, issue, subscriber, Resolution.failed, "a bounce", bounce_reply, now)


def _resolve_by_evidence(
    session: Session,
    issue: int,
    subscriber: int,
    resolution: Resolution,
    evidence: str,
    detail: str,
    now: datetime,
) -> bool:
    # Almost always there is nothing to settle: look before anything is held. Of what is with a worker the outcome may
    # be written at this moment; with the batch held it stands, or its writer finds what this transaction notes.
    query = """
        SELECT state IN ('uncertain', 'sending') OR (:sent AND state = 'pending' AND resends > 0)
        FROM delivery WHERE issue_id = :issue AND subscriber_id = :subscriber
    """
    sent = resolution is Resolution.sent
    if not session.scalar(text(query), {"issue": issue, "subscriber": subscriber, "sent": sent}):
        return False
    reply = describe(resolution, evidence, now, detail)
    # What waits to be sent once more is kept back by proof that it arrived, not by a bounce.
    moved = _change_state(
        session,
        issue,
        [subscriber],
        "uncertain",
        resolution.value,
        reply,
        now,
        include_resends=sent,
        keep_previous_reply=not detail,
    )
    log_resolution(session, issue, "mailer", resolution, moved, evidence)
    return bool(moved)


def resolve_by_feedback(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> None:
    """Settle deliveries that have just become uncertain, and of which something came back before that."""
    query = """
        SELECT f.subscriber_id,
            max(coalesce(f.detail ->> 'reply', '')) FILTER (WHERE f.kind = 'bounce') AS refused
        FROM feedback f JOIN issue i ON i.id = f.issue_id
        WHERE f.issue_id = :issue AND f.subscriber_id = ANY(CAST(:subscribers AS bigint[]))
          AND f.at > coalesce(i.retried_at, i.ready_at)
        GROUP BY 1 ORDER BY 1
    """
    for row in session.execute(text(query), {"issue": issue, "subscribers": list(subscribers)}).all():
        record_returned_mail(session, issue, row.subscriber_id, row.refused, now)


_RESEND_DELAY = timedelta(minutes=2)
"""Time for a bounce to come back, which settles it."""


def resend_by_policy(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> None:
    """Have deliveries that have just become uncertain sent once more, if the newsletter asks for that: once, since
    a relay that always hangs up would get them for ever."""
    query = """
        SELECT d.subscriber_id FROM issue i JOIN newsletter n ON n.id = i.newsletter_id
        JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = ANY(CAST(:subscribers AS bigint[]))
        WHERE i.id = :issue AND i.state <> 'cancelled' AND n.uncertain_policy = 'resend'
          AND d.state = 'uncertain' AND d.resends = 0
    """
    asked = session.scalars(text(query), {"issue": issue, "subscribers": list(subscribers)}).all()
    if asked:
        by, again = "the newsletter's settings", Resolution.resend
        reply, due_at = describe(again, by, now), now + _RESEND_DELAY
        moved = _change_state(session, issue, asked, "uncertain", "pending", reply, now, due_at=due_at)
        log_resolution(session, issue, "mailer", again, moved, by)


_MAX_LISTED = 20


def log_resolution(
    session: Session, issue: int, actor: str, resolution: Resolution, subscribers: Sequence[int], reason: str
) -> None:
    """Write a settlement into the issue's log: no addresses, which would outlive their owner's data."""
    if not subscribers:
        return
    ids = ", ".join(map(str, subscribers[:_MAX_LISTED])) + (" …" if len(subscribers) > _MAX_LISTED else "")
    how = "to be sent once more" if resolution is Resolution.resend else f"as {resolution.value}"
    detail = f"{len(subscribers)} {how}{f': {reason}' if reason else ''} (subscriber {ids})"
    issues.log(session, issue, actor, "resolved", detail)


def failed_by_obstacle(
    session: Session, issue: int, reply_pattern: str | None, now: datetime
) -> dict[str, list[int]]:
    """Subscribers whose delivery failed, by the reason why it is not to be tried again; those without a reason
    under the empty one. ``replies``: only with a reply that this expression fits, the others under ``code``."""
    query = """
        SELECT CASE
                WHEN CAST(:replies AS text) IS NOT NULL AND coalesce(d.last_reply, '') !~ :replies THEN 'code'
                WHEN x.address_hash IS NOT NULL THEN 'suppressed'
                WHEN s.state IS DISTINCT FROM 'active' THEN 'unsubscribed'
                WHEN s.paused_until > :now THEN 'paused'
                WHEN s.frequency = 'monthly' AND i.digest_month IS NULL THEN 'digest_only'
                ELSE ''
            END AS why,
            array_agg(d.subscriber_id ORDER BY d.subscriber_id) AS subscribers
        FROM issue i
        JOIN delivery d ON d.issue_id = i.id AND d.state = 'failed'
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        LEFT JOIN subscription s ON s.newsletter_id = i.newsletter_id AND s.subscriber_id = d.subscriber_id
        LEFT JOIN suppression x ON x.address_hash = r.address_hash
        WHERE i.id = :issue GROUP BY 1
    """
    rows = session.execute(text(query), {"issue": issue, "replies": reply_pattern, "now": now})
    return {row.why: list(row.subscribers) for row in rows}
