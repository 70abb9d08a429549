"""Readdress: a reader moves to another address. Both ends confirm it, so that nobody moves somebody else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailer.domain.addresses import masked
from mailer.domain.phrases import Words, own_words
from mailer.domain.suppressions import LIFTED_BY_OPT_IN, MOVED
from mailer.domain.ties import Tie
from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.models import AddressChange
from mailer.store import attempts, feedback, newsletters, notes, people, readers, signups
from mailer.store.database import Database, Session

LASTS = timedelta(days=7)
_A_DAY = timedelta(days=1)
_CHANGES_A_DAY = 3


class SameAddress(ValueError):
    """It is the address that the reader has already."""


@dataclass(frozen=True, slots=True)
class Move:
    """A change of address as its pages show it; both addresses are masked."""

    name: Wording
    language: str
    page_languages: tuple[str, ...]
    old: str
    new: str
    new_end: bool
    """Whether the page belongs to the new address."""
    confirmed: bool
    """By this end."""
    done: bool
    archive: str
    """The newsletter's name in addresses where its archive is open to everybody, else empty."""
    postal_address: str
    theme: dict[str, str]
    own_words: Mapping[str, Words] = field(default_factory=dict)


def ask(
    database: Database, tie: Tie, address: str, address_hash: bytes, language: str, now: datetime
) -> bool:
    """Have both ends asked; False when there is no such reader. Raises SameAddress.

    Whether the new address is known here already shows in nothing. After some changes in a day, nothing more
    is sent.
    """
    with database.transaction() as session:
        found = readers.tied(session, tie)
        if found is None:
            return False
        if found.reader.address_hash == address_hash:
            raise SameAddress(SameAddress.__doc__)
        for who in (b"move" + found.reader.address_hash, b"move" + address_hash):
            if attempts.count(session, who, now, _A_DAY) > _CHANGES_A_DAY:
                return True
        change = signups.add_change(
            session,
            AddressChange(
                subscriber_id=found.reader.id,
                newsletter_id=found.newsletter.id,
                address=address,
                address_hash=address_hash,
                created_at=now,
            ),
        )
        for kind in ("address-old", "address-new"):
            notes.add(session, kind, found.newsletter.id, language, now, change=change)
        return True


def look(database: Database, change: int, new_end: bool, speak: Sequence[str], now: datetime) -> Move | None:
    """None when there is no such change, or not any more."""
    with database.transaction() as session:
        row = signups.change(session, change)
        return _move(session, row, new_end, speak) if row and _open(row, now) else None


def confirm(
    database: Database, change: int, new_end: bool, speak: Sequence[str], now: datetime
) -> Move | None:
    """One end agrees; when both have, the reader has moved. Twice is the same as once."""
    with database.transaction() as session:
        row = signups.change_locked(session, change)
        if row is None or not _open(row, now):
            return None
        if new_end:
            row.new_confirmed_at = row.new_confirmed_at or now
        else:
            row.old_confirmed_at = row.old_confirmed_at or now
        if row.done_at is None and row.old_confirmed_at and row.new_confirmed_at:
            _done(session, row, now)
        return _move(session, row, new_end, speak)


def _done(session: Session, row: AddressChange, now: datetime) -> None:
    reader = readers.by_id(session, row.subscriber_id)
    assert reader is not None
    if (other := readers.by_hash(session, row.address_hash)) and other.id != reader.id:
        # Both mailboxes are theirs: what they have at the new address is brought along.
        people.merge(session, other.id, reader.id, now)
    suppression = readers.suppression(session, row.address_hash)
    if suppression and suppression.reason in LIFTED_BY_OPT_IN:
        readers.lift_suppression(session, row.address_hash)
    # Or a list of before brings them back here, even when they have left since. Nothing else leads from the old
    # address to them any more: whatever stays of it is beyond the reach of erasing them.
    people.leave_hash(session, reader.address_hash, MOVED)
    people.erase_signups(session, reader.address_hash)
    old = reader.address
    reader.address, reader.address_hash, reader.keys_from = row.address, row.address_hash, now
    row.address, row.done_at = masked(old), now
    feedback.add(session, "readdressed", now, row.newsletter_id, None, reader.id, {})


def _open(row: AddressChange, now: datetime) -> bool:
    return now - row.created_at <= LASTS


def _move(session: Session, row: AddressChange, new_end: bool, speak: Sequence[str]) -> Move:
    newsletter = newsletters.by_id(session, row.newsletter_id)
    reader = readers.by_id(session, row.subscriber_id)
    assert reader is not None
    # Once it is done, the row holds what is shown of the old address.
    old, new = (row.address, reader.address) if row.done_at else (reader.address, row.address)
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = page_language([*speak, *reader.languages], newsletter.languages, chains, default)
    return Move(
        name=worded(newsletter.names, language, chains, default),
        language=language,
        page_languages=spoken(newsletter.languages),
        old=masked(old),
        new=masked(new),
        new_end=new_end,
        confirmed=bool(row.new_confirmed_at if new_end else row.old_confirmed_at),
        done=row.done_at is not None,
        archive=newsletter.slug if newsletter.public else "",
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
        own_words=own_words(newsletter.phrases, language),
    )
