"""The address book of a newsletter: contact notes that its writers put below stories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.accounts import ActingStaff, AuditAction
from mailer.domain.contact_notes import MAX_CARD_NAME_CHARS, MAX_CARDS, normalize_contact_note
from mailer.domain.errors import ChangeRefused
from mailer.domain.staff_texts import gettext
from mailer.models import ContactCard
from mailer.store import audit_log, contact_cards, newsletters
from mailer.store.contact_cards import CardUse
from mailer.store.database import Database, Session

__all__ = ["CardUse"]

KEPT = timedelta(days=30)
"""For how long a removed contact can be put back."""
MAX_USES = 50


@dataclass(frozen=True, slots=True)
class Card:
    """A contact in an address book."""

    id: int
    name: str
    texts: Mapping[str, str]
    """Language → Markdown."""
    revision: int
    copies: int = 0
    """How many contact notes in issues are copies of it."""
    uses: Sequence[CardUse] = ()
    """The latest issues with such notes, only of a single card that is loaded."""


class CardNotFound(LookupError):
    """The address book has no such contact."""


class CardOutdated(ChangeRefused):
    """Somebody else has changed this contact while you had it open."""


def list_cards(database: Database, newsletter: int) -> list[Card]:
    """Return the contacts by name."""
    with database.transaction() as session:
        return [
            Card(row.id, row.name, row.texts, row.revision, copies)
            for row, copies in contact_cards.of_newsletter(session, newsletter)
        ]


def list_removed(database: Database, newsletter: int) -> list[Card]:
    """Return the contacts whose removal can be undone, the latest removed first."""
    with database.transaction() as session:
        return [Card(row.id, row.name, row.texts, row.revision) for row in contact_cards.removed(session, newsletter)]


def load_card(database: Database, newsletter: int, card: int) -> Card:
    """Return a contact with where it is used. Raises CardNotFound."""
    with database.transaction() as session:
        row = _find(session, newsletter, card)
        uses = contact_cards.uses(session, card, MAX_USES)
        return Card(row.id, row.name, row.texts, row.revision, sum(use.copies for use in uses), uses)


def add_card(
    database: Database, newsletter: int, name: str, texts: Mapping[str, str], staff: ActingStaff, now: datetime
) -> int:
    """Add a contact with its notes, written as Markdown, and return it. Raises UserError if that cannot be."""
    with database.transaction() as session:
        languages = newsletters.lock(session, newsletter).languages
        if len(contact_cards.of_newsletter(session, newsletter)) >= MAX_CARDS:
            raise ChangeRefused(gettext("An address book has at most %(count)s contacts.", count=MAX_CARDS))
        row = ContactCard(newsletter_id=newsletter, name=_read_name(session, newsletter, name, None))
        row.texts = _read_texts({}, texts, languages)
        session.add(row)
        session.flush()
        _record(session, row, "added", staff, now)
        return row.id


def change_card(
    database: Database,
    newsletter: int,
    card: int,
    revision: int,
    name: str,
    texts: Mapping[str, str],
    staff: ActingStaff,
    now: datetime,
) -> None:
    """Change a contact's name and notes. Notes in issues that are copies of it stay as they are.

    ``revision`` is that of the contact as it was shown. Raises CardNotFound, CardOutdated, and UserError if it cannot
    be so.
    """
    with database.transaction() as session:
        languages = newsletters.lock(session, newsletter).languages
        row = _find(session, newsletter, card)
        read = _read_name(session, newsletter, name, card), _read_texts(row.texts, texts, languages)
        if read == (row.name, row.texts):
            return
        if row.revision != revision:
            raise CardOutdated(gettext("Somebody else has changed this contact while you had it open."))
        row.name, row.texts = read
        row.revision += 1
        _record(session, row, "changed", staff, now)


def remove_card(database: Database, newsletter: int, card: int, staff: ActingStaff, now: datetime) -> None:
    """Remove a contact; it can be put back for a while. Raises CardNotFound."""
    with database.transaction() as session:
        newsletters.lock(session, newsletter)
        row = _find(session, newsletter, card)
        row.removed_at = now
        _record(session, row, "removed", staff, now)


def restore_card(database: Database, newsletter: int, card: int, staff: ActingStaff, now: datetime) -> None:
    """Put a removed contact back. Raises CardNotFound, or UserError if another has its name by now."""
    with database.transaction() as session:
        newsletters.lock(session, newsletter)
        row = contact_cards.find(session, newsletter, card, removed=True)
        if row is None:
            raise CardNotFound(CardNotFound.__doc__)
        _read_name(session, newsletter, row.name, card)
        row.removed_at = None
        _record(session, row, "restored", staff, now)


def forget_removed(database: Database, now: datetime) -> None:
    """Delete the contacts and the contact notes in issues that were removed too long ago to be put back."""
    with database.transaction() as session:
        contact_cards.delete_removed(session, now - KEPT)


def _find(session: Session, newsletter: int, card: int) -> ContactCard:
    row = contact_cards.find(session, newsletter, card)
    if row is None:
        raise CardNotFound(CardNotFound.__doc__)
    return row


def _read_name(session: Session, newsletter: int, written: str, card: int | None) -> str:
    name = " ".join(written[: 2 * MAX_CARD_NAME_CHARS].split())
    if not name:
        raise ChangeRefused(gettext("Give the contact a name."))
    if len(name) > MAX_CARD_NAME_CHARS:
        raise ChangeRefused(gettext("A name has at most %(count)s characters.", count=MAX_CARD_NAME_CHARS))
    if contact_cards.has_name(session, newsletter, name, card):
        raise ChangeRefused(gettext("There is another contact with this name."))
    return name


def _read_texts(before: Mapping[str, str], written: Mapping[str, str], languages: Sequence[str]) -> dict[str, str]:
    """Return the notes by language. Those in languages that the newsletter no longer has stay."""
    read = {tag: normalize_contact_note(written.get(tag, "")) for tag in languages}
    return {tag: text for tag, text in ({**before} | read).items() if text}


def _record(session: Session, row: ContactCard, change: str, staff: ActingStaff, now: datetime) -> None:
    audit_log.record(
        session,
        now,
        staff,
        AuditAction.contact_card_changed,
        object_kind="newsletter",
        object_id=row.newsletter_id,
        detail={"change": change, "contact": row.name},
    )
