"""Suppressions for staff: lists of them, and suppressing and lifting an address by hand."""

from collections.abc import Collection
from datetime import datetime

from mailer.domain.accounts import Actor, AuditAction, name_of
from mailer.domain.outcomes import redact_addresses
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.store import audit_log, subscribers, suppressions
from mailer.store.database import Database, Session
from mailer.store.suppressions import ListedSuppression, SuppressionFilter, SuppressionKey

__all__ = ["ListedSuppression", "SuppressionFilter", "SuppressionKey"]


def list_page(
    database: Database, only: SuppressionFilter, after: SuppressionKey | None, limit: int
) -> list[ListedSuppression]:
    """Return suppressions that match, the latest first, from the one after a place in the list."""
    with database.public_transaction() as session:
        return suppressions.page(session, only, after, limit)


def find(database: Database, address_hash: bytes) -> ListedSuppression | None:
    """Return the suppression of the address with this keyed hash."""
    with database.transaction() as session:
        return next(iter(suppressions.page(session, SuppressionFilter(address_hash=address_hash), None, 1)), None)


def suppressed_among(database: Database, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the keyed hashes whose addresses are suppressed."""
    with database.transaction() as session:
        return suppressions.among(session, hashes)


def suppress_by_hand(
    database: Database, address_hash: bytes, reason: SuppressionReason, words: str, actor: Actor, now: datetime
) -> None:
    """Suppress an address, or change why it is. ``words`` are what the person who does it says about it."""
    # The note outlives the subscriber, so it names nobody but who suppressed the address.
    note = f"{redact_addresses(words)} ({name_of(actor)})"
    with database.transaction() as session:
        subscribers.suppress(session, address_hash, reason, SuppressionSource.staff, note)
        _record(session, address_hash, AuditAction.address_suppressed, words, actor, now)


def lift_by_hand(database: Database, address_hash: bytes, words: str, actor: Actor, now: datetime) -> bool:
    """Lift the suppression of an address; return whether there was one. This subscribes nobody."""
    with database.transaction() as session:
        lifted = subscribers.lift_suppression(session, address_hash)
        if lifted:
            _record(session, address_hash, AuditAction.suppression_lifted, words, actor, now)
        return lifted


def _record(
    session: Session, address_hash: bytes, action: AuditAction, words: str, actor: Actor, now: datetime
) -> None:
    found = subscribers.by_hash(session, address_hash)
    # An erasure deletes what is recorded of a subscriber. What is recorded of an address alone has to be anonymous.
    kind, words = ("subscriber", words) if found else ("", redact_addresses(words))
    id = found.id if found else None
    audit_log.record(session, now, actor, action, object_kind=kind, object_id=id, detail={"reason": words})
