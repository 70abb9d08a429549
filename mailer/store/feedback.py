"""What comes back: bounces, unsubscribes and the rest."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.models import Feedback


def add(
    session: Session,
    kind: str,
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


def bounced(session: Session, issue: int, replies: Mapping[int, str], at: datetime) -> None:
    """Note refusals that mean a bad address, and suppress the addresses."""
    if not replies:
        return
    values = {"issue": issue, "at": at, "ids": list(replies), "replies": list(replies.values())}
    query = """
        WITH bounced AS (
            SELECT r.id, r.address_hash, b.reply
            FROM unnest(CAST(:ids AS bigint[]), CAST(:replies AS text[])) AS b(id, reply)
            JOIN subscriber r ON r.id = b.id
        ), noted AS (
            INSERT INTO feedback (kind, at, newsletter_id, issue_id, subscriber_id, detail)
            SELECT 'bounce', :at, i.newsletter_id, i.id, b.id, jsonb_build_object('reply', b.reply)
            FROM bounced b CROSS JOIN issue i WHERE i.id = :issue
        )
        INSERT INTO suppression (address_hash, reason, detail)
        SELECT address_hash, 'hard bounce', reply FROM bounced ON CONFLICT DO NOTHING
    """
    session.execute(text(query), values)
