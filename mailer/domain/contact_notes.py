"""Contact notes as staff write them."""

from collections.abc import Iterator

from mailer.domain.document.contacts import MAX_CONTACT_NOTE_CHARS
from mailer.domain.document.source import without_control_characters
from mailer.domain.errors import UserError
from mailer.domain.markdown import complete_link, find_bare_links, find_problems, is_allowed_link
from mailer.domain.staff_texts import gettext
from mailer.domain.text_tree import Tree, contact_note_to_markdown, contact_note_to_tree

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


def read_contact_note_tree(tree: object) -> str:
    """Return the contact note that an editor holds as Markdown. Addresses in it are links, even if nobody made them so.

    Raises InvalidTree, TooLong and TooDeep.
    """
    line = contact_note_to_tree(contact_note_to_markdown(tree))
    for paragraph in line["content"]:
        paragraph["content"] = [part for node in paragraph.get("content", ()) for part in _with_links(node)]
    return contact_note_to_markdown(line)


def _with_links(node: Tree) -> Iterator[Tree]:
    """Yield the parts of a node of a line, those that are addresses with a link."""
    marks = node.get("marks", [])
    if node["type"] != "text" or any(mark["type"] == "link" for mark in marks):
        yield node
        return
    text, done = node["text"], 0
    for start, end in find_bare_links(text):
        href = complete_link(text[start:end])
        if is_allowed_link(href):
            if start > done:
                yield node | {"text": text[done:start]}
            yield node | {"text": text[start:end], "marks": [*marks, {"type": "link", "attrs": {"href": href}}]}
            done = end
    if done < len(text):
        yield node | {"text": text[done:]}
