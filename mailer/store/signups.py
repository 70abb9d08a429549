"""Sign-ups awaiting confirmation, and address changes awaiting confirmation from both addresses."""

from sqlalchemy import delete
from sqlalchemy.orm import Session

from mailer.models import AddressChange, Signup


def add(session: Session, signup: Signup) -> int:
    session.add(signup)
    session.flush()
    return signup.id


def by_id(session: Session, signup: int) -> Signup | None:
    return session.get(Signup, signup)


def lock(session: Session, signup: int) -> Signup | None:
    """Lock a sign-up until the transaction ends; return it, or None if there is none."""
    return session.get(Signup, signup, with_for_update=True, populate_existing=True)


def add_change(session: Session, change: AddressChange) -> int:
    """Add a change of address, replacing the subscriber's unfinished one; return its id."""
    unfinished = delete(AddressChange).where(
        AddressChange.subscriber_id == change.subscriber_id, AddressChange.done_at.is_(None)
    )
    session.execute(unfinished)
    session.add(change)
    session.flush()
    return change.id


def change_by_id(session: Session, change_id: int) -> AddressChange | None:
    return session.get(AddressChange, change_id)


def lock_change(session: Session, change_id: int) -> AddressChange | None:
    return session.get(AddressChange, change_id, with_for_update=True, populate_existing=True)
