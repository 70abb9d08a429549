"""The archive: sent issues and search in their stories."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from mailer.domain import search as search_rules
from mailer.domain.states import IssueState, TranslationStatus
from mailer.models import Issue, IssueTranslation, Picture, Section, Story
from mailer.store.issues import PRINT_ORDER, was_sent


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A matching story, in the language that matched."""

    story: int
    issue: int
    section: int
    language: str
    headline: str
    body: str


def sent(session: Session, newsletter: int) -> list[Issue]:
    """Return the sent issues, newest first.

    An issue stays while its failed deliveries are retried, and also if that retry is cancelled.
    """
    query = select(Issue).where(
        Issue.newsletter_id == newsletter,
        Issue.digest_month.is_(None),
        or_(Issue.state == IssueState.sent, was_sent()),
    )
    return list(session.scalars(query.order_by(Issue.issue_date.desc(), Issue.id.desc())))


def version(session: Session) -> str:
    """Return a digest of the newsletters, their sections and which issues are sent."""
    sent_issues = select(func.count(), func.max(Issue.ready_at), func.sum(Issue.id)).where(
        or_(Issue.state == IssueState.sent, was_sent())
    )
    rows = text(
        "SELECT md5(coalesce(string_agg(row::text, '' ORDER BY row::text), '')) FROM"
        " (SELECT newsletter::text AS row FROM newsletter UNION ALL SELECT section::text FROM section) AS rows"
    )
    return f"{session.scalar(rows)} {tuple(session.execute(sent_issues).one())}"


def front_matter(session: Session, issues: Iterable[int]) -> dict[int, dict[str, IssueTranslation]]:
    """Return issue → language → front matter in status ready."""
    query = select(IssueTranslation).where(
        IssueTranslation.issue_id.in_(list(issues)), IssueTranslation.status == TranslationStatus.ready
    )
    translations: dict[int, dict[str, IssueTranslation]] = defaultdict(dict)
    for row in session.scalars(query):
        translations[row.issue_id][row.language] = row
    return translations


def cover_pictures(session: Session, issues: Iterable[int]) -> dict[int, tuple[str, str, int, int]]:
    """Return issue → (sha256, media type, width, height) of its first picture, or of its header image."""
    ids = list(issues)
    columns = (Picture.sha256, Picture.media_type, Picture.width, Picture.height)
    headers = select(Issue.id, *columns).join(Picture, Picture.id == Issue.header_image_id)
    firsts = (
        select(Story.issue_id, *columns)
        .join(Issue, Issue.id == Story.issue_id)
        .join(Section, Section.id == Story.section_id)
        .join(Picture, Picture.id == Story.picture_id)
        .where(Story.issue_id.in_(ids))
        .order_by(Story.issue_id, *PRINT_ORDER)
        .ext(distinct_on(Story.issue_id))
    )
    return {
        row[0]: (row[1], row[2], row[3], row[4])
        for query in (headers.where(Issue.id.in_(ids)), firsts)
        for row in session.execute(query)
    }


# One query per language, since each has its own stemmer; all can use the index. A query that the index cannot answer,
# because it only excludes words, finds nothing. Texts are read for the stories of the page only, and their vectors,
# which are as large, only for those that are ranked.
WANTED = """
    SELECT tag AS language, query FROM unnest(CAST(:languages AS text[])) tag, LATERAL (
        SELECT websearch_to_tsquery(search_config(tag), :query)
            || websearch_to_tsquery(search_config(tag), search_folded(:query))
            || CASE WHEN search_config(tag) = 'simple'::regconfig THEN CAST(:stems AS tsquery)
                ELSE ''::tsquery END AS query
    ) parsed WHERE querytree(query) NOT IN ('', 'T')
"""
MAX_RANKED = 500
"""Of more stories that match words, the newest ones."""
_SEARCH = f"""
    WITH wanted AS MATERIALIZED ({WANTED}), matches AS MATERIALIZED (
        -- First, so that the index of words is read once for a language, and not once for each story.
        SELECT t.story_id, t.language, w.query FROM wanted w
        JOIN story_translation t ON t.language = w.language AND t.search_vector @@ w.query AND t.status = 'ready'
    ), hits AS MATERIALIZED (
        SELECT DISTINCT ON (s.id) s.id AS story, s.issue_id AS issue, s.section_id AS section, i.issue_date,
            t.language, t.language = :language AS own, t.query
        FROM matches t
        JOIN story s ON s.id = t.story_id AND s.issue_id = ANY(:issues)
        JOIN issue i ON i.id = s.issue_id
        JOIN issue_translation f ON f.issue_id = i.id AND f.language = t.language AND f.status = 'ready'
        ORDER BY s.id, own DESC, array_position(CAST(:languages AS text[]), t.language)
    ), ranked AS MATERIALIZED (
        SELECT newest.story, ts_rank(t.search_vector, newest.query) AS rank
        FROM (SELECT * FROM hits ORDER BY own DESC, issue_date DESC, story LIMIT {MAX_RANKED}) newest
        JOIN story_translation t ON t.story_id = newest.story AND t.language = newest.language
    ), page AS MATERIALIZED (
        SELECT hits.*, rank, count(*) OVER () AS total FROM hits LEFT JOIN ranked USING (story)
        ORDER BY own DESC, rank DESC NULLS LAST, issue_date DESC, story LIMIT :limit OFFSET :offset
    )
    SELECT story, issue, section, page.language, headline, body, total FROM page
    JOIN story_translation t ON t.story_id = story AND t.language = page.language
    ORDER BY own DESC, rank DESC NULLS LAST, issue_date DESC, story
"""


def search(
    session: Session,
    issues: Sequence[int],
    query: str,
    stems: Sequence[str],
    language: str,
    languages: Sequence[str],
    *,
    limit: int,
    offset: int,
) -> tuple[list[SearchHit], int]:
    """Return (one page of matching stories, total number of matches).

    Stories in ``language`` come first; each story appears in one language only, the first of ``languages`` in which it
    matches. The newest MAX_RANKED of them are ranked, and the older ones follow. ``query`` is user input, of which
    ``websearch_to_tsquery`` accepts any. ``stems`` are word beginnings, letters only, that must all occur; they are
    used for languages without a stemmer.
    """
    rows = session.execute(
        text(_SEARCH),
        {
            "issues": list(issues),
            **search_values(query, stems, languages),
            "language": language,
            "limit": limit,
            "offset": offset,
        },
    ).all()
    return [SearchHit(*row[:6]) for row in rows], rows[0].total if rows else 0


def search_values(query: str, stems: Sequence[str], languages: Sequence[str]) -> dict[str, object]:
    """Return the values of WANTED."""
    all_stems = " & ".join(f"'{stem}':*" for stem in stems)
    return {"query": query, "stems": all_stems, "languages": list(languages)}


_MATCHING_WORDS = """
    SELECT word FROM unnest(CAST(:words AS text[])) word
    WHERE tsvector_to_array(
            to_tsvector(search_config(:language), word)
            || to_tsvector(search_config(:language), search_folded(word))
        ) && tsvector_to_array(
            to_tsvector(search_config(:language), :query)
            || to_tsvector(search_config(:language), search_folded(:query))
        )
        OR search_config(:language) = 'simple'::regconfig
            AND EXISTS (
                SELECT FROM unnest(CAST(:stems AS text[])) stem WHERE starts_with(search_folded(word), stem)
            )
"""


def matching_words(
    session: Session, words: Iterable[str], query: str, stems: Sequence[str], language: str
) -> frozenset[str]:
    """Return those of these words that match the query."""
    values = {"words": list(words), "query": query, "stems": list(stems), "language": language}
    return frozenset(session.scalars(text(_MATCHING_WORDS), values))


def words_that_match(
    session: Session,
    languages: Sequence[str],
    texts: Sequence[tuple[str, str]],
    query: str,
    stems: Sequence[str],
) -> dict[str, frozenset[str]]:
    """Return, for each language, the words that match the query in these texts, whose ``languages`` are given."""
    words: dict[str, set[str]] = defaultdict(set)
    for language, in_language in zip(languages, texts, strict=True):
        words[language].update(*map(search_rules.words, in_language))
    return {tag: matching_words(session, language_words, query, stems, tag) for tag, language_words in words.items()}
