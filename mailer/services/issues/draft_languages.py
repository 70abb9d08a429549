"""The languages of a draft: begun with what their texts take from the source, and removed if nothing is written."""

from collections.abc import Mapping
from typing import Any

from mailer.domain.accounts import Actor
from mailer.domain.begun_translation import ComposeDateline, begun_translation
from mailer.domain.errors import ChangeRefused
from mailer.domain.staff_texts import gettext
from mailer.domain.states import IssueEventKind, TextSubject, TranslationStatus, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Issue, IssueTranslation, StoryTranslation
from mailer.store import approvals, issues, newsletters, stories, text_versions
from mailer.store.database import Database, Session


def begin(database: Database, issue: int, language: str, compose_dateline: ComposeDateline, actor: Actor) -> None:
    """Begin the front matter and each story's text in a language, as drafts with what they take from their source.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if the newsletter has no such language or nothing is left
    to begin.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "no language can be added to it")
        newsletter = newsletters.by_id(session, row.newsletter_id)
        if language not in newsletter.languages:
            raise ChangeRefused(f"The newsletter has no language {language}.")
        if language in issues.front_matter(session, issue):
            raise ChangeRefused(f"The issue has its front matter in {language} already.")
        leading = issues.leading_language(session, newsletter, issue)
        session.add(empty_front_matter(issue, language))
        texts = issues.story_texts(session, issue)
        for story, _ in issues.stories(session, issue):
            if language not in texts.get(story.id, {}):
                source = texts.get(story.id, {}).get(story.source_language or leading)
                taken = _taken(source, language, compose_dateline)
                text = stories.add_text(session, story.id, language, **taken)
                if any(taken.values()):
                    key = TextKey(issue, TextSubject.story, story.id, language)
                    text_versions.record(session, key, text_versions.content_of(text), actor, VersionKind.saved)
        approvals.content_changed(session, issue, actor)
        issues.log(session, issue, actor, IssueEventKind.language_begun, language, language=language)


def undo(database: Database, issue: int, language: str, compose_dateline: ComposeDateline, actor: Actor) -> None:
    """Remove the drafts of a language that was begun, as long as nothing is written in it.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if something is written.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "no language can be removed from it")
        if language not in _unwritten(session, row, compose_dateline):
            raise ChangeRefused(gettext("Something is written in this language, so it stays."))
        removed: list[tuple[TextKey, IssueTranslation | StoryTranslation]] = [
            (TextKey(issue, TextSubject.story, story, language), texts[language])
            for story, texts in issues.story_texts(session, issue).items()
            if language in texts
        ]
        front = issues.front_matter(session, issue)[language]
        for key, text in (*removed, (TextKey(issue, TextSubject.front_matter, issue, language), front)):
            session.delete(text)
            if text_versions.head(session, key):
                text_versions.record(session, key, {}, actor, VersionKind.removed)
        approvals.content_changed(session, issue, actor)
        issues.log(session, issue, actor, IssueEventKind.language_removed, language, language=language)


def unwritten(database: Database, issue: int, compose_dateline: ComposeDateline) -> set[str]:
    """Return the languages that were begun and in which nothing is written. The source of a story is none of them."""
    with database.transaction() as session:
        return _unwritten(session, issues.by_id(session, issue), compose_dateline)


def empty_front_matter(issue: int, language: str, subject: str = "") -> IssueTranslation:
    """Return front matter that is begun as a draft."""
    draft = TranslationStatus.draft
    return IssueTranslation(issue_id=issue, language=language, status=draft, subject=subject, preheader="", intro="")


def _unwritten(session: Session, issue: Issue, compose_dateline: ComposeDateline) -> set[str]:
    leading = issues.leading_language(session, newsletters.by_id(session, issue.newsletter_id), issue.id)
    fronts, texts = issues.front_matter(session, issue.id), issues.story_texts(session, issue.id)
    written = {leading} | {tag for tag, front in fronts.items() if _is_written(front, {})}
    for story, _ in issues.stories(session, issue.id):
        source = story.source_language or leading
        written.add(source)
        for tag, text in texts.get(story.id, {}).items():
            if tag not in written and _is_written(text, _taken(texts[story.id].get(source), tag, compose_dateline)):
                written.add(tag)
    return {*fronts} - written


def _is_written(text: IssueTranslation | StoryTranslation, taken: Mapping[str, Any]) -> bool:
    """Return whether a text is more than an empty draft with what it took from its source."""
    content = {name: value for name, value in text_versions.content_of(text).items() if value}
    is_draft = text.status is TranslationStatus.draft
    return not is_draft or content not in ({}, {name: value for name, value in taken.items() if value})


def _taken(source: StoryTranslation | None, language: str, compose_dateline: ComposeDateline) -> dict[str, Any]:
    """Return what a story's translation takes from its source, if there is one."""
    return begun_translation(text_versions.content_of(source), language, compose_dateline) if source else {}
