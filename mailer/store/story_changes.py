"""Removed and moved stories as they were before, kept for a while so that this can be undone."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor
from mailer.domain.states import TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Contact, ContactTranslation, Story, StoryChange, StoryTranslation
from mailer.store import issues, text_versions

KEPT = timedelta(days=30)
_TEXT_COLUMNS = ("language", "status", "headline", "datelines", "body", "alt", "picture_credit", "link", "link_label")


def remember(session: Session, story: Story, headline: str, *, removed: bool) -> None:
    """Keep a story, its texts and its contact notes as they are now. Forget what is older than KEPT."""
    delete_old(session)
    in_section = [
        other.id for other, _ in issues.stories(session, story.issue_id) if other.section_id == story.section_id
    ]
    texts = issues.story_texts(session, story.issue_id).get(story.id, {})
    before: dict[str, Any] = {
        "section": story.section_id,
        "index": in_section.index(story.id),
        "picture": story.picture_id,
        "source": story.source_issue_id,
        "source_language": story.source_language,
        "texts": [{name: getattr(text, name) for name in _TEXT_COLUMNS} for text in texts.values()],
        "contacts": [
            {
                "id": contact.id,
                "story": contact.story_id,
                "position": contact.position,
                "stories": covered,
                "texts": texts_of_contact,
            }
            for contact, texts_of_contact, covered in issues.contacts(session, story.issue_id)
            if story.id in (contact.story_id, *covered)
        ],
    }
    session.add(
        StoryChange(issue_id=story.issue_id, story_id=story.id, removed=removed, headline=headline, before=before)
    )


def delete_old(session: Session) -> None:
    """Forget what is older than KEPT."""
    session.execute(delete(StoryChange).where(StoryChange.at < func.now() - KEPT))


def of_issue(session: Session, issue: int) -> list[StoryChange]:
    """Return the changes of an issue's stories that can be undone, the latest first."""
    query = select(StoryChange).where(StoryChange.issue_id == issue, StoryChange.at >= func.now() - KEPT)
    return list(session.scalars(query.order_by(StoryChange.id.desc())))


def undo(session: Session, change: StoryChange, actor: Actor) -> bool:
    """Put a story back to where it was, with all that went with it. Return False if a moved story is gone."""
    before, story = change.before, session.get(Story, change.story_id)
    if story is None and not change.removed:
        return False
    if story is None:
        story = Story(
            id=change.story_id,
            issue_id=change.issue_id,
            section_id=before["section"],
            position=0,
            picture_id=before["picture"],
            source_issue_id=before["source"],
            source_language=before.get("source_language"),
        )
        session.add(story)
        session.flush()
        for text in before["texts"]:
            row = StoryTranslation(story_id=story.id, **text)
            session.add(row)
            session.flush()
            _record(session, TextKey(change.issue_id, TextSubject.story, story.id, row.language), row, actor)
    issues.place_story(session, story, before["section"], before["index"])
    for contact in before["contacts"]:
        _put_contact_back(session, change, contact, actor)
    session.delete(change)
    return True


def _record(session: Session, key: TextKey, row: StoryTranslation | ContactTranslation, actor: Actor) -> None:
    text_versions.record(session, key, text_versions.content_of(row), actor, VersionKind.restored)


def _put_contact_back(session: Session, change: StoryChange, before: Mapping[str, Any], actor: Actor) -> None:
    """Print a contact note after the story where it was. One that went with a removed story comes back with it."""
    there = {story.id for story, _ in issues.stories(session, change.issue_id)}
    covered = [story for story in before["stories"] if story in there]
    contact = session.get(Contact, before["id"])
    if contact is None:
        if not change.removed:
            return
        contact = Contact(id=before["id"], issue_id=change.issue_id, story_id=change.story_id)
        contact.position = _contact_position(session, change.story_id, before["position"])
        session.add(contact)
        session.flush()
        for language, text in before["texts"].items():
            row = ContactTranslation(contact_id=contact.id, language=language, text=text)
            session.add(row)
            session.flush()
            _record(session, TextKey(change.issue_id, TextSubject.contact, contact.id, language), row, actor)
    elif contact.story_id != before["story"] and before["story"] in there:
        contact.story_id, contact.position = (
            before["story"],
            _contact_position(session, before["story"], before["position"]),
        )
    session.flush()
    issues.set_contact_stories(session, contact.id, covered)


def _contact_position(session: Session, story: int, wanted: int) -> int:
    """Return a free position among the contact notes after a story, the wanted one if it is free."""
    taken = select(Contact.id).where(Contact.story_id == story, Contact.position == wanted)
    return wanted if session.scalar(taken) is None else issues.next_contact_position(session, story)
