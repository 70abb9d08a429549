"""Change of address. Both the old and the new address must confirm it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.email_addresses import masked
from mailer.domain.feedback import FeedbackKind
from mailer.domain.page_frame import PageFrame
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import LIFTED_BY_OPT_IN, SuppressionReason, SuppressionSource
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import AddressChange
from mailer.services.subscribers.request_limits import MAX_MAILS_PER_DAY, Requester, check_network, may_mail
from mailer.store import (
    feedback,
    newsletters,
    personal_data,
    rate_limits,
    signups,
    subscribers,
    transactional,
)
from mailer.store.database import Database, Session

LINK_LIFETIME = timedelta(days=7)
_DAY = timedelta(days=1)
_MAX_CHANGES_PER_DAY = 3


class SameAddress(ValueError):
    """The new address is the same as the current one."""


@dataclass(frozen=True, slots=True)
class AddressChangePage:
    """The data of the confirmation pages. Both addresses are masked."""

    frame: PageFrame
    old_address: str
    new_address: str
    is_new_address: bool
    """Whether the link was sent to the new address."""
    confirmed: bool
    """Whether this address has confirmed the change."""
    completed: bool


def request(
    database: Database,
    ref: SubscriptionRef,
    address: str,
    address_hash: bytes,
    language: str,
    now: datetime,
    *,
    hash_mailbox: Callable[[str], bytes],
    requester: Requester,
) -> bool:
    """Send a confirmation link to both addresses. Return False if there is no such subscription.

    The result does not reveal whether the new address is already subscribed. Above the daily limit of either mailbox,
    or of the subscriber, nothing is sent. ``hash_mailbox`` hashes an address without spelling variants such as tags.
    Raises SameAddress or RateLimited.
    """
    check_network(database, requester, now)
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if context is None:
            return False
        if context.subscriber.address_hash == address_hash:
            raise SameAddress(SameAddress.__doc__)
        limit_key = b"move" + context.subscriber.address_hash
        if (
            not rate_limits.acquire(session, limit_key, now, _DAY, _MAX_CHANGES_PER_DAY)
            or not may_mail(session, hash_mailbox(address), now)
            or not may_mail(session, hash_mailbox(context.subscriber.address), now, MAX_MAILS_PER_DAY)
        ):
            return True
        change = signups.add_change(
            session,
            AddressChange(
                subscriber_id=context.subscriber.id,
                newsletter_id=context.newsletter.id,
                address=address,
                address_hash=address_hash,
                created_at=now,
            ),
        )
        for kind in (TransactionalEmailKind.address_old, TransactionalEmailKind.address_new):
            transactional.add(session, kind, context.newsletter.id, language, now, change=change)
        return True


def view(
    database: Database, change: int, is_new_address: bool, preferred_languages: Sequence[str], now: datetime
) -> AddressChangePage | None:
    """Return the confirmation page, or None if the change does not exist or has expired."""
    with database.transaction() as session:
        row = signups.change_by_id(session, change)
        return _page(session, row, is_new_address, preferred_languages) if row and _is_pending(row, now) else None


def confirm(
    database: Database, change: int, is_new_address: bool, preferred_languages: Sequence[str], now: datetime
) -> AddressChangePage | None:
    """Confirm a change for one address, and complete it once both have confirmed. Idempotent.

    Return None if the change does not exist or has expired.
    """
    with database.transaction() as session:
        row = signups.lock_change(session, change)
        if row is None or not _is_pending(row, now):
            return None
        if is_new_address:
            row.new_confirmed_at = row.new_confirmed_at or now
        else:
            row.old_confirmed_at = row.old_confirmed_at or now
        if row.done_at is None and row.old_confirmed_at and row.new_confirmed_at:
            _complete(session, row, now)
        return _page(session, row, is_new_address, preferred_languages)


def _complete(session: Session, row: AddressChange, now: datetime) -> None:
    subscriber = subscribers.by_id(session, row.subscriber_id)
    assert subscriber is not None
    if (other := subscribers.by_hash(session, row.address_hash)) and other.id != subscriber.id:
        # Both addresses belong to the same person, so the two subscribers are merged.
        personal_data.merge(session, other.id, subscriber.id, now)
    suppression = subscribers.suppression(session, row.address_hash)
    if suppression and suppression.source in LIFTED_BY_OPT_IN:
        subscribers.lift_suppression(session, row.address_hash)
    # Without the suppression, importing an old list would add the old address again. Sign-ups are deleted now
    # because an erasure of the subscriber would no longer find them by the old address.
    personal_data.suppress_hash(
        session, subscriber.address_hash, SuppressionReason.address_changed, SuppressionSource.subscriber
    )
    personal_data.erase_signups(session, subscriber.address_hash)
    old = subscriber.address
    subscriber.address, subscriber.address_hash, subscriber.address_changed_at = row.address, row.address_hash, now
    row.address, row.done_at = masked(old), now
    feedback.add(session, FeedbackKind.address_change, now, row.newsletter_id, None, subscriber.id, {})


def _is_pending(row: AddressChange, now: datetime) -> bool:
    return now - row.created_at <= LINK_LIFETIME


def _page(
    session: Session, row: AddressChange, is_new_address: bool, preferred_languages: Sequence[str]
) -> AddressChangePage:
    newsletter = newsletters.by_id(session, row.newsletter_id)
    subscriber = subscribers.by_id(session, row.subscriber_id)
    assert subscriber is not None
    # Once the change is completed, the row holds the masked old address.
    old, new = (row.address, subscriber.address) if row.done_at else (subscriber.address, row.address)
    return AddressChangePage(
        frame=newsletters.page_frame(newsletter, [*preferred_languages, *subscriber.languages]),
        old_address=masked(old),
        new_address=masked(new),
        is_new_address=is_new_address,
        confirmed=bool(row.new_confirmed_at if is_new_address else row.old_confirmed_at),
        completed=row.done_at is not None,
    )
