"""An issue is begun, blank or from the last one of its newsletter, and written without a document."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from mailer.adapters import cldr
from mailer.bootstrap import Container
from mailer.domain.errors import ChangeRefused
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.states import InvalidIssueState, IssueState, TextSubject, TranslationStatus
from mailer.domain.versions import TextKey
from mailer.services.issues import approve, compile, draft_languages, edit, new_issue, plan
from mailer.services.issues.approve import NotApproved
from mailer.services.issues.new_issue import NewIssue, NumberTaken
from mailer.services.newsletters.apply import apply_newsletter
from mailer.store import contacts, issues, newsletters, text_versions
from tests.conftest import SAMPLE

TODAY = date(2026, 10, 2)
WANTED = NewIssue("2026/4", date(2026, 11, 1))


def newsletter_of(app: Container) -> int:
    with app.database.transaction() as session:
        return newsletters.get(session, "lumen-basin").id


def apply_sample(app: Container) -> int:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    return newsletter_of(app)


def test_number_and_date_are_moved_on(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en", "fr")
    newsletter = newsletter_of(app)
    with app.database.transaction() as session:
        issue_date = issues.by_id(session, issue).issue_date
    proposal = new_issue.propose(app.database, newsletter, TODAY)
    assert (proposal.last, proposal.last_number, proposal.languages) == (issue, "2026/3", ("en", "fr"))
    assert (proposal.number, proposal.issue_date) == ("2026/4", TODAY)  # nothing tells the interval yet
    new_issue.begin(app.database, newsletter, NewIssue("2026/4", issue_date + timedelta(days=14)), "tests")
    proposal = new_issue.propose(app.database, newsletter, TODAY)
    assert (proposal.number, proposal.issue_date) == ("2026/5", issue_date + timedelta(days=28))


def test_an_issue_begins_as_the_last_one_was(app: Container, import_issue: Callable[..., int]) -> None:
    last = import_issue("en", "ar")
    head = plan.load_head(app.database, last)
    keys = list(plan.load_plan(app.database, app.urls, last).section_titles)
    edit.move_section(app.database, last, keys[2], head.revision, "tests", place=1)
    with app.database.transaction() as session:
        issues.front_matter(session, last)["ar"].subject = "ماء"
        notes = {str(sorted(texts.items())) for _, texts, _ in contacts.of_issue(session, last)}
    wanted = replace(WANTED, from_last=True, contact_notes=True, header_image=True)
    issue = new_issue.begin(app.database, head.newsletter, wanted, "tests")
    planned = plan.load_plan(app.database, app.urls, issue)
    assert (planned.head.number, planned.head.issue_date) == ("2026/4", date(2026, 11, 1))
    assert list(planned.section_titles) == [keys[2], keys[0], keys[1], *keys[3:]]
    assert planned.begun_languages == {"en", "ar"}
    with app.database.transaction() as session:
        fronts = issues.front_matter(session, issue)
        assert {row.status for row in fronts.values()} == {TranslationStatus.draft}
        assert [fronts[tag].subject for tag in ("en", "ar")] == ["The Lumen Basin Quarterly 2026/4", ""]
        assert fronts["en"].intro == ""
        copied = contacts.of_issue(session, issue)
        assert {str(sorted(texts.items())) for _, texts, _ in copied} == notes
        assert issues.by_id(session, issue).header_image_id == issues.by_id(session, last).header_image_id
        key = TextKey(issue, TextSubject.contact, copied[0][0].id, "en")
        version = text_versions.head(session, key)
        assert version and version.content == {"text": copied[0][1]["en"]}
    assert len(planned.sections) == len({contact.story_id for contact, _, _ in copied})
    assert [story.headline for story in planned.planned_stories] == [""] * planned.stories
    bare = new_issue.begin(app.database, head.newsletter, replace(wanted, number="9", contact_notes=False), "tests")
    assert plan.load_plan(app.database, app.urls, bare).stories == 0


def test_a_number_is_used_once(app: Container, import_issue: Callable[..., int]) -> None:
    import_issue("en")
    newsletter = newsletter_of(app)
    with pytest.raises(NumberTaken):
        new_issue.begin(app.database, newsletter, replace(WANTED, number=" 2026/3 "), "tests")
    for number in ("", "  ", "x" * 41, "a\u200eb"):
        with pytest.raises(ChangeRefused, match="needs a number"):
            new_issue.begin(app.database, newsletter, replace(WANTED, number=number), "tests")
    with pytest.raises(ChangeRefused, match="too far away"):
        new_issue.begin(app.database, newsletter, replace(WANTED, issue_date=date(1990, 1, 1)), "tests")


def test_a_newsletter_has_a_limited_number_of_drafts(app: Container) -> None:
    newsletter = apply_sample(app)
    with app.database.transaction() as session:
        query = """
            INSERT INTO issue (newsletter_id, number, issue_date, state, missing_translations, revision)
            SELECT :newsletter, n::text, '2026-10-01', 'draft', 'fallback', 1 FROM generate_series(1, :drafts) n
        """
        session.execute(text(query), {"newsletter": newsletter, "drafts": new_issue.MAX_DRAFTS})
    with pytest.raises(ChangeRefused, match="drafts"):
        new_issue.begin(app.database, newsletter, WANTED, "tests")


def test_the_first_issue_of_a_newsletter_is_written_without_a_document(app: Container) -> None:
    newsletter = apply_sample(app)
    proposal = new_issue.propose(app.database, newsletter, TODAY)
    assert (proposal.number, proposal.issue_date, proposal.last) == ("2026/1", TODAY, None)
    wanted = NewIssue(proposal.number, proposal.issue_date, from_last=True)
    issue = new_issue.begin(app.database, newsletter, wanted, "tests")
    planned = plan.load_plan(app.database, app.urls, issue)
    assert (planned.stories, planned.begun_languages) == (0, frozenset({"en"}))
    first, second, *_ = planned.section_titles
    story, language = edit.add_story(app.database, issue, second, "tests")
    edit.add_story(app.database, issue, first, "tests")
    draft_languages.begin(app.database, issue, "fr", cldr.compose_dateline, "tests")
    source = compile.load_issue(app.database, app.urls, issue)
    with pytest.raises(NotApproved):
        approve.approve(app.database, source, "tests")
    with app.database.transaction() as session:
        for tag in (language, "fr"):
            front, written = issues.front_matter(session, issue)[tag], issues.story_texts(session, issue)[story][tag]
            assert {front.status, written.status} == {TranslationStatus.draft}
            front.subject, front.status = "Water", TranslationStatus.ready
            written.headline, written.status = "Rain", TranslationStatus.ready
        issues.bump_revision(session, issue)
    source = compile.load_issue(app.database, app.urls, issue)
    approve.approve(app.database, source, "tests")
    assert plan.load_head(app.database, issue).state is IssueState.approved
    for refused in (
        lambda: edit.add_story(app.database, issue, first, "tests"),
        lambda: draft_languages.begin(app.database, issue, "de", cldr.compose_dateline, "tests"),
        lambda: edit.move_section(app.database, issue, first, source.revision, "tests", step=1),
    ):
        with pytest.raises(InvalidIssueState):
            refused()


def test_what_cannot_be_added_is_refused_in_words(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    for language, words in (("xx", "no language xx"), ("en", "already")):
        with pytest.raises(ChangeRefused, match=words):
            draft_languages.begin(app.database, issue, language, cldr.compose_dateline, "tests")
    with pytest.raises(ChangeRefused, match="no section nowhere"):
        edit.add_story(app.database, issue, "nowhere", "tests")
    with app.database.transaction() as session:
        query = """
            INSERT INTO story (issue_id, section_id, position)
            SELECT :issue, (SELECT min(id) FROM section), n FROM generate_series(1, :stories) n
        """
        session.execute(text(query), {"issue": issue, "stories": edit.MAX_STORIES})
    key = next(iter(plan.load_plan(app.database, app.urls, issue).section_titles))
    with pytest.raises(ChangeRefused, match="300 stories"):
        edit.add_story(app.database, issue, key, "tests")


def test_a_story_of_an_issue_in_another_language_is_written_in_that_first(
    app: Container, import_issue: Callable[..., int]
) -> None:
    """It stays so when the newsletter's default language is begun later."""
    issue = import_issue("fr")
    key = next(iter(plan.load_plan(app.database, app.urls, issue).section_titles))
    story, language = edit.add_story(app.database, issue, key, "tests")
    draft_languages.begin(app.database, issue, "en", cldr.compose_dateline, "tests")
    with app.database.transaction() as session:
        assert (language, text_versions.source_language(session, TextKey(issue, TextSubject.story, story, ""))) == (
            "fr",
            "fr",
        )


def test_a_document_makes_what_was_begun_in_its_language_ready(
    app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    draft_languages.begin(app.database, issue, "fr", cldr.compose_dateline, "tests")
    assert "fr" not in compile.load_issue(app.database, app.urls, issue).front_matter
    import_issue("fr")
    source = compile.load_issue(app.database, app.urls, issue)
    assert "fr" in source.front_matter
    assert all("fr" in story.texts for story in source.stories)
