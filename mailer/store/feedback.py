"""What comes back: bounces, unsubscribes and the rest."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.feedback import FeedbackKind
from mailer.domain.outcomes import redact_addresses
from mailer.models import Feedback


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
    """Note refusals that mean a bad address, and suppress the addresses: a suppression outlives its reader, and
    does not say who that was."""
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
    """Whether a bounce of a delivery tells of the address that its reader has now: it was handed over after a time,
    or may have been, and was not even due when they moved."""
    query = """
        SELECT true FROM delivery d JOIN subscriber r ON r.id = d.subscriber_id
        WHERE d.issue_id = :issue AND d.subscriber_id = :subscriber
          AND (d.state IN ('sending', 'sent', 'uncertain') OR d.resends > 0)
          AND (d.finished_at IS NULL OR d.finished_at > :since)
          AND (r.address_changed_at IS NULL OR d.due_at > r.address_changed_at)
    """
    return bool(session.scalar(text(query), {"issue": issue, "subscriber": subscriber, "since": since}))
