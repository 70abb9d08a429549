"""Stories that are added, copied, or moved into another issue."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor
from mailer.domain.states import TextSubject, TranslationStatus, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Contact, ContactStory, ContactTranslation, Story, StoryTranslation, TextRequest, TextVersion
from mailer.store import issues, text_versions

_TEXT_COLUMNS = tuple(
    column.name for column in StoryTranslation.__table__.columns if column.name not in ("story_id", "search_vector")
)


def text_columns(text: StoryTranslation) -> dict[str, Any]:
    """Return all columns of a text, its language and status too, but not which story it is of."""
    return {name: getattr(text, name) for name in _TEXT_COLUMNS}


def existing(session: Session, story: int | None) -> int | None:
    """Return the id if there is such a story, else None."""
    return story if story is not None and session.get(Story, story) is not None else None


def count(session: Session, issue: int) -> int:
    return session.scalar(select(func.count()).where(Story.issue_id == issue)) or 0


def add(session: Session, issue: int, section: int, **values: Any) -> Story:
    """Add a story at the end of a section."""
    last = select(func.max(Story.position)).where(Story.issue_id == issue, Story.section_id == section)
    story = Story(issue_id=issue, section_id=section, position=(session.scalar(last) or 0) + 1, **values)
    session.add(story)
    session.flush()
    return story


def add_text(session: Session, story: int, language: str, **values: Any) -> StoryTranslation:
    """Begin a story's text in a language as a draft."""
    empty = {"headline": "", "datelines": [], "body": "", "status": TranslationStatus.draft}
    text = StoryTranslation(story_id=story, language=language, **(empty | values))
    session.add(text)
    session.flush()
    return text


def copy_texts(
    session: Session, texts: Mapping[str, StoryTranslation], target: int, status: TranslationStatus | None = None
) -> list[StoryTranslation]:
    """Copy texts into another story, with a status or as they are. Return the copies."""
    copies = []
    for text in texts.values():
        values = text_columns(text)
        copies.append(StoryTranslation(story_id=target, **(values | {"status": status or text.status})))
    session.add_all(copies)
    session.flush()
    return copies


def add_contact(session: Session, story: Story, texts: Mapping[str, str], actor: Actor) -> int:
    """Print a copy of a contact note after a story, for it alone. Return its id."""
    contact = Contact(
        issue_id=story.issue_id, story_id=story.id, position=issues.next_contact_position(session, story.id)
    )
    session.add(contact)
    session.flush()
    session.add_all(ContactTranslation(contact_id=contact.id, language=tag, text=text) for tag, text in texts.items())
    issues.set_contact_stories(session, contact.id, [story.id])
    session.flush()
    for tag, text in texts.items():
        key = TextKey(story.issue_id, TextSubject.contact, contact.id, tag)
        text_versions.record(session, key, {"text": text}, actor, VersionKind.saved)
    return contact.id


def move_to_issue(session: Session, story: Story, target: int, actor: Actor) -> list[int]:
    """Move a story with its texts, versions, requests and contact notes to the end of its section in another issue.

    A note that covers other stories too stays with them, and a copy goes along. Return the ids of the copies.
    """
    own, shared = [], []
    for contact, texts, covered in issues.contacts(session, story.issue_id):
        if story.id in (contact.story_id, *covered):
            if set(covered) <= {story.id}:
                own.append(contact)
            else:
                shared.append((contact, texts))
    issues.place_contacts(
        session, story, {other.id for other, _ in issues.stories(session, story.issue_id)} - {story.id}
    )
    for contact, _ in shared:
        session.execute(
            delete(ContactStory).where(ContactStory.contact_id == contact.id, ContactStory.story_id == story.id)
        )
    source = story.issue_id
    for language in issues.story_texts(session, source).get(story.id, {}):
        issues.set_last_writer(session, target, language, actor)
    last = select(func.max(Story.position)).where(Story.issue_id == target, Story.section_id == story.section_id)
    story.position, story.issue_id = (session.scalar(last) or 0) + 1, target
    _move_texts(session, source, TextSubject.story, story.id, target)
    for contact in own:
        contact.issue_id = target
        _move_texts(session, source, TextSubject.contact, contact.id, target)
        if contact.story_id != story.id:
            contact.story_id, contact.position = story.id, issues.next_contact_position(session, story.id)
        session.flush()
    return [add_contact(session, story, texts, actor) for _, texts in shared]


def _move_texts(session: Session, source: int, subject: TextSubject, id: int, target: int) -> None:
    """Move the versions of a story or contact note, and the requests for its texts, into another issue."""
    for model in (TextVersion, TextRequest):
        query = update(model).where(model.issue_id == source, model.subject == subject, model.subject_id == id)
        session.execute(query.values(issue_id=target))
