"""Contact notes of a story: written or taken from the address book, put in order, removed and put back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor
from mailer.domain.contact_notes import MAX_CONTACT_NOTES_PER_STORY, normalize_contact_note
from mailer.domain.errors import ChangeRefused
from mailer.domain.staff_texts import gettext
from mailer.domain.states import (
    EDITABLE_STATES,
    IssueEventKind,
    TextSubject,
    VersionKind,
)
from mailer.domain.versions import TextKey
from mailer.models import Contact, ContactTranslation, Issue, TextVersion
from mailer.services.issues.write_text import SaveOutcome
from mailer.store import approvals, contact_cards, contacts, issues, newsletters, stories, text_versions
from mailer.store.database import Database, Session

_CLOSED = "its contact notes can no longer be changed"
_MAX_VERSIONS = 20
"""Of a note, among which those that were set aside are looked for."""


@dataclass(frozen=True, slots=True)
class StoryContact:
    """A contact note of a story, as it is seen in one language."""

    id: int
    text: str
    """In that language, as Markdown; empty if there is none."""
    texts: Mapping[str, str]
    """Language → Markdown."""
    base: str
    """What a writer of the text sends back: see ``text_versions.base_of``."""
    covered: frozenset[int]
    """The stories that it is for."""
    printed_after: int
    """The last of them."""
    set_aside: Sequence[tuple[str, str, datetime]]
    """Texts in that language that could not be saved, the latest first: the text, by whom and when."""


class ContactNotFound(LookupError):
    """There is no such contact note, or story."""


def list_contacts(database: Database, issue: int, story: int, language: str) -> list[StoryContact]:
    """Return the notes that are for a story, those printed after it in order first."""
    with database.transaction() as session:
        heads = text_versions.heads(session, issue)
        notes = [
            StoryContact(
                contact.id,
                texts.get(language, ""),
                texts,
                text_versions.base_of(heads.get(TextKey(issue, TextSubject.contact, contact.id, language))),
                frozenset(covered),
                contact.story_id,
                _set_aside(session, TextKey(issue, TextSubject.contact, contact.id, language)),
            )
            for contact, texts, covered in contacts.of_issue(session, issue)
            if story in (contact.story_id, *covered)
        ]
        return sorted(notes, key=lambda note: note.printed_after != story)


def list_removed(database: Database, issue: int, story: int) -> list[tuple[int, str]]:
    """Return the notes of a story whose removal can be undone, the latest removed first, each with one of its texts."""
    with database.transaction() as session:
        return [
            (contact.id, next(iter(contacts.texts_of(session, contact.id).values()), ""))
            for contact in contacts.removed(session, story)
            if contact.issue_id == issue
        ]


def may_be_covered(database: Database, issue: int, story: int) -> list[int]:
    """Return the stories that a note of a story can be for: those of its section. Raises ContactNotFound."""
    with database.transaction() as session:
        placed = {one.id: section.id for one, section in issues.stories(session, issue)}
        if story not in placed:
            raise ContactNotFound(ContactNotFound.__doc__)
        return [id for id, section in placed.items() if section == placed[story]]


def source_language(database: Database, issue: int) -> str:
    """Return the language that the notes of an issue are written in first."""
    with database.transaction() as session:
        newsletter = newsletters.by_id(session, issues.by_id(session, issue).newsletter_id)
        return issues.leading_language(session, newsletter, issue)


def add_contact(
    database: Database,
    issue: int,
    story: int,
    language: str,
    actor: Actor,
    *,
    text: str = "",
    card: int | None = None,
) -> int:
    """Add a note to a story, written in one language or copied from a card in all; return it.

    Raises IssueNotFound, InvalidIssueState, ContactNotFound for a story of another issue, and UserError for no note.
    """
    written = {language: normalize_contact_note(text)}
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, _CLOSED)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        found_story = stories.find(session, issue, story)
        if found_story is None:
            raise ContactNotFound(ContactNotFound.__doc__)
        if card is not None:
            found = contact_cards.find(session, newsletter.id, card)
            written = {tag: text for tag, text in found.texts.items() if tag in newsletter.languages} if found else {}
        if not any(written.values()):
            raise ChangeRefused(gettext("There is no text in this note."))
        if len(contacts.after(session, story)) >= MAX_CONTACT_NOTES_PER_STORY:
            raise ChangeRefused(
                gettext("A story has at most %(count)s contact notes.", count=MAX_CONTACT_NOTES_PER_STORY)
            )
        contact = contacts.add(session, found_story, written, actor, card=card)
        _changed(session, row, contact, "added", written, actor)
        return contact.id


def save_contact(
    database: Database, issue: int, contact: int, language: str, base: str, text: str, actor: Actor
) -> SaveOutcome:
    """Save the text of a note in one language; an empty one takes the note out of that language.

    ``base`` is of the text as it was shown. Raises IssueNotFound, ContactNotFound, and UserError if it is no note.
    """
    note = normalize_contact_note(text)
    key = TextKey(issue, TextSubject.contact, contact, language)
    with database.transaction() as session:
        row = issues.lock(session, issue)
        head = text_versions.head(session, key)
        found = session.get(Contact, contact)
        if found is not None and found.issue_id != issue:
            found = None
        if found is None and head is None:
            raise ContactNotFound(ContactNotFound.__doc__)
        stored = session.get(ContactTranslation, (contact, language))
        if note == (stored.text if stored else ""):
            return SaveOutcome.saved
        outcome = _outcome(row, found, head, base)
        if outcome is not SaveOutcome.saved or found is None:
            if note:
                text_versions.record(session, key, {"text": note}, actor, VersionKind.set_aside)
            return outcome
        if not note:
            if set(contacts.texts_of(session, contact)) <= {language}:
                raise ChangeRefused(gettext("This is the only text of the note. Remove the note instead."))
            contacts.remove_text(session, contact, language)
            text_versions.record(session, key, {}, actor, VersionKind.removed)
        else:
            session.merge(ContactTranslation(contact_id=contact, language=language, text=note))
            session.flush()
            text_versions.record(session, key, {"text": note}, actor, VersionKind.saved)
        _changed(session, row, found, "written", {language: note}, actor)
        return SaveOutcome.saved


def set_covered(database: Database, issue: int, contact: int, chosen: Collection[int], actor: Actor) -> None:
    """Say which stories a note is for; it is printed after the last of them.

    Raises IssueNotFound, InvalidIssueState, ContactNotFound, and UserError if there is no such story.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, _CLOSED)
        found = _find(session, issue, contact)
        there = {story.id for story, _ in issues.stories(session, issue)}
        wanted = there & set(chosen)
        if not wanted:
            raise ChangeRefused(gettext("Choose at least one story."))
        if wanted == contacts.stories_of(session, contact):
            return
        contacts.set_stories(session, contact, sorted(wanted))
        contacts.place(session, found, wanted)
        _changed(session, row, found, "covers", contacts.texts_of(session, contact), actor)


def move_contact(database: Database, issue: int, contact: int, step: int, actor: Actor) -> None:
    """Move a note by ``step`` places among those after the same story; at either end nothing changes.

    Raises IssueNotFound, InvalidIssueState and ContactNotFound.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, _CLOSED)
        found = _find(session, issue, contact)
        there = contacts.after(session, found.story_id)
        index = there.index(found) + step
        if not 0 <= index < len(there):
            return
        there.remove(found)
        there.insert(index, found)
        contacts.put_in_order(session, there)
        _changed(session, row, found, "moved", contacts.texts_of(session, contact), actor)


def remove_contact(database: Database, issue: int, contact: int, actor: Actor, now: datetime) -> None:
    """Remove a note in all languages; it can be put back for a while.

    Raises IssueNotFound, InvalidIssueState and ContactNotFound.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, _CLOSED)
        found = _find(session, issue, contact)
        there = contacts.after(session, found.story_id)
        found.removed_at = now
        contacts.put_in_order(session, there)
        texts = contacts.texts_of(session, contact)
        for language in texts:
            key = TextKey(issue, TextSubject.contact, contact, language)
            text_versions.record(session, key, {}, actor, VersionKind.removed)
        _changed(session, row, found, "removed", texts, actor)


def restore_contact(database: Database, issue: int, contact: int, actor: Actor) -> None:
    """Put a removed note back, after the last story that it is for.

    Raises IssueNotFound, InvalidIssueState and ContactNotFound.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, _CLOSED)
        found = _find(session, issue, contact, removed=True)
        found.removed_at, found.position = None, contacts.next_position(session, found.story_id)
        session.flush()
        there = {story.id for story, _ in issues.stories(session, issue)}
        targets = there & (contacts.stories_of(session, contact) or {found.story_id})
        if not targets:
            raise ContactNotFound(ContactNotFound.__doc__)
        contacts.set_stories(session, contact, sorted(targets))
        contacts.place(session, found, targets)
        texts = contacts.texts_of(session, contact)
        contacts.record(session, found, texts, actor, VersionKind.restored)
        _changed(session, row, found, "restored", texts, actor)


def _find(session: Session, issue: int, contact: int, *, removed: bool = False) -> Contact:
    found = session.get(Contact, contact)
    if found is None or found.issue_id != issue or (found.removed_at is not None) != removed:
        raise ContactNotFound(ContactNotFound.__doc__)
    return found


def _set_aside(session: Session, key: TextKey) -> list[tuple[str, str, datetime]]:
    versions = text_versions.of_text(session, key, _MAX_VERSIONS)
    kept = [version for version in versions if version.kind is VersionKind.set_aside]
    return [(version.content["text"], version.actor, version.at) for version in kept]


def _outcome(issue: Issue, contact: Contact | None, head: TextVersion | None, base: str) -> SaveOutcome:
    if issue.state not in EDITABLE_STATES:
        return SaveOutcome.closed
    if contact is None or contact.removed_at is not None:
        return SaveOutcome.removed
    return SaveOutcome.saved if text_versions.base_of(head) == base else SaveOutcome.changed


def _changed(
    session: Session, issue: Issue, contact: Contact, change: str, texts: Mapping[str, str], actor: Actor
) -> None:
    """Record a change of a note: in the logs, and for approvals."""
    session.flush()
    approvals.content_changed(session, issue.id, actor)
    languages = ", ".join(texts)
    detail = f"{languages}: {next(iter(texts.values()), '')}"
    issues.log(session, issue.id, actor, IssueEventKind.contact_changed, detail, change=change, languages=languages)
