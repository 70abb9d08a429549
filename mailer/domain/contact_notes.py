"""Contact notes as staff write them."""

from mailer.domain.document.contacts import MAX_CONTACT_NOTE_CHARS
from mailer.domain.document.source import without_control_characters
from mailer.domain.errors import UserError
from mailer.domain.markdown import find_problems
from mailer.domain.staff_texts import gettext
from mailer.domain.text_tree import contact_note_to_markdown, contact_note_to_tree

MAX_CARDS = 500
"""In the address book of a newsletter."""
MAX_CARD_NAME_CHARS = 100
MAX_CONTACT_NOTES_PER_STORY = 20


class InvalidContactNote(UserError, ValueError):
    """What was written is no contact note. The message says why."""


def normalize_contact_note(written: str) -> str:
    """Return a contact note, written as Markdown, as it is stored: in one line; empty if there is none.

    One with something that cannot be shown stays as it is, so that a check names it. Raises InvalidContactNote, and
    what the modules that read Markdown raise.
    """
    note = " ".join(without_control_characters(written)[0].split())
    if len(note) > MAX_CONTACT_NOTE_CHARS:
        raise InvalidContactNote(
            gettext("A contact note has at most %(count)s characters.", count=MAX_CONTACT_NOTE_CHARS)
        )
    return note if find_problems(note) else contact_note_to_markdown(contact_note_to_tree(note))
