"""Full-text search in the stories of a newsletter's archive."""

from collections.abc import Callable
from dataclasses import dataclass

from mailer.domain import search as search_rules
from mailer.domain.issue_slugs import unique_slugs
from mailer.domain.search import Fragment
from mailer.store import archive, newsletters
from mailer.store.database import Database

PAGE_SIZE = 10
"""Results on one page."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A story that matches the query."""

    story_id: int
    section_key: str
    issue_slug: str
    """The issue's part of the URL."""
    issue_number: str
    language: str
    """The language of the matching text."""
    headline: tuple[Fragment, ...]
    snippet: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of search results; stories in the page's language come first."""

    query: str
    """The normalized query."""
    results: tuple[SearchResult, ...]
    total: int
    page: int
    pages: int


def search(
    database: Database,
    to_plain_text: Callable[[str], str],
    slug: str,
    language: str,
    raw_query: str,
    page: int = 1,
) -> SearchPage | None:
    """Search a public newsletter's archive. Return one page of results.

    Return None if there is no such public newsletter, language or page. ``raw_query`` is the reader's input, and may be
    anything. ``to_plain_text`` converts Markdown.
    """
    query = search_rules.normalized_query(raw_query)
    stems = search_rules.stems(query)
    with database.public_transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public or language not in newsletter.languages or page < 1:
            return None
        if not query:
            return SearchPage("", (), 0, 1, 1) if page == 1 else None
        sent_issues = {issue.id: issue for issue in archive.sent(session, newsletter.id)}
        issue_slugs = unique_slugs((issue.id, issue.number) for issue in sent_issues.values())
        hits, total = archive.search(
            session,
            list(sent_issues),
            query,
            stems,
            language,
            newsletter.languages,
            limit=PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
        )
        if not hits and page > 1:
            return None
        section_keys = {section.id: section.key for section in newsletters.sections(session, newsletter.id)}
        texts = [(to_plain_text(hit.headline), to_plain_text(hit.body)) for hit in hits]
        matched_words = archive.words_that_match(session, [hit.language for hit in hits], texts, query, stems)
        results = tuple(
            SearchResult(
                story_id=hit.story,
                section_key=section_keys[hit.section],
                issue_slug=issue_slugs[hit.issue],
                issue_number=sent_issues[hit.issue].number,
                language=hit.language,
                headline=tuple(search_rules.highlighted(headline, matched_words[hit.language])),
                snippet=tuple(search_rules.snippet(body, matched_words[hit.language])),
            )
            for hit, (headline, body) in zip(hits, texts, strict=True)
        )
        return SearchPage(query, results, total, page, max(1, -(-total // PAGE_SIZE)))
