"""Changes the plan of a draft: its stories and the order of its sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.localized import LocalizedText
from mailer.domain.states import (
    EDITABLE_STATES,
    IssueEventKind,
    StoryChangeKind,
    TextSubject,
    VersionKind,
    check_editable,
)
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import Issue, Newsletter, Story, StoryChange, StoryTranslation
from mailer.store import approvals, audit_log, contacts, issues, newsletters, stories, story_changes, text_versions
from mailer.store.database import Database, Session

KEPT = story_changes.KEPT
"""For how long a change can be undone."""
MAX_STORIES = 300
"""In one issue, beyond which none is added."""


@dataclass(frozen=True, slots=True)
class StoryItem:
    """A story as it is listed. ``headline`` has no formatting, in the newsletter's default language or the nearest."""

    story: int
    section: str
    """The section's key."""
    headline: LocalizedText
    languages: tuple[str, ...]


class IssueOutdated(ChangeRefused):
    """The issue was changed while you looked at it. This page shows it as it is now."""


@dataclass(frozen=True, slots=True)
class UndoableChange:
    """A change of the plan that can be undone."""

    id: int
    kind: StoryChangeKind
    headline: str
    """For the order of sections, the title of the one that was moved."""
    at: datetime
    actor: str
    """The present name of who made it."""
    texts: Mapping[str, tuple[str, str]]
    """Language → (headline, body in Markdown) of a story at that time, in the newsletter's order of languages."""
    target: int | None
    """The issue into which a story was held over."""


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


def add_story(database: Database, issue: int, section: str, actor: Actor) -> tuple[int, str]:
    """Begin a story at the end of a section, with an empty draft in the issue's leading language.

    Return its id and that language. ``section`` is a key. Raises IssueNotFound, InvalidIssueState or ChangeRefused.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "no story can be added to it")
        check_room(session, row)
        target = next((one for one in issues.sections(session, row) if one.key == section), None)
        if target is None:
            raise ChangeRefused(f"There is no section {section}.")
        story, language = begin_story(session, row, target.id)
        approvals.content_changed(session, issue, actor)
        issues.log(session, issue, actor, IssueEventKind.story_added, section, section=section)
        return story.id, language


def begin_story(session: Session, issue: Issue, section: int) -> tuple[Story, str]:
    """Add a story with an empty draft in the issue's leading language to a locked draft. Return it and the language."""
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    language = issues.leading_language(session, newsletter, issue.id)
    # Another language can become the leading one later.
    source = None if language == newsletter.default_language else language
    story = stories.add(session, issue.id, section, source_language=source)
    stories.add_text(session, story.id, language)
    return story, language


def check_room(session: Session, issue: Issue) -> None:
    """Raise ChangeRefused if an issue has as many stories as it may have."""
    if stories.count(session, issue.id) >= MAX_STORIES:
        raise ChangeRefused(f"Issue {issue.number} has {MAX_STORIES} stories; more are not possible.")


def remove_story(database: Database, issue: int, story: int, language: str, actor: Actor) -> str:
    """Remove a story from a draft, or only its text in ``language`` if that is not empty. Return its headline.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if the issue has no such story or text.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "its stories can no longer be removed")
        found = find_story(session, issue, story)
        texts = issues.story_texts(session, issue).get(story, {})
        headline = headline_of(session, row, found)
        if language and language not in texts:
            raise ChangeRefused(f"“{headline}” has no text in {language}. Its languages: {', '.join(texts)}.")
        if language and len(texts) > 1:
            session.delete(texts[language])
            _record_removal(session, TextKey(issue, TextSubject.story, story, language), actor)
            for contact, contact_texts, _ in contacts.of_issue(session, issue):
                if contact.story_id == story and language in contact_texts:
                    contacts.remove_text(session, contact.id, language)
                    _record_removal(session, TextKey(issue, TextSubject.contact, contact.id, language), actor)
        else:
            story_changes.remember(session, found, headline, StoryChangeKind.removed, actor)
            stories.delete_story(session, found)
        approvals.content_changed(session, issue, actor)
        detail = f"{language}: {headline}".removeprefix(": ")
        issues.log(session, issue, actor, IssueEventKind.story_removed, detail, headline=headline)
        return headline


def move_story(
    database: Database,
    issue: int,
    story: int,
    revision: int,
    actor: Actor,
    *,
    section: str = "",
    place: int | None = None,
    step: int = 0,
) -> str:
    """Move a story to a place in a section, or by ``step`` places. Return its headline.

    ``section`` is a key, empty for its own section. ``place`` counts from 1; without it, a story goes to the end of
    another section. ``revision`` is that of the issue as it was shown. Raises IssueNotFound, InvalidIssueState,
    IssueOutdated, or ChangeRefused if there is no such story or section, or no place to move it to.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "its stories can no longer be moved")
        _check_revision(row, revision)
        found = find_story(session, issue, story)
        headline = headline_of(session, row, found)
        sections = {one.key: one.id for one in issues.sections(session, row)}
        if section and section not in sections:
            raise ChangeRefused(f"There is no section {section}.")
        target = sections.get(section, found.section_id)
        there = [one.id for one, _ in issues.stories(session, issue) if one.section_id == target]
        here = there.index(story) if story in there else None
        last = len(there) - (here is not None)
        index = last if here is None else here + step
        if place is not None:
            index = min(max(place, 1) - 1, last)
        if index == here or not 0 <= index <= last:
            raise ChangeRefused(f"“{headline or 'Untitled'}” is there already.")
        story_changes.remember(session, found, headline, StoryChangeKind.moved, actor)
        stories.place(session, found, target, index)
        approvals.content_changed(session, issue, actor)
        audited = {"section": section} if section else {}
        issues.log(session, issue, actor, IssueEventKind.story_moved, headline, headline=headline, **audited)
        return headline


def move_section(
    database: Database,
    issue: int,
    section: str,
    revision: int,
    actor: Actor,
    *,
    place: int | None = None,
    step: int = 0,
) -> str:
    """Move a section of the plan to a place that counts from 1, or by ``step`` places. Return its title.

    ``section`` is a key. ``revision`` is that of the issue as it was shown. Raises IssueNotFound, InvalidIssueState,
    IssueOutdated, or ChangeRefused if there is no such section or place.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "the order of its sections can no longer be changed")
        _check_revision(row, revision)
        used = {one.id for _, one in issues.stories(session, issue)}
        in_order = issues.sections(session, row)
        shown = [one for one in in_order if one.offered or one.id in used]
        found = next((one for one in shown if one.key == section), None)
        if found is None:
            raise ChangeRefused(f"There is no section {section}.")
        title = newsletters.by_id(session, row.newsletter_id).localize(found.titles).text
        here = shown.index(found)
        index = here + step if place is None else min(max(place, 1), len(shown)) - 1
        if index == here or not 0 <= index < len(shown):
            raise ChangeRefused(f"“{title}” is there already.")
        shown.insert(index, shown.pop(here))
        story_changes.remember_section_order(session, row, title, actor)
        row.section_order = [one.id for one in (*shown, *(one for one in in_order if one not in shown))]
        approvals.content_changed(session, issue, actor)
        issues.log(session, issue, actor, IssueEventKind.section_order, title, section=section)
        return title


def list_changes(database: Database, issue: int) -> list[UndoableChange]:
    """Return the latest changes of an issue's plan that can be undone, the latest first."""
    with database.transaction() as session:
        languages = newsletters.by_id(session, issues.by_id(session, issue).newsletter_id).languages
        return [_undoable(session, row, languages) for row in story_changes.of_issue(session, issue)]


def _undoable(session: Session, row: StoryChange, languages: Sequence[str]) -> UndoableChange:
    texts = {text["language"]: (text["headline"], text["body"]) for text in row.before.get("texts", ())}
    in_order = [tag for tag in dict.fromkeys((*languages, *sorted(texts))) if tag in texts]
    return UndoableChange(
        row.id,
        row.kind,
        row.headline,
        row.at,
        issues.actor_name(session, row),
        {tag: texts[tag] for tag in in_order},
        row.before.get("target"),
    )


def undo(database: Database, issue: int, change: int, actor: Actor) -> UndoableChange:
    """Undo a change of the plan: put a story back with all its texts, or sections into their order. Return the change.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if that is not possible any more.
    """
    with database.transaction() as session:
        found = session.get(StoryChange, change)
        story = session.get(Story, found.story_id) if found and found.story_id else None
        other = story.issue_id if story and story.issue_id != issue else None
        locked = issues.lock_all(session, [issue] if other is None else [issue, other])
        check_editable(issue, locked[issue].state, "its stories can no longer be put back")
        found = session.get(StoryChange, change, populate_existing=True)
        if found is None or found.issue_id != issue:
            raise ChangeRefused("This cannot be undone any more.")
        if story is not None and stories.issue_of(session, story.id) not in locked:
            raise ChangeRefused("This cannot be undone any more.")
        if other is not None and locked[other].state not in EDITABLE_STATES:
            raise ChangeRefused(f"The story is in issue {locked[other].number} now, which can no longer be changed.")
        undone = _undoable(session, found, ())
        if not story_changes.undo(session, found, actor):
            raise ChangeRefused("This cannot be undone any more.")
        if undone.kind is StoryChangeKind.section_order:
            issues.log(session, issue, actor, IssueEventKind.section_order, undone.headline, section=undone.headline)
        else:
            headline, is_picture = undone.headline, undone.kind is StoryChangeKind.picture
            event = IssueEventKind.story_picture if is_picture else IssueEventKind.story_restored
            issues.log(session, issue, actor, event, headline, headline=headline)
        for one in locked:
            approvals.content_changed(session, one, actor)
        return undone


def forget_old_changes(database: Database) -> None:
    """Delete what was kept of removed and moved stories for too long to be undone."""
    with database.transaction() as session:
        story_changes.delete_old(session)


def delete_draft(database: Database, issue: int, actor: Actor) -> None:
    """Delete a draft with its texts and its log. Raises IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "only a draft can be deleted")
        detail = {"number": row.number}
        action = AuditAction.issue_deleted
        audit_log.record(session, None, actor, action, object_kind="issue", object_id=issue, detail=detail)
        issues.delete_draft(session, row.id)


def _record_removal(session: Session, key: TextKey, actor: Actor) -> None:
    text_versions.record(session, key, {}, actor, VersionKind.removed)


def find_story(session: Session, issue: int, story: int) -> Story:
    """Return a story of an issue. Raises ChangeRefused."""
    found = stories.find(session, issue, story)
    if found is None:
        raise ChangeRefused(f"Issue {issue} has no story {story}.")
    return found


def _check_revision(issue: Issue, revision: int) -> None:
    """Raise IssueOutdated unless the plan is as it was at this revision. Texts may have been written since."""
    if not issue.plan_revision <= revision <= issue.revision:
        raise IssueOutdated(IssueOutdated.__doc__)


def headline_of(session: Session, issue: Issue, story: Story) -> str:
    """Return a story's headline without formatting, in the newsletter's default language or the nearest one."""
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    return stories.headlines(session, newsletter, [story.id]).get(story.id, "")


def _story_item(newsletter: Newsletter, story: Story, section: str, texts: dict[str, StoryTranslation]) -> StoryItem:
    languages = tuple(tag for tag in dict.fromkeys((*newsletter.languages, *sorted(texts))) if tag in texts)
    headlines = {tag: plain_line(texts[tag].headline) for tag in languages if texts[tag].headline}
    return StoryItem(story.id, section, newsletter.localize(headlines), languages)
