"""Requests for texts as they are listed: of an issue, and those to one account."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from mailer.domain.permissions import Permission, allows
from mailer.domain.states import TextSubject
from mailer.domain.text_requests import RequestState, TextTask, state_of
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import Newsletter, TextRequest
from mailer.services.issues.text_requests import RequestGone
from mailer.store import accounts, issues, newsletters, text_requests
from mailer.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class Colleague:
    """Somebody with an account who can be asked."""

    account: int
    name: str
    languages: tuple[str, ...]
    """Those in which they may write."""


@dataclass(frozen=True, slots=True)
class ListedRequest:
    """A request in the list of an issue."""

    id: int
    state: RequestState
    key: TextKey
    headline: str
    """Of the story, as who is asked knows it, without formatting. Empty if there is none, and for front matter."""
    task: TextTask
    account: int | None
    asked_of: str
    address: str
    asked_by: str
    asked_at: datetime
    due_on: date
    reminded_at: datetime | None
    handed_in_at: datetime | None
    sent_back_at: datetime | None
    done_at: datetime | None
    has_begun: bool
    """Whether something was written behind the link."""
    is_expired: bool
    """Whether the link has stopped working."""
    words: str
    """What the last email about it said besides: asking, or sending it back."""

    @property
    def story(self) -> int | None:
        return self.key.subject_id if self.key.subject is TextSubject.story else None


def list_requests(database: Database, issue: int, now: datetime) -> list[ListedRequest]:
    """Return the requests of an issue, those that need attention first. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        known = text_requests.headlines(session, issue)
        found = [
            _listed(session, newsletter, request, known, now) for request in text_requests.of_issue(session, issue)
        ]
    rank = list(RequestState)
    return sorted(found, key=lambda request: rank.index(request.state))


def by_story(requests: Sequence[ListedRequest]) -> dict[int | None, list[ListedRequest]]:
    """Return story → the requests for its texts that are not done, None for the front matter."""
    found: dict[int | None, list[ListedRequest]] = defaultdict(list)
    for request in requests:
        if request.state in (RequestState.open, RequestState.late, RequestState.handed_in):
            found[request.story].append(request)
    return found


def load(database: Database, issue: int, request: int, now: datetime) -> ListedRequest:
    """Return a request of an issue. Raises RequestGone."""
    with database.transaction() as session:
        row = text_requests.find(session, request)
        if row is None or row.issue_id != issue:
            raise RequestGone(RequestGone.__doc__)
        newsletter = newsletters.by_id(session, issues.by_id(session, issue).newsletter_id)
        return _listed(session, newsletter, row, text_requests.headlines(session, issue, row.subject_id), now)


def list_own(database: Database, account: int, now: datetime) -> list[tuple[ListedRequest, str]]:
    """Return what an account is asked for and has not marked as ready, each with newsletter and number."""
    with database.transaction() as session:
        found = []
        for request, issue in text_requests.open_of_account(session, account):
            newsletter = newsletters.by_id(session, issue.newsletter_id)
            name = newsletter.localize(newsletter.names).text
            known = text_requests.headlines(session, issue.id, request.subject_id)
            found.append((_listed(session, newsletter, request, known, now), f"{name} {issue.number}"))
        return found


def count_handed_in(database: Database, ids: Sequence[int]) -> dict[int, int]:
    """Return issue → number of texts that wait to be taken in."""
    with database.transaction() as session:
        return text_requests.handed_in(session, ids)


def list_colleagues(database: Database, newsletter: int) -> list[Colleague]:
    """Return who has an account and may write in some language of a newsletter."""
    with database.transaction() as session:
        languages = newsletters.by_id(session, newsletter).languages
        rows = [row for row in accounts.list_all(session) if row.disabled_at is None]
        grants = accounts.grants_of_all(session, [row.id for row in rows])
        colleagues = (
            Colleague(
                row.id,
                row.name,
                tuple(tag for tag in languages if allows(grants[row.id], Permission.translate_texts, newsletter, tag)),
            )
            for row in rows
        )
        return [colleague for colleague in colleagues if colleague.languages]


def list_stories(database: Database, issue: int) -> list[tuple[int, str]]:
    """Return the stories of an issue in print order with their headlines in the source's language, without formatting.

    A story without a headline has an empty one.
    """
    with database.transaction() as session:
        known = text_requests.headlines(session, issue)
        return [
            (story.id, plain_line(next(iter(known.get(story.id, {}).values()), "")))
            for story, _ in issues.stories(session, issue)
        ]


def _listed(
    session: Session, newsletter: Newsletter, row: TextRequest, known: Mapping[int, Mapping[str, str]], now: datetime
) -> ListedRequest:
    key = text_requests.key_of(row)
    asked = accounts.find(session, row.account_id) if row.account_id else None
    asked_by = accounts.find(session, row.asked_by_id) if row.asked_by_id else None
    return ListedRequest(
        id=row.id,
        state=state_of(
            due_on=row.due_on,
            today=newsletter.day_of(now),
            handed_in_at=row.handed_in_at,
            done_at=row.done_at,
            withdrawn_at=row.withdrawn_at,
        ),
        key=key,
        headline=plain_line(text_requests.headline(known, key)),
        task=row.task,
        account=row.account_id,
        asked_of=asked.name if asked else row.name,
        address=row.address,
        asked_by=asked_by.name if asked_by else row.asked_by,
        asked_at=row.asked_at,
        due_on=row.due_on,
        reminded_at=row.reminded_at,
        handed_in_at=row.handed_in_at,
        sent_back_at=row.sent_back_at,
        done_at=row.done_at,
        has_begun=row.version_id is not None,
        is_expired=row.account_id is None and row.expires_at <= now,
        words=row.words,
    )
