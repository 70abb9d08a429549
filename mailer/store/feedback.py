"""What comes back: bounces, unsubscribes and the rest."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.feedback import FeedbackKind
from mailer.domain.outcomes import redact_addresses
from mailer.domain.suppressions import PastDelivery, RefusalRule, SuppressionReason, SuppressionSource
from mailer.models import Feedback, Issue, Newsletter, UnrecognizedMail
from mailer.store import subscribers as subscribers_store


def add(
    session: Session,
    kind: FeedbackKind,
    at: datetime,
    newsletter: int | None,
    issue: int | None,
    subscriber: int | None,
    detail: dict[str, Any],
) -> None:
    session.add(
        Feedback(
            kind=kind,
            at=at,
            newsletter_id=newsletter,
            issue_id=issue,
            subscriber_id=subscriber,
            detail=detail,
        )
    )


def record_hard_bounces(session: Session, issue: int, replies: Mapping[int, str], at: datetime) -> None:
    """Record refusals of invalid addresses as bounces, and suppress these addresses.

    A suppression outlives the subscriber, so the replies that it stores are redacted.
    """
    if not replies:
        return
    values = {"issue": issue, "at": at, "ids": list(replies), "replies": list(replies.values())}
    values["impersonal"] = [redact_addresses(reply) for reply in replies.values()]
    query = """
        WITH bounced AS (
            SELECT r.id, r.address_hash, r.address_changed_at, b.reply, b.impersonal
            FROM unnest(CAST(:ids AS bigint[]), CAST(:replies AS text[]), CAST(:impersonal AS text[]))
                AS b(id, reply, impersonal)
            JOIN subscriber r ON r.id = b.id
        ), noted AS (
            INSERT INTO feedback (kind, at, newsletter_id, issue_id, subscriber_id, detail)
            SELECT 'bounce', :at, i.newsletter_id, i.id, b.id, jsonb_build_object('reply', b.reply)
            FROM bounced b CROSS JOIN issue i WHERE i.id = :issue
        )
        INSERT INTO suppression (address_hash, reason, source, note)
        -- In one order for all, so that nobody waits for another in a circle.
        SELECT address_hash, 'hard_bounce', 'system', impersonal FROM bounced
        -- Who moved while this was with a worker: it was the address before that is bad.
        WHERE address_changed_at IS NULL OR address_changed_at < CAST(:at AS timestamptz) - interval '1 hour'
        ORDER BY address_hash ON CONFLICT DO NOTHING
    """
    session.execute(text(query), values)


_RECENT_ISSUES = """
SELECT id, newsletter_id FROM issue WHERE ready_at IS NOT NULL ORDER BY ready_at DESC LIMIT :limit
"""
# What an address refused before its subscriber confirmed it, or moved to it, says nothing about it.
_PAST_DELIVERIES = f"""
SELECT r.id, r.address_hash, d.finished_at AS at, i.newsletter_id = n.id AS is_counted,
    CASE WHEN b.reply IS NOT NULL THEN b.reply WHEN d.state = 'failed' THEN coalesce(d.last_reply, '') END AS reply,
    b.reply IS NOT NULL AND d.state = 'sent' OR coalesce(d.resolution_source = 'bounce', false) AS is_bounce
FROM unnest(CAST(:subscribers AS bigint[])) s(id)
JOIN subscriber r ON r.id = s.id
CROSS JOIN newsletter n
JOIN ({_RECENT_ISSUES}) i ON true
JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = r.id AND d.state IN ('sent', 'failed')
LEFT JOIN LATERAL (
    SELECT coalesce(f.detail ->> 'reply', '') AS reply FROM feedback f
    WHERE f.subscriber_id = r.id AND f.issue_id = i.id AND f.kind = 'bounce' ORDER BY f.id LIMIT 1
) b ON true
WHERE n.id = :newsletter
  AND d.due_at > greatest(
    coalesce(r.address_changed_at, '-infinity'),
    (SELECT coalesce(max(c.at), '-infinity') FROM consent c WHERE c.subscriber_id = r.id AND c.given)
  )
ORDER BY r.address_hash, d.finished_at DESC
"""
_ISSUES_PER_REFUSAL = 4
"""How many issues are looked at for each refusal that is asked for: not everybody gets every issue."""


def suppress_repeatedly_refused(session: Session, issue: int, subscribers: Sequence[int], now: datetime) -> list[int]:
    """Suppress those of some subscribers whose address has refused too many issues in a row; return them.

    Call this after an issue was refused. See ``RefusalRule``.
    """
    if not subscribers:
        return []
    newsletter = session.get_one(Newsletter, session.get_one(Issue, issue).newsletter_id)
    rule = RefusalRule(newsletter.suppress_after_refused_issues, newsletter.suppress_after_refused_days)
    values = {
        "subscribers": list(subscribers),
        "newsletter": newsletter.id,
        "limit": rule.issues * _ISSUES_PER_REFUSAL,
    }
    suppressed = []
    rows = session.execute(text(_PAST_DELIVERIES), values).all()
    # In one order for all, so that nobody waits for another in a circle.
    for (subscriber, address_hash), of_one in groupby(rows, key=lambda row: (row.id, row.address_hash)):
        past = [PastDelivery(row.at, row.is_counted, row.reply, row.is_bounce) for row in of_one]
        refusals = rule.refusals(past, now)
        if refusals:
            reply = redact_addresses(refusals[0].reply or "")
            note = f"refused {len(refusals)} issues since {refusals[-1].at:%-d %B %Y}, the last one with: {reply}"
            reason = SuppressionReason.repeated_refusals
            if subscribers_store.suppress(session, address_hash, reason, SuppressionSource.system, note):
                suppressed.append(subscriber)
    return suppressed


_MAX_UNRECOGNIZED_MAILS = 1_000
_MAX_UNRECOGNIZED_BYTES = 16_384


def keep_unrecognized(session: Session, issue: int, subscriber: int, message: bytes, now: datetime) -> None:
    """Keep the beginning of a mail to a return path: one mail for each, and the latest thousand in all."""
    values = {"issue": issue, "subscriber": subscriber, "at": now, "beginning": message[:_MAX_UNRECOGNIZED_BYTES]}
    query = """
        INSERT INTO unrecognized_mail (at, issue_id, subscriber_id, beginning)
        VALUES (:at, :issue, :subscriber, :beginning) ON CONFLICT (subscriber_id, issue_id) DO NOTHING
    """
    session.execute(text(query), values)
    query = """
        DELETE FROM unrecognized_mail WHERE id IN (
            SELECT id FROM unrecognized_mail ORDER BY at DESC, id DESC OFFSET :limit
        )
    """
    session.execute(text(query), {"limit": _MAX_UNRECOGNIZED_MAILS})


def list_unrecognized(session: Session, limit: int) -> list[UnrecognizedMail]:
    """Return the kept mails, latest first."""
    query = select(UnrecognizedMail).order_by(UnrecognizedMail.at.desc(), UnrecognizedMail.id.desc())
    return list(session.scalars(query.limit(limit)))


def unrecognized(session: Session, mail: int) -> UnrecognizedMail | None:
    return session.get(UnrecognizedMail, mail)


def count_unrecognized(session: Session, since: datetime) -> int:
    query = "SELECT count(*) FROM unrecognized_mail WHERE at > :since"
    return session.scalar(text(query), {"since": since}) or 0


def count_repeatedly_refused(session: Session, since: datetime) -> int:
    """Return how many addresses were suppressed for repeated refusals after a time."""
    query = "SELECT count(*) FROM suppression WHERE reason = 'repeated_refusals' AND created_at > :since"
    return session.scalar(text(query), {"since": since}) or 0


def count_bounced(session: Session, issue: int) -> int:
    """Return how many deliveries of an issue were accepted and came back."""
    query = """
        SELECT count(DISTINCT f.subscriber_id) FROM feedback f
        JOIN delivery d ON d.issue_id = f.issue_id AND d.subscriber_id = f.subscriber_id
        WHERE f.issue_id = :issue AND f.kind = 'bounce' AND (d.state = 'sent' OR d.resolution_source = 'bounce')
    """
    return session.scalar(text(query), {"issue": issue}) or 0


def bounce(session: Session, issue: int, subscriber: int) -> tuple[datetime, str] | None:
    """Return when a delivery came back, and the reply in it, if it did."""
    query = (
        select(Feedback)
        .where(Feedback.kind == FeedbackKind.bounce, Feedback.issue_id == issue, Feedback.subscriber_id == subscriber)
        .order_by(Feedback.id)
        .limit(1)
    )
    row = session.scalar(query)
    return (row.at, str(row.detail.get("reply", ""))) if row else None


def record_unsubscribe_reason(session: Session, newsletter: int, subscriber: int, reason: dict[str, str]) -> bool:
    """Add a reader's reason to their latest unsubscribe; True when there is one."""
    query = (
        select(Feedback)
        .where(
            Feedback.kind == FeedbackKind.unsubscribe,
            Feedback.newsletter_id == newsletter,
            Feedback.subscriber_id == subscriber,
        )
        .order_by(Feedback.id.desc())
        .limit(1)
        .with_for_update()
    )
    row = session.scalar(query)
    if row is None:
        return False
    row.detail = {"channel": row.detail.get("channel", ""), **reason}
    return True


def exists(session: Session, kind: FeedbackKind, issue: int | None, subscriber: int) -> bool:
    """Whether such a thing was noted before."""
    query = select(Feedback.id).where(
        Feedback.kind == kind, Feedback.issue_id == issue, Feedback.subscriber_id == subscriber
    )
    return session.scalar(query.limit(1)) is not None


def concerns_current_address(session: Session, issue: int, subscriber: int, since: datetime) -> bool:
    """Return whether a bounce of a delivery concerns the subscriber's current address.

    It does if the delivery may have been sent since ``since``, and became due after the last change of address.
    """
    query = """
        SELECT true FROM delivery d JOIN subscriber r ON r.id = d.subscriber_id
        WHERE d.issue_id = :issue AND d.subscriber_id = :subscriber
          AND (d.state IN ('sending', 'sent', 'uncertain') OR d.resends > 0)
          AND (d.finished_at IS NULL OR d.finished_at > :since)
          AND (r.address_changed_at IS NULL OR d.due_at > r.address_changed_at)
    """
    return bool(session.scalar(text(query), {"issue": issue, "subscriber": subscriber, "since": since}))
