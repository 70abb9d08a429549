"""Any story of a newsletter is found, past and coming, and used again."""

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from mailer.adapters.markdown import inline_text
from mailer.bootstrap import Container
from mailer.domain.errors import ChangeRefused
from mailer.domain.search import StoryFilter
from mailer.domain.states import InvalidIssueState, IssueState, TextSubject, TranslationStatus, VersionKind
from mailer.domain.versions import TextKey
from mailer.services.issues import approve, compile, edit, new_issue, plan, story_search, use_again
from mailer.services.issues.new_issue import NewIssue
from mailer.services.issues.story_search import FoundStory
from mailer.store import issues, newsletters, text_versions
from mailer.store import story_search as store
from mailer.store.archive import MAX_RANKED


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int]) -> int:
    """The sample issue, sent."""
    issue = import_issue("en", "fr")
    with app.database.transaction() as session:
        issues.by_id(session, issue).state = IssueState.sent
    return issue


@pytest.fixture
def draft(app: Container, issue: int) -> int:
    newsletter = plan.load_head(app.database, issue).newsletter
    return new_issue.begin(app.database, newsletter, NewIssue("2026/4", date(2026, 11, 1)), "tests")


def find(app: Container, page: int = 1, **only: object) -> tuple[FoundStory, ...]:
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen-basin").id
    wanted = StoryFilter(**only)  # type: ignore[arg-type]
    return story_search.search(app.database, inline_text, app.urls, newsletter, wanted, page).stories


def marked(story: FoundStory) -> str:
    return "".join(f"[{piece.text}]" if piece.is_match else piece.text for piece in (*story.headline, *story.excerpt))


def section(app: Container, issue: int, number: int) -> tuple[int, str]:
    with app.database.transaction() as session:
        row = issues.sections(session, issues.by_id(session, issue))[number]
        return row.id, row.key


def test_words_are_found_in_each_language_and_in_drafts(app: Container, issue: int, draft: int) -> None:
    (story, *_) = find(app, query="flooding")
    assert (story.issue, story.number, story.state, story.language) == (issue, "2026/3", IssueState.sent, "en")
    assert story.languages == ("en", "fr")
    assert "[floods]" in marked(story)
    assert find(app, query="éclusiers")[0].language == "fr"
    written, _ = edit.add_story(app.database, draft, section(app, draft, 0)[1], "tests")
    with app.database.transaction() as session:
        issues.story_texts(session, draft)[written]["en"].headline = "Zebra mussels"
    assert [one.id for one in find(app, query="mussel")] == [written]
    assert find(app, query="zzzz") == ()


def test_filters(app: Container, issue: int, draft: int) -> None:
    planned = plan.load_plan(app.database, app.urls, issue)
    number, key = section(app, issue, 1)
    wanted = {story.id for one in planned.sections if one.key == key for story in one.stories}
    assert {one.id for one in find(app, section=number)} == wanted
    assert {one.section for one in find(app, section=number)} == {key}
    pictured = {story.id for story in planned.planned_stories if story.has_picture}
    assert {one.id for one in find(app, with_picture=True)} == pictured
    assert all(one.picture_url for one in find(app, with_picture=True))
    assert find(app, issue=draft) == ()
    edit.add_story(app.database, draft, key, "tests")
    (untitled,) = find(app, issue=draft)
    assert (untitled.headline, untitled.languages) == ((), ("en",))
    assert find(app, issue=draft, language="fr") == ()
    assert len(find(app, issue=issue, language="fr")) == planned.stories
    assert {one.language for one in find(app, language="fr")} == {"fr"}


def test_pages_are_bounded(app: Container, issue: int) -> None:
    total = plan.load_plan(app.database, app.urls, issue).stories
    with app.database.transaction() as session:
        copies = """
            INSERT INTO story (issue_id, section_id, position)
            SELECT :issue, (SELECT min(id) FROM section), n FROM generate_series(100, 140) n
        """
        session.execute(text(copies), {"issue": issue})
    pages = [find(app, page) for page in range(1, 6)]
    assert [len(page) for page in pages[:2]] == [story_search.PAGE_SIZE] * 2
    assert len({one.id for page in pages for one in page}) == total + 41


@given(typed=st.text(max_size=80))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_can_be_typed(app: Container, import_issue: Callable[..., int], typed: str) -> None:
    if not issues_of(app):
        import_issue("en")
    find(app, query=typed.replace("\0", ""))


def issues_of(app: Container) -> int:
    with app.database.transaction() as session:
        return session.scalar(text("SELECT count(*) FROM issue")) or 0


@pytest.mark.parametrize("query", ["", "lumen"])
def test_texts_are_read_for_one_page_only(app: Container, issue: int, query: str) -> None:
    """Whatever is sorted or limited holds no text."""
    only = StoryFilter(query)
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen-basin").id
        values = store.values(newsletter, only, [], ["en", "fr"], "en", 21, 0)
        explain = text("EXPLAIN (FORMAT JSON, VERBOSE) " + store.statement(only))
        (planned,) = session.execute(explain, values).scalar_one()
    todo, limits = [planned["Plan"]], 0
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if node["Node Type"] in ("Limit", "Unique") and node.get("Subplan Name") != "SubPlan 1":
            limits += 1
            assert not [column for column in node["Output"] if column.rpartition(".")[2] == "body"]
    assert limits


def test_of_a_word_that_every_text_has_the_newest_stories_are_ranked(app: Container, issue: int) -> None:
    """The others are not even read."""
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen-basin").id
        copies = """
            WITH added AS (
                INSERT INTO story (issue_id, section_id, position)
                SELECT :issue, (SELECT min(id) FROM section), n FROM generate_series(100, 99 + :stories) n RETURNING id
            )
            INSERT INTO story_translation (story_id, language, headline, body, status, alt, link, link_label, datelines)
            SELECT id, 'en', 'Zebra', '', 'ready', '', '', '', '[]' FROM added
        """
        session.execute(text(copies), {"issue": issue, "stories": MAX_RANKED + 30})
        newest = set(session.scalars(text("SELECT id FROM story ORDER BY id DESC LIMIT :n"), {"n": MAX_RANKED}))
        only = StoryFilter("zebra")
        values = store.values(newsletter, only, [], ["en"], "en", 21, 0)
        explain = text("EXPLAIN (ANALYZE, FORMAT JSON) " + store.statement(only))
        (planned,) = session.execute(explain, values).scalar_one()
    found = [story_search.search(app.database, inline_text, app.urls, newsletter, only, page) for page in range(1, 26)]
    assert {story.id for page in found for story in page.stories} == newest
    assert [page.has_more for page in found] == [True] * 24 + [False]
    todo, ranked = [planned["Plan"]], []
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if node["Node Type"] == "Limit" and node["Actual Rows"] == MAX_RANKED:
            ranked += [below["Actual Rows"] for below in node["Plans"] if "Subplan Name" not in below]
    assert ranked == [MAX_RANKED]


def test_a_story_is_used_again_with_all_its_translations(app: Container, issue: int, draft: int) -> None:
    newsletter = plan.load_head(app.database, draft).newsletter
    (story, *_) = find(app, query="flooding")
    key = section(app, draft, 3)[1]
    copy = use_again.use_again(app.database, newsletter, story.id, draft, key, "tests", as_drafts=True)
    with app.database.transaction() as session:
        old, new = issues.story_texts(session, issue)[story.id], issues.story_texts(session, draft)[copy]
        for tag in ("en", "fr"):
            assert text_versions.content_of(old[tag]) == text_versions.content_of(new[tag])
            assert new[tag].status is TranslationStatus.draft
        source, translation = (
            text_versions.head(session, TextKey(draft, TextSubject.story, copy, tag)) for tag in ("en", "fr")
        )
        assert source and translation
        assert translation.source_version_id == source.id
        row = session.execute(text("SELECT * FROM story WHERE id = :copy"), {"copy": copy}).one()
        assert row.copied_from_id == story.id
        assert row.picture_id
    planned = plan.load_plan(app.database, app.urls, draft)
    assert [(one.key, [two.id for two in one.stories]) for one in planned.sections] == [(key, [copy])]
    ready = use_again.use_again(app.database, newsletter, story.id, draft, "", "tests", as_drafts=False)
    loaded = compile.load_issue(app.database, app.urls, draft)
    assert [(one.story, set(one.texts)) for one in loaded.stories if one.texts] == [(ready, {"en", "fr"})]


def test_what_cannot_be_used_again_is_refused(app: Container, issue: int, draft: int) -> None:
    newsletter = plan.load_head(app.database, draft).newsletter
    story = find(app)[0].id

    def use(of: int, one: int, target: int, key: str = "") -> int:
        return use_again.use_again(app.database, of, one, target, key, "tests", as_drafts=True)

    for of, one, key, words in (
        (newsletter, 999, "", "no such story"),
        (newsletter + 1, story, "", "no such story"),
        (newsletter, story, "nowhere", "no section"),
    ):
        with pytest.raises(ChangeRefused, match=words):
            use(of, one, draft, key)
    with pytest.raises(InvalidIssueState):
        use(newsletter, story, issue)


def test_a_translation_that_is_out_of_date_is_used_again_as_a_draft(
    app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en", "fr")
    newsletter = plan.load_head(app.database, issue).newsletter
    story = find(app)[0].id
    with app.database.transaction() as session:
        texts = issues.story_texts(session, issue)[story]
        for tag in ("en", "fr", "en"):
            key = TextKey(issue, TextSubject.story, story, tag)
            text_versions.record(session, key, text_versions.content_of(texts[tag]), "tests", VersionKind.saved)
            texts["en"].body += " More."
    copy = use_again.use_again(app.database, newsletter, story, issue, "", "tests", as_drafts=False)
    with app.database.transaction() as session:
        texts = issues.story_texts(session, issue)[copy]
    assert {tag: row.status for tag, row in texts.items()} == {
        "en": TranslationStatus.ready,
        "fr": TranslationStatus.draft,
    }
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
