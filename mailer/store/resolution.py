"""Resolving uncertain deliveries (by staff, by later evidence, or by resending) and retrying failed ones.

Lock order, which workers follow too: the issue, then its batches, then its deliveries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor, name_of
from mailer.domain.labels import RESOLUTION_SOURCE_LABELS
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import DeliveryState, IssueEventKind, SkipReason
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.store import eligibility, issues, refusals
from mailer.store.batches import BATCH_BOUNDARIES

# OFFSET keeps the planner from carrying the array of batches into the join.
_LOCK_BATCHES = f"""
SELECT id FROM batch
WHERE id IN (
    SELECT e.ids[width_bucket(s.id, e.firsts)]
    FROM unnest(CAST(:subscribers AS bigint[])) s(id), ({BATCH_BOUNDARIES}) e OFFSET 0
)
ORDER BY id FOR UPDATE
"""

# Changes the state of deliveries and the counts of their batches. A delivery that becomes pending reopens a batch that
# is done; a batch that a worker has claimed gets its state when it is released. Attempts of failed deliveries restart
# at 0, so that the next temporary refusal is not final. A resolved delivery has at least one attempt.
_CHANGE_STATE = f"""
WITH edges AS ({BATCH_BOUNDARIES}), moved AS (
    UPDATE delivery d
    SET state = CAST(:to AS delivery_state),
        last_reply = coalesce(left(CAST(:reply AS text), 500), d.last_reply),
        resolution = CAST(:resolution AS delivery_resolution),
        resolution_source = CAST(:source AS resolution_source),
        resolved_by = CAST(:by AS text), resolution_note = nullif(CAST(:note AS text), ''),
        due_at = CASE WHEN :to = 'pending' THEN :due_at ELSE d.due_at END,
        finished_at = CASE WHEN :to = 'pending' THEN NULL ELSE CAST(:now AS timestamptz) END,
        attempts = CASE WHEN :to <> 'pending' THEN greatest(d.attempts, 1) WHEN was.state = 'failed' THEN 0
            ELSE d.attempts END,
        policy_refusals = CASE WHEN was.state = 'failed' THEN 0 ELSE d.policy_refusals END,
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


@dataclass(frozen=True, slots=True)
class ResolvedBy:
    """Who or what resolves deliveries."""

    source: ResolutionSource
    actor: Actor = ""
    """Only for ``staff``: who decided."""
    note: str = ""
    """Only for ``staff``: on what grounds."""


_TARGET_STATES = {
    Resolution.sent: DeliveryState.sent,
    Resolution.failed: DeliveryState.failed,
    Resolution.resend: DeliveryState.pending,
    Resolution.retry: DeliveryState.pending,
}


def _change_state(
    session: Session,
    issue: int,
    subscribers: Sequence[int],
    resolution: Resolution,
    by: ResolvedBy,
    now: datetime,
    *,
    bounce_reply: str | None = None,
    include_resends: bool = False,
    due_at: datetime | None = None,
) -> list[int]:
    """Resolve the uncertain deliveries of these subscribers, or retry the failed ones; return whose changed.

    ``bounce_reply`` replaces the last reply. ``include_resends`` also resolves deliveries that wait to be resent.
    ``due_at`` is when deliveries that become pending are due; default ``now``.
    """
    values = {"issue": issue, "subscribers": list(subscribers)}
    batches = session.scalars(text(_LOCK_BATCHES), values).all()
    values |= {
        "of": DeliveryState.failed if resolution is Resolution.retry else DeliveryState.uncertain,
        "to": _TARGET_STATES[resolution],
        "resolution": resolution,
        "source": by.source,
        "by": name_of(by.actor) or None,
        "note": by.note,
        "reply": bounce_reply,
        "now": now,
        "due": include_resends,
        "due_at": due_at or now,
    }
    changed = list(session.scalars(text(_CHANGE_STATE), values))
    if changed:
        refusals.count(session, batches)
    return changed


def resolve(
    session: Session,
    issue: int,
    subscribers: Sequence[int],
    resolution: Resolution,
    by: ResolvedBy,
    now: datetime,
) -> list[int]:
    """Resolve the uncertain deliveries of these subscribers and log it; return whose. Lock the issue first."""
    changed = _change_state(session, issue, subscribers, resolution, by, now)
    _log(session, issue, resolution, by, changed)
    return changed


def retry_failed(session: Session, issue: int, subscribers: Sequence[int], actor: Actor, now: datetime) -> list[int]:
    """Make the failed deliveries of these subscribers due now; return whose. Lock the issue first."""
    by = ResolvedBy(ResolutionSource.staff, actor)
    return _change_state(session, issue, subscribers, Resolution.retry, by, now)


def confirm_delivered(session: Session, ref: SubscriptionRef, now: datetime) -> bool:
    """Resolve an uncertain delivery as sent because a link from its mail was used; return whether it changed."""
    return bool(ref.issue) and _resolve_by_evidence(
        session, ref.issue, ref.subscriber, Resolution.sent, ResolutionSource.link, None, now
    )


def record_returned_mail(
    session: Session, issue: int, subscriber: int, bounce_reply: str | None, now: datetime
) -> bool:
    """Resolve an uncertain delivery because mail to its return path proves that the relay accepted it.

    With ``bounce_reply``, the reply quoted in a bounce, it has failed; with None (any other mail) it was sent.
    Returns whether it changed.
    """
    resolution, source = (
        (Resolution.sent, ResolutionSource.returned_mail)
        if bounce_reply is None
        else (Resolution.failed, ResolutionSource.bounce)
    )
    return _resolve_by_evidence(session, issue, subscriber, resolution, source, bounce_reply, now)


def _resolve_by_evidence(
    session: Session,
    issue: int,
    subscriber: int,
    resolution: Resolution,
    evidence: ResolutionSource,
    bounce_reply: str | None,
    now: datetime,
) -> bool:
    # There is almost always nothing to resolve, so look before locking. The outcome of a ``sending`` delivery may be
    # in an open transaction: with the batch locked it is committed, or its writer will see this one's feedback.
    query = """
        SELECT state IN ('uncertain', 'sending') OR (:sent AND state = 'pending' AND resends > 0)
        FROM delivery WHERE issue_id = :issue AND subscriber_id = :subscriber
    """
    sent = resolution is Resolution.sent
    if not session.scalar(text(query), {"issue": issue, "subscriber": subscriber, "sent": sent}):
        return False
    by = ResolvedBy(evidence)
    # Proof of arrival also stops a delivery that waits to be resent; a bounce does not.
    changed = _change_state(
        session,
        issue,
        [subscriber],
        resolution,
        by,
        now,
        bounce_reply=bounce_reply or None,
        include_resends=sent,
    )
    _log(session, issue, resolution, by, changed)
    return bool(changed)


def resolve_by_feedback(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> None:
    """Resolve deliveries that have just become uncertain by feedback received before that."""
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
"""Leaves time for a bounce, which would resolve the delivery."""


def resend_by_policy(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> None:
    """Resend deliveries that have just become uncertain, if the newsletter's policy says so.

    Each is resent only once: a relay that always drops the connection would otherwise get it endlessly.
    """
    query = """
        SELECT d.subscriber_id FROM issue i JOIN newsletter n ON n.id = i.newsletter_id
        JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = ANY(CAST(:subscribers AS bigint[]))
        WHERE i.id = :issue AND i.state <> 'cancelled' AND n.uncertain_policy = 'resend'
          AND d.state = 'uncertain' AND d.resends = 0
    """
    to_resend = session.scalars(text(query), {"issue": issue, "subscribers": list(subscribers)}).all()
    if to_resend:
        by, resend = ResolvedBy(ResolutionSource.policy), Resolution.resend
        changed = _change_state(session, issue, to_resend, resend, by, now, due_at=now + _RESEND_DELAY)
        _log(session, issue, resend, by, changed)


_MAX_LISTED = 20


def _log(session: Session, issue: int, resolution: Resolution, by: ResolvedBy, subscribers: Sequence[int]) -> None:
    """Log a resolution, without addresses: the log outlives personal data."""
    if not subscribers:
        return
    ids = ", ".join(map(str, subscribers[:_MAX_LISTED])) + (" …" if len(subscribers) > _MAX_LISTED else "")
    how = "queued for resending" if resolution is Resolution.resend else f"as {resolution.value}"
    why = RESOLUTION_SOURCE_LABELS.get(by.source) or by.note
    detail = f"{len(subscribers)} {how}{f': {why}' if why else ''} (subscriber {ids})"
    issues.log(session, issue, by.actor, IssueEventKind.resolved, detail)


@dataclass(frozen=True, slots=True)
class FailedDeliveries:
    """Subscribers whose delivery of an issue failed."""

    retryable: list[int]
    ineligible: dict[SkipReason, list[int]]
    """Subscribers who must not be mailed, by reason."""
    other_code: list[int]
    """Subscribers whose reply does not match the requested pattern."""


_SKIP_REASON = eligibility.skip_reason(now=":now", digest="(i.digest_month IS NOT NULL)")
_FAILED = f"""
SELECT {{other_code}} AS other_code, {_SKIP_REASON} AS skip_reason,
    array_agg(d.subscriber_id ORDER BY d.subscriber_id) AS subscribers
FROM issue i
JOIN delivery d ON d.issue_id = i.id AND d.state = 'failed'
LEFT JOIN subscriber r ON r.id = d.subscriber_id
LEFT JOIN subscription s ON s.newsletter_id = i.newsletter_id AND s.subscriber_id = d.subscriber_id
{eligibility.SUPPRESSION_JOIN}
WHERE i.id = :issue GROUP BY 1, 2 ORDER BY 2
"""


def failed(session: Session, issue: int, reply_pattern: str | None, now: datetime) -> FailedDeliveries:
    """Return the failed deliveries of an issue. ``reply_pattern`` is a regular expression for the replies to retry."""
    other_code = "false" if reply_pattern is None else "coalesce(d.last_reply, '') !~ :replies"
    query = _FAILED.format(other_code=other_code)
    deliveries = FailedDeliveries([], {}, [])
    for row in session.execute(text(query), {"issue": issue, "replies": reply_pattern, "now": now}):
        if row.other_code:
            deliveries.other_code.extend(row.subscribers)
        elif row.skip_reason:
            deliveries.ineligible[SkipReason(row.skip_reason)] = list(row.subscribers)
        else:
            deliveries.retryable.extend(row.subscribers)
    return deliveries
