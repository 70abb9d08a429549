"""Changes a draft without a document: lists and removes its stories, or deletes it."""

from dataclasses import dataclass

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.states import IssueEventKind, check_editable
from mailer.models import Issue, Newsletter, Story, StoryTranslation
from mailer.store import audit_log, issues, newsletters
from mailer.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class StoryItem:
    """A story as it is listed. ``headline`` is in the newsletter's default language or the nearest one."""

    story: int
    section: str
    """The section's key."""
    headline: LocalizedText
    languages: tuple[str, ...]


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
        found = session.get(Story, story)
        if found is None or found.issue_id != issue:
            raise ChangeRefused(f"Issue {issue} has no story {story}.")
        texts = issues.story_texts(session, issue).get(story, {})
        newsletter = newsletters.by_id(session, row.newsletter_id)
        headline = _story_item(newsletter, found, "", texts).headline.text
        if language and language not in texts:
            raise ChangeRefused(f"“{headline}” has no text in {language}. Its languages: {', '.join(texts)}.")
        if language and len(texts) > 1:
            session.delete(texts[language])
            for contact, contact_texts, _ in issues.contacts(session, issue):
                if contact.story_id == story and language in contact_texts:
                    issues.remove_contact_text(session, contact.id, language)
        else:
            issues.delete_story(session, found)
        issues.bump_revision(session, issue)
        detail = f"{language}: {headline}".removeprefix(": ")
        issues.log(session, issue, actor, IssueEventKind.story_removed, detail, headline=headline)
        return headline


def delete_draft(database: Database, issue: int, actor: Actor) -> None:
    """Delete a draft with its texts and its log. Raises IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = _lock_draft(session, issue, "only a draft can be deleted")
        detail = {"number": row.number}
        action = AuditAction.issue_deleted
        audit_log.record(session, None, actor, action, object_kind="issue", object_id=issue, detail=detail)
        issues.delete_draft(session, row.id)


def _lock_draft(session: Session, issue: int, consequence: str) -> Issue:
    row = issues.lock(session, issue)
    check_editable(issue, row.state, consequence)
    return row


def _story_item(newsletter: Newsletter, story: Story, section: str, texts: dict[str, StoryTranslation]) -> StoryItem:
    languages = tuple(tag for tag in dict.fromkeys((*newsletter.languages, *sorted(texts))) if tag in texts)
    headlines = {tag: texts[tag].headline for tag in languages}
    default = newsletter.default_language
    return StoryItem(story.id, section, localize(headlines, default, newsletter.fallbacks, default), languages)
