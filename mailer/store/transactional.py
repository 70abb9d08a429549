"""Notes: mails about a subscription, written here by whoever wants one sent, and claimed by who sends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import (
    AddressChange,
    Newsletter,
    Section,
    Signup,
    Subscriber,
    Subscription,
    TransactionalEmail,
)


def add(
    session: Session,
    kind: TransactionalEmailKind,
    newsletter: int,
    language: str,
    due_at: datetime,
    *,
    subscriber: int | None = None,
    signup: int | None = None,
    change: int | None = None,
) -> None:
    """Have a note sent. ``language`` has a catalogue."""
    session.add(
        TransactionalEmail(
            kind=kind,
            newsletter_id=newsletter,
            language=language,
            due_at=due_at,
            subscriber_id=subscriber,
            signup_id=signup,
            change_id=change,
        )
    )


def lock_pending(
    session: Session, kind: TransactionalEmailKind, newsletter: int, subscriber: int
) -> TransactionalEmail | None:
    """Return an email of this kind that nobody has begun to send, and keep it so until the transaction ends."""
    query = select(TransactionalEmail).where(
        TransactionalEmail.kind == kind,
        TransactionalEmail.newsletter_id == newsletter,
        TransactionalEmail.subscriber_id == subscriber,
        TransactionalEmail.sent_at.is_(None),
        TransactionalEmail.given_up_at.is_(None),
        TransactionalEmail.lease_until.is_(None),
    )
    return session.scalars(query.with_for_update()).first()


def last_due_at(session: Session, kind: TransactionalEmailKind, newsletter: int, subscriber: int) -> datetime | None:
    query = select(func.max(TransactionalEmail.due_at)).where(
        TransactionalEmail.kind == kind,
        TransactionalEmail.newsletter_id == newsletter,
        TransactionalEmail.subscriber_id == subscriber,
    )
    return session.scalar(query)


_DUE = """
SELECT id FROM transactional_email
WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now AND (lease_until IS NULL OR lease_until < :now)
ORDER BY due_at LIMIT :limit
"""


def count_due(session: Session, now: datetime, limit: int) -> int:
    """How many could be claimed, up to ``limit``."""
    query = f"SELECT count(*) FROM ({_DUE}) due"
    return int(session.execute(text(query), {"now": now, "limit": limit}).scalar_one())


def claim(session: Session, now: datetime, lease: timedelta, limit: int) -> list[int]:
    """Notes that are due and that nobody else is sending, from now on ours until the lease ends."""
    query = f"""
        -- Chosen once: as a subquery of the UPDATE it may be run again for each row, and its limit starts anew.
        WITH chosen AS MATERIALIZED ({_DUE} FOR UPDATE SKIP LOCKED)
        UPDATE transactional_email n SET lease_until = :until, attempts = attempts + 1
        FROM chosen WHERE n.id = chosen.id
        RETURNING n.id
    """
    return sorted(session.scalars(text(query), {"now": now, "until": now + lease, "limit": limit}))


@dataclass(frozen=True, slots=True)
class TransactionalContext:
    """A note with all that it is about."""

    email: TransactionalEmail
    newsletter: Newsletter
    sections: Sequence[Section]
    subscriber: Subscriber | None
    subscription: Subscription | None
    signup: Signup | None
    change: AddressChange | None


def load_contexts(session: Session, email_ids: Sequence[int]) -> list[TransactionalContext]:
    found = []
    for note in session.scalars(
        select(TransactionalEmail).where(TransactionalEmail.id.in_(email_ids)).order_by(TransactionalEmail.id)
    ):
        change = session.get(AddressChange, note.change_id) if note.change_id else None
        subscriber = note.subscriber_id or (change.subscriber_id if change else None)
        sections = select(Section).where(Section.newsletter_id == note.newsletter_id)
        found.append(
            TransactionalContext(
                note,
                session.get_one(Newsletter, note.newsletter_id),
                list(session.scalars(sections.order_by(Section.position, Section.id))),
                session.get(Subscriber, subscriber) if subscriber else None,
                session.get(Subscription, (note.newsletter_id, subscriber)) if subscriber else None,
                session.get(Signup, note.signup_id) if note.signup_id else None,
                change,
            )
        )
    return found


def renew_lease(session: Session, email_ids: Sequence[int], until: datetime) -> None:
    """Have the lease of notes that are still with the relay end later."""
    session.execute(update(TransactionalEmail).where(TransactionalEmail.id.in_(email_ids)).values(lease_until=until))


def record_result(session: Session, email_id: int, **values: object) -> None:
    """Write down what became of an attempt, and let the note go."""
    session.execute(
        update(TransactionalEmail).where(TransactionalEmail.id == email_id).values(lease_until=None, **values)
    )


def by_id(session: Session, email_id: int) -> TransactionalEmail | None:
    return session.get(TransactionalEmail, email_id)
