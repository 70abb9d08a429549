"""The plan of an issue as it was before a change, kept for a while so that the change can be undone."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor, account_of, name_of
from mailer.domain.states import StoryChangeKind, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Contact, ContactTranslation, Issue, Story, StoryChange, StoryTranslation
from mailer.store import contacts, issues, open_texts, stories, text_versions

KEPT = timedelta(days=30)
MAX_LISTED = 200


def remember(session: Session, story: Story, headline: str, kind: StoryChangeKind, actor: Actor) -> StoryChange:
    """Keep a story, its texts and its contact notes as they are now."""
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
        "copied_from": story.copied_from_id,
        "texts": [stories.text_columns(text) for text in texts.values()],
        "contacts": [
            {
                "id": contact.id,
                "story": contact.story_id,
                "position": contact.position,
                "stories": covered,
                "texts": texts_of_contact,
            }
            for contact, texts_of_contact, covered in contacts.of_issue(session, story.issue_id)
            if story.id in (contact.story_id, *covered)
        ],
    }
    return _add(session, story.issue_id, story.id, headline, kind, actor, before)


def remember_section_order(session: Session, issue: Issue, title: str, actor: Actor) -> StoryChange:
    """Keep the order of an issue's sections as it is now. ``title``: of the section that moves."""
    before = {"section_order": issue.section_order}
    return _add(session, issue.id, None, title, StoryChangeKind.section_order, actor, before)


def _add(
    session: Session,
    issue: int,
    story: int | None,
    headline: str,
    kind: StoryChangeKind,
    actor: Actor,
    before: Mapping[str, Any],
) -> StoryChange:
    """Add a change, and forget what is older than KEPT."""
    delete_old(session)
    change = StoryChange(
        issue_id=issue,
        story_id=story,
        account_id=account_of(actor),
        actor=name_of(actor),
        kind=kind,
        headline=headline,
        before=dict(before),
    )
    session.add(change)
    session.flush()
    return change


def delete_old(session: Session) -> None:
    """Forget what is older than KEPT."""
    session.execute(delete(StoryChange).where(StoryChange.at < func.now() - KEPT))


def of_issue(session: Session, issue: int) -> list[StoryChange]:
    """Return the latest changes of an issue that can be undone, the latest first."""
    query = select(StoryChange).where(StoryChange.issue_id == issue, StoryChange.at >= func.now() - KEPT)
    return list(session.scalars(query.order_by(StoryChange.id.desc()).limit(MAX_LISTED)))


def undo(session: Session, change: StoryChange, actor: Actor) -> bool:
    """Put a story back to where it was, with all that went with it, or the sections into their order.

    The issue is locked, and the one that a story is in now. Return False if the story cannot be put back: a moved one
    is gone or in another issue, one held over is back already or was removed there, a removed one is there already.
    """
    before = change.before
    if change.story_id is None:
        session.get_one(Issue, change.issue_id).section_order = before["section_order"]
        session.delete(change)
        return True
    story = session.get(Story, change.story_id)
    if change.kind is StoryChangeKind.picture:
        return _restore_picture(session, change, story, actor)
    is_gone = story is None
    if story is None:
        lost_with_draft = change.kind is StoryChangeKind.held_over and not issues.find(session, before["target"])
        if change.kind is not StoryChangeKind.removed and not lost_with_draft:
            return False
        story = _recreate(session, change, actor)
    elif change.kind is StoryChangeKind.held_over:
        if story.issue_id == change.issue_id:
            return False
        stories.move_to_issue(session, story, change.issue_id, actor)
        for copy in before["copied_contacts"]:
            if (contact := session.get(Contact, copy)) and contact.story_id == story.id:
                _delete_copy(session, contact, actor)
    elif change.kind is StoryChangeKind.removed or story.issue_id != change.issue_id:
        return False
    stories.place(session, story, before["section"], before["index"])
    for contact in before["contacts"]:
        _put_contact_back(session, change, contact, actor, missing_too=is_gone)
    session.delete(change)
    return True


def _restore_picture(session: Session, change: StoryChange, story: Story | None, actor: Actor) -> bool:
    """Give a story the picture that it had, with what was said of it. Return False if the story is not there."""
    if story is None or story.issue_id != change.issue_id:
        return False
    story.picture_id = change.before["picture"]
    texts = issues.story_texts(session, change.issue_id).get(story.id, {})
    for before in change.before["texts"]:
        if row := texts.get(before["language"]):
            row.alt, row.picture_credit = before["alt"], before["picture_credit"]
            key = TextKey(change.issue_id, TextSubject.story, story.id, row.language)
            open_texts.record_elsewhere(session, key, text_versions.content_of(row), actor, VersionKind.restored)
    session.delete(change)
    return True


def last_picture(session: Session, story: int) -> int | None:
    """Return the latest change of a story's picture that can be undone."""
    query = select(StoryChange.id).where(
        StoryChange.story_id == story,
        StoryChange.kind == StoryChangeKind.picture,
        StoryChange.at >= func.now() - KEPT,
    )
    return session.scalar(query.order_by(StoryChange.id.desc()).limit(1))


def _delete_copy(session: Session, contact: Contact, actor: Actor) -> None:
    for language in contacts.texts_of(session, contact.id):
        key = TextKey(contact.issue_id, TextSubject.contact, contact.id, language)
        text_versions.record(session, key, {}, actor, VersionKind.removed)
    contacts.delete_contact(session, contact.id)


def _record(session: Session, key: TextKey, row: StoryTranslation | ContactTranslation, actor: Actor) -> None:
    text_versions.record(session, key, text_versions.content_of(row), actor, VersionKind.restored)


def _recreate(session: Session, change: StoryChange, actor: Actor) -> Story:
    before = change.before
    story = Story(
        id=change.story_id,
        issue_id=change.issue_id,
        section_id=before["section"],
        position=0,
        picture_id=before["picture"],
        source_issue_id=before["source"],
        source_language=before.get("source_language"),
        copied_from_id=stories.existing(session, before.get("copied_from")),
    )
    session.add(story)
    session.flush()
    for text in before["texts"]:
        row = StoryTranslation(story_id=story.id, **text)
        session.add(row)
        session.flush()
        _record(session, TextKey(change.issue_id, TextSubject.story, story.id, row.language), row, actor)
    return story


def _put_contact_back(
    session: Session, change: StoryChange, before: Mapping[str, Any], actor: Actor, *, missing_too: bool
) -> None:
    """Print a contact note after the story where it was. One that went with a removed story comes back with it."""
    there = {story.id for story, _ in issues.stories(session, change.issue_id)}
    covered = [story for story in before["stories"] if story in there]
    contact = session.get(Contact, before["id"])
    if contact is None:
        if not missing_too:
            return
        assert change.story_id is not None
        contact = Contact(id=before["id"], issue_id=change.issue_id, story_id=change.story_id)
        contact.position = _contact_position(session, change.story_id, before["position"])
        session.add(contact)
        session.flush()
        for language, text in before["texts"].items():
            row = ContactTranslation(contact_id=contact.id, language=language, text=text)
            session.add(row)
            session.flush()
            _record(session, TextKey(change.issue_id, TextSubject.contact, contact.id, language), row, actor)
    elif contact.issue_id != change.issue_id:
        return
    elif contact.story_id != before["story"] and before["story"] in there:
        contact.story_id, contact.position = (
            before["story"],
            _contact_position(session, before["story"], before["position"]),
        )
    session.flush()
    contacts.set_stories(session, contact.id, covered)


def _contact_position(session: Session, story: int, wanted: int) -> int:
    """Return a free position among the contact notes after a story, the wanted one if it is free."""
    taken = select(Contact.id).where(Contact.story_id == story, Contact.position == wanted)
    return wanted if session.scalar(taken) is None else contacts.next_position(session, story)
