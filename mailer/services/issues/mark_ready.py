"""Marks the drafts of an issue in one language as ready."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mailer.domain.accounts import Actor
from mailer.domain.states import IssueEventKind, TextSubject, TranslationStatus
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import IssueTranslation, StoryTranslation
from mailer.services.issues import text_requests
from mailer.store import approvals, issues, newsletters, text_versions
from mailer.store.database import Database, Session


class Lack(StrEnum):
    """Why a draft is not marked."""

    subject = "subject"
    introduction = "introduction"
    headline = "headline"
    text = "text"
    permission = "permission"
    """It is the source of its translations, which only somebody with ``write`` marks."""


@dataclass(frozen=True, slots=True)
class RemainingDraft:
    """A draft that was not marked."""

    story: int | None
    """None for the front matter."""
    title: str
    """Its headline or subject without formatting, in another language if it has none. Empty if there is none."""
    lack: Lack


@dataclass(frozen=True, slots=True)
class MarkedDrafts:
    """What became of the drafts of a language."""

    language: str
    marked: int
    remaining: tuple[RemainingDraft, ...]


def mark_ready(
    database: Database, issue: int, language: str, actor: Actor, now: datetime, *, sources: bool
) -> MarkedDrafts:
    """Mark the drafts in a language that have a headline or subject and a text as ready. Return what became of each.

    ``sources``: also those that others are translated from. Raises IssueNotFound or InvalidIssueState.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "its texts can no longer be changed")
        leading = issues.leading_language(session, newsletters.by_id(session, row.newsletter_id), issue)
        fronts, texts = issues.front_matter(session, issue), issues.story_texts(session, issue)
        marked: list[TextKey] = []
        remaining: list[RemainingDraft] = []
        front = fronts.get(language)
        if front and front.status is TranslationStatus.draft:
            key = TextKey(issue, TextSubject.front_matter, issue, language)
            lack = _lack(front, {"subject": Lack.subject, "intro": Lack.introduction}, sources or language != leading)
            if lack:
                remaining.append(RemainingDraft(None, front.subject, lack))
            else:
                _mark(session, key, front, actor, now)
                marked.append(key)
        for story, _ in issues.stories(session, issue):
            text = texts.get(story.id, {}).get(language)
            if text is None or text.status is not TranslationStatus.draft:
                continue
            source = story.source_language or leading
            lack = _lack(text, {"headline": Lack.headline, "body": Lack.text}, sources or language != source)
            if lack:
                titles = (texts[story.id].get(tag, text).headline for tag in (language, source, leading))
                remaining.append(RemainingDraft(story.id, plain_line(next(filter(None, titles), "")), lack))
            else:
                key = TextKey(issue, TextSubject.story, story.id, language)
                _mark(session, key, text, actor, now)
                marked.append(key)
        if marked:
            issues.set_last_writer(session, issue, language, actor)
            approvals.content_changed(session, issue, actor)
            kind, detail = IssueEventKind.texts_ready, f"{language}: {len(marked)}"
            issues.log(session, issue, actor, kind, detail, language=language, texts=len(marked))
        return MarkedDrafts(language, len(marked), tuple(remaining))


def _lack(text: IssueTranslation | StoryTranslation, needed: Mapping[str, Lack], may_mark: bool) -> Lack | None:
    """Return why a draft is not marked, None if it can be."""
    content: Mapping[str, Any] = text_versions.content_of(text)
    if not may_mark:
        return Lack.permission
    return next((lack for name, lack in needed.items() if not content[name].strip()), None)


def _mark(
    session: Session, key: TextKey, text: IssueTranslation | StoryTranslation, actor: Actor, now: datetime
) -> None:
    text.status = TranslationStatus.ready
    session.flush()
    text_requests.text_is_ready(session, key, actor, now)
