"""Stories: found, added, placed, copied, moved into another issue and deleted."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor
from mailer.domain.states import TextSubject, TranslationStatus
from mailer.domain.text_tree import plain_line
from mailer.models import ContactStory, Newsletter, Story, StoryTranslation, TextRequest, TextVersion
from mailer.store import contacts, issues

_TEXT_COLUMNS = tuple(
    column.name for column in StoryTranslation.__table__.columns if column.name not in ("story_id", "search_vector")
)


def text_columns(text: StoryTranslation) -> dict[str, Any]:
    """Return all columns of a text, its language and status too, but not which story it is of."""
    return {name: getattr(text, name) for name in _TEXT_COLUMNS}


def find(session: Session, issue: int, story: int) -> Story | None:
    """Return a story if it is in an issue."""
    found = session.get(Story, story)
    return found if found is not None and found.issue_id == issue else None


def issue_of(session: Session, story: int) -> int | None:
    """Return the issue that a story is in as currently committed, or None if it is gone."""
    found = session.get(Story, story, populate_existing=True)
    return found.issue_id if found else None


def existing(session: Session, story: int | None) -> int | None:
    """Return the id if there is such a story, else None."""
    return story if story is not None and session.get(Story, story) is not None else None


def ready_languages(session: Session, story: int) -> set[str]:
    """Return the languages in which a story is ready."""
    query = select(StoryTranslation.language).where(
        StoryTranslation.story_id == story, StoryTranslation.status == TranslationStatus.ready
    )
    return {*session.scalars(query)}


def headlines(session: Session, newsletter: Newsletter, ids: Collection[int]) -> dict[int, str]:
    """Return story → headline without formatting, in the newsletter's default language or the nearest one."""
    rank = func.array_position(newsletter.languages, StoryTranslation.language)
    query = select(StoryTranslation.story_id, StoryTranslation.language, StoryTranslation.headline)
    query = query.where(StoryTranslation.story_id.in_(ids), StoryTranslation.headline != "")
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for story, language, headline in session.execute(query.order_by(rank, StoryTranslation.language)):
        found[story][language] = headline
    return {story: plain_line(newsletter.localize(texts).text) for story, texts in found.items()}


def count(session: Session, issue: int) -> int:
    return session.scalar(select(func.count()).where(Story.issue_id == issue)) or 0


def add(session: Session, issue: int, section: int, **values: Any) -> Story:
    """Add a story at the end of a section."""
    story = Story(issue_id=issue, section_id=section, position=_next_position(session, issue, section), **values)
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


def place(session: Session, story: Story, section: int, index: int) -> None:
    """Put a story into a section, before the story that is at this index there, or at the end.

    A contact note that covers it and other stories of its old section is printed after the last of these.
    """
    left = story.section_id != section
    others = [other for other, _ in issues.stories(session, story.issue_id) if other != story]
    here = [other for other in others if other.section_id == section]
    here.insert(index, story)
    story.section_id = section
    for position, other in enumerate(here, start=1):
        other.position = position
    session.flush()
    contacts.place_all(session, story, {other.id for other in others} | (set() if left else {story.id}))


def delete_story(session: Session, story: Story) -> None:
    """Delete a story with its texts. A contact note after it that covers other stories moves to the last of these."""
    _place_contacts_without(session, story)
    session.execute(delete(Story).where(Story.id == story.id))


def move_to_issue(session: Session, story: Story, target: int, actor: Actor) -> list[int]:
    """Move a story with its texts, versions, requests and contact notes to the end of its section in another issue.

    A note that covers other stories too stays with them, and a copy goes along. Return the ids of the copies.
    """
    own, shared = [], []
    for contact, texts, covered in contacts.of_issue(session, story.issue_id):
        if story.id in (contact.story_id, *covered):
            if set(covered) <= {story.id}:
                own.append(contact)
            else:
                shared.append((contact, texts))
    _place_contacts_without(session, story)
    for contact, _ in shared:
        session.execute(
            delete(ContactStory).where(ContactStory.contact_id == contact.id, ContactStory.story_id == story.id)
        )
    source = story.issue_id
    for language in issues.story_texts(session, source).get(story.id, {}):
        issues.set_last_writer(session, target, language, actor)
    story.position, story.issue_id = _next_position(session, target, story.section_id), target
    _move_texts(session, source, TextSubject.story, story.id, target)
    for contact in own:
        contact.issue_id = target
        _move_texts(session, source, TextSubject.contact, contact.id, target)
        if contact.story_id != story.id:
            contact.story_id, contact.position = story.id, contacts.next_position(session, story.id)
        session.flush()
    return [contacts.add(session, story, texts, actor, card=note.card_id).id for note, texts in shared]


def _place_contacts_without(session: Session, story: Story) -> None:
    """Print each contact note for a story and others after the last of these others."""
    contacts.place_all(session, story, {other.id for other, _ in issues.stories(session, story.issue_id)} - {story.id})


def _next_position(session: Session, issue: int, section: int) -> int:
    last = select(func.max(Story.position)).where(Story.issue_id == issue, Story.section_id == section)
    return (session.scalar(last) or 0) + 1


def _move_texts(session: Session, source: int, subject: TextSubject, id: int, target: int) -> None:
    """Move the versions of a story or contact note, and the requests for its texts, into another issue."""
    for model in (TextVersion, TextRequest):
        query = update(model).where(model.issue_id == source, model.subject == subject, model.subject_id == id)
        session.execute(query.values(issue_id=target))
