"""Search: stories of a newsletter's archive by their words."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailer.domain import search as search_rules
from mailer.domain.issue_slugs import unique_slugs
from mailer.domain.search import Fragment
from mailer.store import archive, newsletters
from mailer.store.archive import SearchHit
from mailer.store.database import Database, Session

PAGE_SIZE = 10


@dataclass(frozen=True, slots=True)
class SearchResult:
    story_id: int
    section_key: str
    """Its section's key."""
    issue_slug: str
    """What stands for the issue in addresses."""
    issue_number: str
    language: str
    """Of the text that was found."""
    headline: tuple[Fragment, ...]
    snippet: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of what was found; stories in the reader's language come first."""

    query: str
    """As it was understood."""
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
    """Stories for what somebody typed, whatever it is. ``plain`` turns Markdown into plain text. None when
    there is no such public newsletter, language or page."""
    query = search_rules.normalized_query(raw_query)
    stems = search_rules.stems(query)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public or language not in newsletter.languages or page < 1:
            return None
        if not query:
            return SearchPage("", (), 0, 1, 1) if page == 1 else None
        sent = {issue.id: issue for issue in archive.sent(session, newsletter.id)}
        numbers = unique_slugs((issue.id, issue.number) for issue in sent.values())
        hits, total = archive.search(
            session,
            list(sent),
            query,
            stems,
            language,
            newsletter.languages,
            limit=PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
        )
        if not hits and page > 1:
            return None
        keys = {section.id: section.key for section in newsletters.sections(session, newsletter.id)}
        texts = [(to_plain_text(hit.headline), to_plain_text(hit.body)) for hit in hits]
        meant = _matched_words(session, hits, texts, query, stems)
        found = tuple(
            SearchResult(
                story_id=hit.story,
                section_key=keys[hit.section],
                issue_slug=numbers[hit.issue],
                issue_number=sent[hit.issue].number,
                language=hit.language,
                headline=tuple(search_rules.highlighted(headline, meant[hit.language])),
                snippet=tuple(search_rules.snippet(body, meant[hit.language])),
            )
            for hit, (headline, body) in zip(hits, texts, strict=True)
        )
        return SearchPage(query, found, total, page, max(1, -(-total // PAGE_SIZE)))


def _matched_words(
    session: Session,
    hits: Sequence[SearchHit],
    texts: Sequence[tuple[str, str]],
    query: str,
    stems: Sequence[str],
) -> dict[str, frozenset[str]]:
    """Language → the words in these texts that the query means."""
    words: dict[str, set[str]] = defaultdict(set)
    for hit, parts in zip(hits, texts, strict=True):
        words[hit.language].update(*map(search_rules.words, parts))
    return {tag: archive.matching_words(session, said, query, stems, tag) for tag, said in words.items()}
