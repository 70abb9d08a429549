"""Requests for texts of issues."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from mailer.domain.states import EDITABLE_STATES, TextSubject
from mailer.domain.text_requests import RequestedText
from mailer.domain.versions import TextKey
from mailer.models import Account, Issue, Newsletter, Story, StoryTranslation, TextRequest
from mailer.store import issues, text_versions


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request, with what an email about it needs."""

    request: TextRequest
    is_editable: bool
    """Whether the issue is still written and has the text: a removed story's are closed until it is put back."""
    asked: Account | None
    """None for somebody without an account."""
    asked_by: Account | None
    text: RequestedText


def key_of(request: TextRequest) -> TextKey:
    """Return which text was asked for."""
    return TextKey(request.issue_id, request.subject, request.subject_id, request.language)


def find(session: Session, request: int) -> TextRequest | None:
    return session.get(TextRequest, request)


def lock(session: Session, request: int) -> TextRequest | None:
    """Lock a request, after its issue, and return it."""
    return session.get(TextRequest, request, with_for_update=True, populate_existing=True)


def of_issue(session: Session, issue: int) -> list[TextRequest]:
    """Return the requests of an issue, those that are due first in front. A removed story's are left out."""
    query = select(TextRequest).where(TextRequest.issue_id == issue, _has_place())
    return list(session.scalars(query.order_by(TextRequest.due_on, TextRequest.id)))


def open_of_text(session: Session, key: TextKey) -> list[TextRequest]:
    """Return the requests for a text that wait for whom they ask."""
    query = select(TextRequest).where(text_versions.is_of(TextRequest, key), _waits())
    return list(session.scalars(query.order_by(TextRequest.id)))


def open_of_account(session: Session, account: int) -> list[tuple[TextRequest, Issue]]:
    """Return what an account is asked for in issues that are still written, what is due first in front."""
    query = select(TextRequest, Issue).join(Issue, Issue.id == TextRequest.issue_id)
    query = query.where(TextRequest.account_id == account, _waits(), Issue.state.in_(EDITABLE_STATES))
    return [(request, issue) for request, issue in session.execute(query.order_by(TextRequest.due_on, TextRequest.id))]


def count_open(session: Session, issue: int) -> int:
    """Return how many requests of an issue are neither done nor withdrawn."""
    query = select(func.count()).where(
        TextRequest.issue_id == issue, TextRequest.done_at.is_(None), TextRequest.withdrawn_at.is_(None), _has_place()
    )
    return session.scalar(query) or 0


def handed_in(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """Return issue → number of texts that were handed in and wait to be taken in."""
    query = select(TextRequest.issue_id, func.count()).where(
        TextRequest.issue_id.in_(ids),
        TextRequest.handed_in_at.is_not(None),
        TextRequest.done_at.is_(None),
        TextRequest.withdrawn_at.is_(None),
        _has_place(),
    )
    return {issue: int(count) for issue, count in session.execute(query.group_by(TextRequest.issue_id))}


def not_reminded(session: Session, due_until: date, limit: int) -> list[tuple[TextRequest, str]]:
    """Return requests of issues that are still written and nobody was reminded of, with the newsletter's time zone."""
    query = (
        select(TextRequest, Newsletter.time_zone)
        .join(Issue, Issue.id == TextRequest.issue_id)
        .join(Newsletter, Newsletter.id == Issue.newsletter_id)
        .where(
            _waits(),
            TextRequest.reminded_at.is_(None),
            TextRequest.due_on <= due_until,
            Issue.state.in_(EDITABLE_STATES),
        )
        .order_by(TextRequest.due_on, TextRequest.id)
        .limit(limit)
        .with_for_update(of=TextRequest, skip_locked=True)
    )
    return [(request, zone) for request, zone in session.execute(query)]


def load_context(session: Session, request: int) -> RequestContext:
    """Return a request with what an email about it needs."""
    row = session.get_one(TextRequest, request)
    issue = issues.by_id(session, row.issue_id)
    newsletter = session.get_one(Newsletter, issue.newsletter_id)
    asked = session.get(Account, row.account_id) if row.account_id else None
    asked_by = session.get(Account, row.asked_by_id) if row.asked_by_id else None
    text = RequestedText(
        task=row.task,
        number=issue.number,
        headline=headline(headlines(session, row.issue_id, row.subject_id), key_of(row)),
        is_front_matter=row.subject is TextSubject.front_matter,
        language=row.language,
        due_on=row.due_on,
        words=row.words,
        asked_by=asked_by.name if asked_by else row.asked_by,
        asked_of=asked.name if asked else row.name,
        link_until=None if asked else newsletter.day_of(row.expires_at),
    )
    return RequestContext(row, is_editable(session, row, issue), asked, asked_by, text)


def is_editable(session: Session, request: TextRequest, issue: Issue) -> bool:
    """Return whether the issue of a request is still written and has the text."""
    has_place = select(_has_place()).where(TextRequest.id == request.id)
    return issue.state in EDITABLE_STATES and session.scalars(has_place).one()


def headlines(session: Session, issue: int, story: int | None = None) -> dict[int, dict[str, str]]:
    """Return story → language → headline, for the stories of an issue or one of them. The source's comes first.

    A headline is one line of Markdown. Empty ones are left out.
    """
    newsletter = session.get_one(Newsletter, issues.by_id(session, issue).newsletter_id)
    source = func.coalesce(Story.source_language, issues.leading_language(session, newsletter, issue))
    query = (
        select(Story.id, StoryTranslation.language, StoryTranslation.headline)
        .join(Story, Story.id == StoryTranslation.story_id)
        .where(Story.issue_id == issue, StoryTranslation.headline != "")
        .order_by(StoryTranslation.language != source, StoryTranslation.language)
    )
    if story is not None:
        query = query.where(Story.id == story)
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for story_id, language, headline in session.execute(query):
        found[story_id][language] = headline
    return found


def headline(known: Mapping[int, Mapping[str, str]], key: TextKey) -> str:
    """Return the headline of what somebody is asked for: in its language, else the source's; empty for front matter."""
    texts = known.get(key.subject_id, {}) if key.subject is TextSubject.story else {}
    return texts.get(key.language) or next(iter(texts.values()), "")


def _waits() -> ColumnElement[bool]:
    ended = (TextRequest.handed_in_at, TextRequest.done_at, TextRequest.withdrawn_at)
    return and_(*(column.is_(None) for column in ended), _has_place())


def _has_place() -> ColumnElement[bool]:
    """Whether the text is part of its issue: a removed story's is not."""
    has_story = exists().where(Story.id == TextRequest.subject_id, Story.issue_id == TextRequest.issue_id)
    return (TextRequest.subject == TextSubject.front_matter) | has_story
