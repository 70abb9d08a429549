"""Search: stories of a newsletter's archive by their words."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailer.domain import searching
from mailer.domain.archive import addresses
from mailer.domain.searching import Piece
from mailer.store import archive, newsletters
from mailer.store.archive import Hit
from mailer.store.database import Database, Session

PAGE = 10


@dataclass(frozen=True, slots=True)
class Found:
    story: int
    section: str
    """Its section's key."""
    issue: str
    """What stands for the issue in addresses."""
    number: str
    language: str
    """Of the text that was found."""
    headline: tuple[Piece, ...]
    snippet: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """A page of what was found; stories in the reader's language come first."""

    query: str
    """As it was understood."""
    found: tuple[Found, ...]
    total: int
    page: int
    pages: int


def search(
    database: Database, plain: Callable[[str], str], slug: str, language: str, typed: str, page: int = 1
) -> Results | None:
    """Stories for what somebody typed, whatever it is. ``plain`` turns Markdown into plain text. None when
    there is no such public newsletter, language or page."""
    query = searching.cleaned(typed)
    stems = searching.stems(query)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public or language not in newsletter.languages or page < 1:
            return None
        if not query:
            return Results("", (), 0, 1, 1) if page == 1 else None
        sent = {issue.id: issue for issue in archive.sent(session, newsletter.id)}
        numbers = addresses((issue.id, issue.number) for issue in sent.values())
        hits, total = archive.find(
            session,
            list(sent),
            query,
            stems,
            language,
            newsletter.languages,
            limit=PAGE,
            offset=(page - 1) * PAGE,
        )
        if not hits and page > 1:
            return None
        keys = {section.id: section.key for section in newsletters.sections(session, newsletter.id)}
        texts = [(plain(hit.headline), plain(hit.body)) for hit in hits]
        meant = _meant(session, hits, texts, query, stems)
        found = tuple(
            Found(
                story=hit.story,
                section=keys[hit.section],
                issue=numbers[hit.issue],
                number=sent[hit.issue].number,
                language=hit.language,
                headline=tuple(searching.marked(headline, meant[hit.language])),
                snippet=tuple(searching.snippet(body, meant[hit.language])),
            )
            for hit, (headline, body) in zip(hits, texts, strict=True)
        )
        return Results(query, found, total, page, max(1, -(-total // PAGE)))


def _meant(
    session: Session,
    hits: Sequence[Hit],
    texts: Sequence[tuple[str, str]],
    query: str,
    stems: Sequence[str],
) -> dict[str, frozenset[str]]:
    """Language → the words in these texts that the query means."""
    words: dict[str, set[str]] = defaultdict(set)
    for hit, parts in zip(hits, texts, strict=True):
        words[hit.language].update(*map(searching.words, parts))
    return {tag: archive.meant(session, said, query, stems, tag) for tag, said in words.items()}
