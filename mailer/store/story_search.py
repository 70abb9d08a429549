"""Search in all stories of a newsletter, past and coming, drafts included."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.search import StoryFilter
from mailer.domain.states import IssueState
from mailer.store.archive import MAX_RANKED, WANTED, search_values


@dataclass(frozen=True, slots=True)
class StoryRow:
    """A story that matches, with its text in the language that matched, or in one to read."""

    story: int
    issue: int
    number: str
    issue_date: date
    state: IssueState
    section: int
    picture: int | None
    language: str
    headline: str
    body: str
    languages: list[str]


_FILTER = """
    i.newsletter_id = :newsletter AND i.digest_month IS NULL
    AND (CAST(:section AS int) IS NULL OR s.section_id = :section)
    AND (CAST(:issue AS int) IS NULL OR i.id = :issue)
    AND (NOT :with_picture OR s.picture_id IS NOT NULL)
"""
# A word that every text has would be ranked in every text. The index finds the stories without reading a text, whatever
# their language; then texts are read from the newest story on until enough of them match.
_WITH_WORDS = f"""
    WITH wanted AS MATERIALIZED ({WANTED}), likely AS MATERIALIZED (
        SELECT DISTINCT story_id FROM story_translation
        WHERE search_vector @@ (SELECT CAST(string_agg(format('(%s)', query), ' | ') AS tsquery) FROM wanted)
    )
    SELECT newest.story, newest.issue_date, best.language, best.rank
    FROM (
        SELECT s.id AS story, i.issue_date FROM likely JOIN story s ON s.id = likely.story_id
        JOIN issue i ON i.id = s.issue_id WHERE {_FILTER} ORDER BY i.issue_date DESC, s.id DESC OFFSET 0
    ) newest
    CROSS JOIN LATERAL (
        SELECT t.language, ts_rank(t.search_vector, w.query) AS rank
        FROM wanted w JOIN story_translation t ON t.language = w.language AND t.search_vector @@ w.query
        WHERE t.story_id = newest.story ORDER BY t.language = :read DESC, rank DESC, t.language LIMIT 1
    ) best
    ORDER BY newest.issue_date DESC, newest.story DESC LIMIT {MAX_RANKED}
"""
_WITHOUT_WORDS = f"""
    SELECT s.id AS story, i.issue_date, read.language, 0 AS rank
    FROM issue i JOIN story s ON s.issue_id = i.id
    LEFT JOIN LATERAL (
        SELECT t.language FROM story_translation t
        WHERE t.story_id = s.id AND t.language = ANY(CAST(:languages AS text[]))
        ORDER BY t.headline = '', t.language = :read DESC, array_position(CAST(:languages AS text[]), t.language)
        LIMIT 1
    ) read ON true
    WHERE {_FILTER} AND (read.language IS NOT NULL OR :any_language)
"""
# Texts are read for the stories of the page only.
_PAGE = """
    WITH hits AS ({hits}), page AS MATERIALIZED (
        SELECT * FROM hits ORDER BY rank DESC, issue_date DESC, story DESC LIMIT :limit OFFSET :offset
    )
    SELECT page.story, i.id AS issue, i.number, i.issue_date, i.state, s.section_id AS section,
        s.picture_id AS picture, coalesce(page.language, '') AS language, coalesce(t.headline, '') AS headline,
        coalesce(t.body, '') AS body,
        ARRAY(SELECT language FROM story_translation o WHERE o.story_id = s.id ORDER BY language) AS languages
    FROM page JOIN story s ON s.id = page.story JOIN issue i ON i.id = s.issue_id
    LEFT JOIN story_translation t ON t.story_id = s.id AND t.language = page.language
    ORDER BY rank DESC, page.issue_date DESC, page.story DESC
"""


def statement(only: StoryFilter) -> str:
    """Return the query for a page of stories."""
    return _PAGE.format(hits=_WITH_WORDS if only.query else _WITHOUT_WORDS)


def values(
    newsletter: int,
    only: StoryFilter,
    stems: Sequence[str],
    languages: Sequence[str],
    read: str,
    limit: int,
    offset: int,
) -> dict[str, object]:
    """Return the values of ``statement``."""
    return {
        **search_values(only.query, stems, [only.language] if only.language else languages),
        "newsletter": newsletter,
        "section": only.section,
        "issue": only.issue,
        "with_picture": only.with_picture,
        "any_language": not only.language,
        "read": only.language or read,
        "limit": limit,
        "offset": offset,
    }


def find(
    session: Session,
    newsletter: int,
    only: StoryFilter,
    *,
    stems: Sequence[str],
    languages: Sequence[str],
    read: str,
    limit: int,
    offset: int,
) -> list[StoryRow]:
    """Return a page of stories: those that match the words best, then those of the latest issues.

    Of those that match words, the newest MAX_RANKED are ranked.

    ``languages`` are the newsletter's, ``read`` is the one to show where there is a choice. The query is user input,
    of which ``websearch_to_tsquery`` accepts any; see ``archive.search`` for ``stems``.
    """
    found = session.execute(text(statement(only)), values(newsletter, only, stems, languages, read, limit, offset))
    return [StoryRow(**(dict(row) | {"state": IssueState(row["state"])})) for row in found.mappings()]
