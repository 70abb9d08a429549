"""Contact notes in the address books of newsletters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mailer.models import Contact, ContactCard, Issue


@dataclass(frozen=True, slots=True)
class CardUse:
    """An issue with notes that are copies of a card."""

    issue: int
    number: str
    copies: int


def of_newsletter(session: Session, newsletter: int) -> list[tuple[ContactCard, int]]:
    """Return the cards of an address book by name, each with how many notes in issues are copies of it."""
    used = select(func.count()).where(Contact.card_id == ContactCard.id, Contact.removed_at.is_(None))
    query = select(ContactCard, used.scalar_subquery()).where(
        ContactCard.newsletter_id == newsletter, ContactCard.removed_at.is_(None)
    )
    return [(card, count) for card, count in session.execute(query.order_by(func.lower(ContactCard.name)))]


def removed(session: Session, newsletter: int) -> list[ContactCard]:
    """Return the removed cards that are still kept, the latest removed first."""
    query = select(ContactCard).where(ContactCard.newsletter_id == newsletter, ContactCard.removed_at.is_not(None))
    return list(session.scalars(query.order_by(ContactCard.removed_at.desc())))


def find(session: Session, newsletter: int, card: int, *, removed: bool = False) -> ContactCard | None:
    """Return a card, or a removed one."""
    found = session.get(ContactCard, card)
    if found is None or found.newsletter_id != newsletter or (found.removed_at is not None) != removed:
        return None
    return found


def has_name(session: Session, newsletter: int, name: str, except_card: int | None) -> bool:
    """Return whether another card has this name."""
    query = select(ContactCard.id).where(
        ContactCard.newsletter_id == newsletter, ContactCard.name == name, ContactCard.removed_at.is_(None)
    )
    return any(id != except_card for id in session.scalars(query))


def uses(session: Session, card: int, limit: int) -> Sequence[CardUse]:
    """Return the issues with notes that are copies of a card, the newest first. Digests repeat issues."""
    query = (
        select(Issue.id, Issue.number, func.count())
        .join(Contact, Contact.issue_id == Issue.id)
        .where(Contact.card_id == card, Contact.removed_at.is_(None), Issue.digest_month.is_(None))
        .group_by(Issue.id)
        .order_by(Issue.issue_date.desc(), Issue.id.desc())
    )
    return [CardUse(*row) for row in session.execute(query.limit(limit))]


def delete_removed(session: Session, before: datetime) -> None:
    """Delete what was removed before a time: cards, and contact notes in issues."""
    session.execute(delete(ContactCard).where(ContactCard.removed_at < before))
    session.execute(delete(Contact).where(Contact.removed_at < before))
