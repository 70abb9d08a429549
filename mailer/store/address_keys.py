"""The fingerprint of the key that addresses are hashed with."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.models import AddressKey, Subscriber


def is_migrated(session: Session) -> bool:
    """Return whether the database has the table of the fingerprint."""
    return session.scalar(select(func.to_regclass(AddressKey.__tablename__))) is not None


def fingerprint(session: Session) -> bytes | None:
    """Return the stored fingerprint, or None."""
    return session.scalar(select(AddressKey.fingerprint))


def store(session: Session, new: bytes) -> bytes:
    """Store a fingerprint, unless another transaction has just stored one; return the stored one."""
    session.execute(insert(AddressKey).values(fingerprint=new).on_conflict_do_nothing())
    return session.scalars(select(AddressKey.fingerprint)).one()


def any_hash(session: Session) -> tuple[str, bytes] | None:
    """Return the address and hash of some subscriber, or None if there is none."""
    row = session.execute(select(Subscriber.address, Subscriber.address_hash).limit(1)).first()
    return (row.address, row.address_hash) if row else None
