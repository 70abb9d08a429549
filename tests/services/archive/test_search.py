"""Full-text search in the archive."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql

from mailer.adapters.markdown import inline_text
from mailer.bootstrap import Container
from mailer.domain.errors import QueryTimeout
from mailer.domain.search import Fragment
from mailer.domain.states import IssueState
from mailer.models import Newsletter
from mailer.services.archive import search
from mailer.services.archive.search import SearchPage
from mailer.store import archive, issues, newsletters
from mailer.store.database import Database
from tests.conftest import SAMPLE

Ask = Callable[..., SearchPage]


@pytest.fixture
def ask(app: Container, import_issue: Callable[..., int]) -> Ask:
    """The sample issue in all its languages, sent, and a search in it."""
    languages = sorted((file.stem.partition(".")[2] for file in SAMPLE.glob("2026-3.*.md")), key=lambda t: t != "en")
    issue = import_issue(*languages)
    with app.database.transaction() as session:
        row = issues.by_id(session, issue)
        assert row
        row.state = IssueState.sent

    def run(language: str, typed: str, page: int = 1) -> SearchPage:
        found = search.search(app.database, inline_text, "lumen-basin", language, typed, page)
        assert found
        return found

    return run


def text(pieces: tuple[Fragment, ...]) -> str:
    return "".join(f"[{piece.text}]" if piece.is_match else piece.text for piece in pieces)


def test_word_forms_and_missing_accents_match(ask: Ask) -> None:
    for language, typed, headline in (
        ("en", "flooding", "New gauges warn of [floods] a day earlier"),
        ("fr", "ecoles", "Une [école] du soir pour les éclusiers"),
        ("de", "FLÜSSE", "Zweitausend Kinder lernen, den [Fluss] zu lesen"),
        ("es", "rio", "[río]"),
        ("ro", "raului", "Nouă țări semnează carta [râului] Lumen"),
        ("tr", "nehri", "[nehri]"),
        ("ru", "река", "Две тысячи школьников учатся читать [реку]"),
        ("uk", "річка", "Дев’ять країн підписали хартію [річки] Лумен"),
        ("bg", "Река", "Девет държави подписаха хартата за [река] Лумен"),
        ("bg", "реките", "Девет държави подписаха хартата за [река] Лумен"),
        ("mk", "река", "Девет земји ја потпишаа повелбата за [реката] Лумен"),
        ("sr-Cyrl", "поплава", "Нове водомерне станице најављују [поплаве] дан раније"),
        ("sr-Latn", "поплаве", "Nove vodomerne stanice najavljuju [poplave] dan ranije"),
        ("el", "ποταμι", "Εννέα χώρες υπογράφουν τη χάρτα του [ποταμού] Λούμεν"),
        ("ar", "نهر", "تسعة بلدان توقّع ميثاق [نهر] لومن"),
        ("sq", "lumi", "Nëntë vende nënshkruajnë kartën e [lumit] [Lumen]"),
        ("sl", "reki", "[reki]"),
    ):
        results = ask(language, typed)
        assert results.total, (language, typed)
        assert results.results[0].language == language
        shown = [text(found.headline) + text(found.snippet) for found in results.results]
        assert any(headline.casefold() in words.casefold() for words in shown), (language, typed, shown[0])


def test_the_readers_language_comes_first_and_each_story_once(ask: Ask) -> None:
    for language in ("mk", "en", "ar"):
        results = ask(language, "lumen OR Лумен OR لومن")
        tags = [found.language for found in results.results]
        assert tags[0] == language
        assert sorted(tags, key=lambda tag: tag != language) == tags
        pages = [ask(language, results.query, page) for page in range(1, results.pages + 1)]
        stories = [found.story_id for page in pages for found in page.results]
        assert len(stories) == len(set(stories)) == results.total


def test_quotes_and_minus_are_understood(ask: Ask) -> None:
    assert {text(found.headline) for found in ask("en", '"market boats" harbour').results} == {
        "[Market] [boats] return to the old [harbour]"
    }
    boats = ask("en", "boats")
    assert 0 < ask("en", "boats -melons").total < boats.total


HOSTILE = [
    "",
    "   ",
    "-",
    "\x00",
    "' OR 1=1 --",
    '"',
    "& | ! <-> :* ()",
    "%",
    "\\",
    "a" * 100_000,
    "-" * 5_000,
    "😀",
    "\ud800",
]


def test_hostile_queries_are_harmless(ask: Ask) -> None:
    for typed in HOSTILE:
        results = ask("mk", typed)
        assert (results.total, results.results, results.pages) == (0, (), 1), typed
        assert len(results.query) <= 200, typed


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["-", "--", '"', "or", "a", "-a", "!", "(", "'", " "])).map("".join),
    st.sampled_from(["en", "mk", "ar"]),
)
def test_any_query_text_is_handled(app: Container, typed: str, language: str) -> None:
    with app.database.transaction() as session:
        if newsletters.by_slug(session, "lumen-basin") is None:
            session.add(_newsletter())
    assert search.search(app.database, inline_text, "lumen-basin", language, typed) is not None


def _newsletter() -> Newsletter:
    return Newsletter(
        slug="lumen-basin",
        names={"en": "Lumen"},
        taglines={},
        sender_name="Lumen",
        sender_address="lumen@example.org",
        reply_to="",
        postal_address="1 Example Quay",
        website="",
        list_id="lumen.example.org",
        default_language="en",
        languages=["en", "mk", "ar"],
        fallbacks={},
        theme={},
    )


def test_only_sent_issues_of_public_newsletters_are_found(
    ask: Ask, database: Database, import_issue: Callable[..., int]
) -> None:
    assert ask("en", "ferry").total == 1
    with database.transaction() as session:
        row = issues.by_id(session, 1)
        assert row
        row.state = IssueState.approved
    assert ask("en", "ferry").total == 0
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, "lumen-basin")
        assert newsletter
        newsletter.public = False
    assert search.search(database, inline_text, "lumen-basin", "en", "ferry") is None


def test_no_pages_after_the_last(ask: Ask, database: Database) -> None:
    results = ask("en", "lumen")
    assert (results.pages, results.page) == (-(-results.total // search.PAGE_SIZE), 1)
    for page in (0, results.pages + 1, 10**6):
        assert search.search(database, inline_text, "lumen-basin", "en", "lumen", page) is None


def test_what_the_index_cannot_answer_finds_nothing(ask: Ask) -> None:
    assert ask("en", "ferry -zzzz").total == 1
    for language, typed in product(["en", "mk", "ar"], ["-zzzz", "-zzzz -yyyy", "ferry or -zzzz", '-"zzzz yyyy"']):
        assert (ask(language, typed).total, ask(language, typed).results) == (0, ()), (language, typed)


def test_texts_are_read_for_one_page_only(ask: Ask, database: Database) -> None:
    """The rows that are sorted hold no text: their width would show it."""
    values = {
        "issues": [1],
        "query": "lumen",
        "stems": "",
        "language": "en",
        "languages": ["en"],
        "limit": 1,
        "offset": 0,
    }
    with database.transaction() as session:
        query = sql("EXPLAIN (FORMAT JSON, VERBOSE) " + archive._SEARCH)
        (plan,) = session.execute(query, values).scalar_one()
    readers, todo = [], [plan["Plan"]]
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if any(column.rpartition(".")[2] == "body" for column in node.get("Output", [])):
            readers.append(node)
    assert readers
    assert not [node for node in readers if node.get("Subplan Name") == "CTE hits" or node["Node Type"] == "Unique"]


def test_of_a_word_that_every_text_has_the_newest_stories_are_ranked(ask: Ask, database: Database) -> None:
    """The others follow, however well they match."""
    with database.transaction() as session:
        copies = """
            WITH added AS (
                INSERT INTO story (issue_id, section_id, position)
                SELECT 1, (SELECT min(id) FROM section), n FROM generate_series(100, 99 + :stories) n RETURNING id
            )
            INSERT INTO story_translation (story_id, language, headline, body, status, alt, link, link_label, datelines)
            SELECT id, 'en', CASE WHEN n > :stories - 2 THEN 'Zebra' ELSE '' END, 'Zebra', 'ready', '', '', '', '[]'
            FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM added) numbered
        """
        session.execute(sql(copies), {"stories": archive.MAX_RANKED + 1})
    pages = [ask("en", "zebra", page) for page in range(1, archive.MAX_RANKED // search.PAGE_SIZE + 2)]
    stories = [found.story_id for page in pages for found in page.results]
    assert len(set(stories)) == len(stories) == pages[0].total == archive.MAX_RANKED + 1
    assert stories == [max(stories) - 1, *sorted(stories[1:-1]), max(stories)]


def test_a_slow_query_is_cancelled(database: Database) -> None:
    impatient = Database(database.url, public_timeout_seconds=0.05)
    with pytest.raises(QueryTimeout), impatient.public_transaction() as session:
        session.execute(sql("SELECT pg_sleep(60)"))
    with impatient.transaction() as session:
        session.execute(sql("SELECT pg_sleep(0.1)"))  # the limit ends with its transaction
    impatient.close()
