"""Changes a draft without a document: lists, moves and removes its stories, or deletes it."""

from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.states import IssueEventKind, TextSubject, VersionKind, check_editable
from mailer.domain.versions import TextKey
from mailer.models import Issue, Newsletter, Story, StoryChange, StoryTranslation
from mailer.store import approvals, audit_log, issues, newsletters, story_changes, text_versions
from mailer.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class StoryItem:
    """A story as it is listed. ``headline`` is in the newsletter's default language or the nearest one."""

    story: int
    section: str
    """The section's key."""
    headline: LocalizedText
    languages: tuple[str, ...]


class IssueOutdated(ChangeRefused):
    """The issue was changed while you looked at it. This page shows it as it is now."""


@dataclass(frozen=True, slots=True)
class UndoableChange:
    """The removal or move of a story, which can be undone."""

    id: int
    removed: bool
    headline: str
    at: datetime


def list_stories(database: Database, issue: int) -> list[StoryItem]:
    """Return the stories of an issue in print order. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        texts = issues.story_texts(session, issue)
        return [
            _story_item(newsletter, story, section.key, texts.get(story.id, {}))
            for story, section in issues.stories(session, issue)
        ]


def remove_story(database: Database, issue: int, story: int, language: str, actor: Actor) -> str:
    """Remove a story from a draft, or only its text in ``language`` if that is not empty. Return its headline.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if the issue has no such story or text.
    """
    with database.transaction() as session:
        row = _lock_draft(session, issue, "its stories can no longer be removed")
        found = _find_story(session, issue, story)
        texts = issues.story_texts(session, issue).get(story, {})
        headline = _headline(session, row, found)
        if language and language not in texts:
            raise ChangeRefused(f"“{headline}” has no text in {language}. Its languages: {', '.join(texts)}.")
        if language and len(texts) > 1:
            session.delete(texts[language])
            _record_removal(session, TextKey(issue, TextSubject.story, story, language), actor)
            for contact, contact_texts, _ in issues.contacts(session, issue):
                if contact.story_id == story and language in contact_texts:
                    issues.remove_contact_text(session, contact.id, language)
                    _record_removal(session, TextKey(issue, TextSubject.contact, contact.id, language), actor)
        else:
            story_changes.remember(session, found, headline, removed=True)
            issues.delete_story(session, found)
        approvals.content_changed(session, issue, actor)
        detail = f"{language}: {headline}".removeprefix(": ")
        issues.log(session, issue, actor, IssueEventKind.story_removed, detail, headline=headline)
        return headline


def move_story(
    database: Database, issue: int, story: int, revision: int, actor: Actor, *, section: str = "", step: int = 0
) -> str:
    """Move a story to the end of another section, or by ``step`` places within its own. Return its headline.

    ``section`` is a key. ``revision`` is that of the issue as it was shown. Raises IssueNotFound, InvalidIssueState,
    IssueOutdated, or ChangeRefused if there is no such story or section, or no place to move it to.
    """
    with database.transaction() as session:
        row = _lock_draft(session, issue, "its stories can no longer be moved")
        if row.revision != revision:
            raise IssueOutdated(IssueOutdated.__doc__)
        found = _find_story(session, issue, story)
        headline = _headline(session, row, found)
        sections = {one.key: one.id for one in newsletters.sections(session, row.newsletter_id)}
        if section and section not in sections:
            raise ChangeRefused(f"There is no section {section}.")
        target = sections.get(section, found.section_id)
        there = [one.id for one, _ in issues.stories(session, issue) if one.section_id == target]
        index = there.index(story) + step if story in there else len(there)
        if story in there and (not step or not 0 <= index < len(there)):
            raise ChangeRefused(f"“{headline}” is there already.")
        story_changes.remember(session, found, headline, removed=False)
        issues.place_story(session, found, target, index)
        approvals.content_changed(session, issue, actor)
        place = {"section": section} if section else {}
        issues.log(session, issue, actor, IssueEventKind.story_moved, headline, headline=headline, **place)
        return headline


def list_changes(database: Database, issue: int) -> list[UndoableChange]:
    """Return the removals and moves of stories that can be undone, the latest first."""
    with database.transaction() as session:
        return [
            UndoableChange(row.id, row.removed, row.headline, row.at) for row in story_changes.of_issue(session, issue)
        ]


def undo(database: Database, issue: int, change: int, actor: Actor) -> str:
    """Put a removed or moved story back to where it was, with all its texts. Return its headline.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if that is not possible any more.
    """
    with database.transaction() as session:
        _lock_draft(session, issue, "its stories can no longer be put back")
        found = session.get(StoryChange, change)
        if found is None or found.issue_id != issue or not story_changes.undo(session, found, actor):
            raise ChangeRefused("This cannot be undone any more.")
        approvals.content_changed(session, issue, actor)
        issues.log(session, issue, actor, IssueEventKind.story_restored, found.headline, headline=found.headline)
        return found.headline


def forget_old_changes(database: Database) -> None:
    """Delete what was kept of removed and moved stories for too long to be undone."""
    with database.transaction() as session:
        story_changes.delete_old(session)


def delete_draft(database: Database, issue: int, actor: Actor) -> None:
    """Delete a draft with its texts and its log. Raises IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = _lock_draft(session, issue, "only a draft can be deleted")
        detail = {"number": row.number}
        action = AuditAction.issue_deleted
        audit_log.record(session, None, actor, action, object_kind="issue", object_id=issue, detail=detail)
        issues.delete_draft(session, row.id)


def _record_removal(session: Session, key: TextKey, actor: Actor) -> None:
    text_versions.record(session, key, {}, actor, VersionKind.removed)


def _find_story(session: Session, issue: int, story: int) -> Story:
    found = session.get(Story, story)
    if found is None or found.issue_id != issue:
        raise ChangeRefused(f"Issue {issue} has no story {story}.")
    return found


def _headline(session: Session, issue: Issue, story: Story) -> str:
    texts = issues.story_texts(session, issue.id).get(story.id, {})
    return _story_item(newsletters.by_id(session, issue.newsletter_id), story, "", texts).headline.text


def _lock_draft(session: Session, issue: int, consequence: str) -> Issue:
    row = issues.lock(session, issue)
    check_editable(issue, row.state, consequence)
    return row


def _story_item(newsletter: Newsletter, story: Story, section: str, texts: dict[str, StoryTranslation]) -> StoryItem:
    languages = tuple(tag for tag in dict.fromkeys((*newsletter.languages, *sorted(texts))) if tag in texts)
    headlines = {tag: texts[tag].headline for tag in languages}
    default = newsletter.default_language
    return StoryItem(story.id, section, localize(headlines, default, newsletter.fallbacks, default), languages)
