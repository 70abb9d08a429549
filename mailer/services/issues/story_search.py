"""Search in all stories of a newsletter, past and coming."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from mailer.domain import search as search_rules
from mailer.domain.ports import MailUrls
from mailer.domain.search import Fragment, StoryFilter
from mailer.domain.states import IssueState
from mailer.store import archive, issues, newsletters, pictures, story_search
from mailer.store.archive import MAX_RANKED
from mailer.store.database import Database, Session
from mailer.store.story_search import StoryRow

PAGE_SIZE = 20
MAX_PAGE = MAX_RANKED // PAGE_SIZE
MAX_ISSUES = 200
"""That can be chosen in the filter, the latest ones."""


@dataclass(frozen=True, slots=True)
class FoundStory:
    """A story that matches, as it is shown."""

    id: int
    issue: int
    number: str
    issue_date: date
    state: IssueState
    section: str
    """Its key."""
    section_title: str
    language: str
    """Of the headline and the excerpt; empty for a story without texts."""
    headline: tuple[Fragment, ...]
    excerpt: tuple[Fragment, ...]
    languages: tuple[str, ...]
    picture_url: str
    """Of its thumbnail, or of a small picture; empty without a picture."""


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of stories."""

    stories: tuple[FoundStory, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """What stories of a newsletter can be filtered by."""

    sections: tuple[tuple[int, str, str], ...]
    """(id, key, title)"""
    issues: tuple[tuple[int, str], ...]
    """(id, number), the latest first."""


def choices(database: Database, newsletter: int) -> Choices:
    """Return what stories of a newsletter can be filtered by."""
    with database.transaction() as session:
        row = newsletters.by_id(session, newsletter)
        return Choices(
            tuple(
                (one.id, one.key, row.localize(one.titles).text) for one in newsletters.sections(session, newsletter)
            ),
            tuple((one.id, one.number) for one in issues.latest(session, newsletter, MAX_ISSUES)),
        )


def search(
    database: Database,
    to_plain_text: Callable[[str], str],
    urls: MailUrls,
    newsletter: int,
    only: StoryFilter,
    page: int,
) -> FoundPage:
    """Return a page of the stories that match. ``only.query`` is as typed. ``to_plain_text`` converts Markdown.

    Raises QueryTimeout.
    """
    only = StoryFilter(
        search_rules.normalized_query(only.query), only.section, only.language, only.issue, only.with_picture
    )
    stems = search_rules.stems(only.query)
    with database.public_transaction() as session:
        row = newsletters.by_id(session, newsletter)
        found = story_search.find(
            session,
            newsletter,
            only,
            stems=stems,
            languages=row.languages,
            read=row.default_language,
            limit=PAGE_SIZE + 1,
            offset=(min(page, MAX_PAGE) - 1) * PAGE_SIZE,
        )
        shown = found[:PAGE_SIZE]
        texts = [(to_plain_text(one.headline), to_plain_text(one.body)) for one in shown]
        spoken = [one.language for one in shown]
        matched = (
            archive.words_that_match(session, spoken, texts, only.query, stems)
            if only.query
            else dict.fromkeys(spoken, frozenset())
        )
        titles = {one.id: (one.key, row.localize(one.titles).text) for one in newsletters.sections(session, newsletter)}
        pictures = _picture_urls(session, urls, shown)
    order = list(row.languages)
    return FoundPage(
        tuple(
            FoundStory(
                id=one.story,
                issue=one.issue,
                number=one.number,
                issue_date=one.issue_date,
                state=one.state,
                section=titles[one.section][0],
                section_title=titles[one.section][1],
                language=one.language,
                headline=tuple(search_rules.highlighted(headline, matched[one.language])),
                excerpt=tuple(search_rules.snippet(body, matched[one.language])),
                languages=tuple(
                    sorted(one.languages, key=lambda tag: order.index(tag) if tag in order else len(order))
                ),
                picture_url=pictures.get(one.picture or 0, ""),
            )
            for one, (headline, body) in zip(shown, texts, strict=True)
        ),
        len(found) > PAGE_SIZE and page < MAX_PAGE,
    )


def _picture_urls(session: Session, urls: MailUrls, rows: Sequence[StoryRow]) -> dict[int, str]:
    ids = {row.picture for row in rows if row.picture}
    shown = pictures.infos(session, ids) | pictures.thumbnails(session, ids)
    return {id: urls.picture_url(picture.sha256, picture.media_type) for id, picture in shown.items()}
