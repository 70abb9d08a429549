"""A story is held over into another draft, and comes back."""

from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import InvalidIssueState, IssueEventKind, TextSubject
from mailer.domain.versions import TextKey
from mailer.services.issues import approve, compile, edit, hold_over, new_issue, plan, report
from mailer.services.issues.new_issue import NewIssue
from mailer.store import contacts, text_versions
from tests.services.issues.test_edit import content

TODAY = date(2026, 10, 2)


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int]) -> int:
    return import_issue("en", "ar")


def stories_of(app: Container, issue: int) -> list[int]:
    return [story.id for story in plan.load_plan(app.database, app.urls, issue).planned_stories]


def shared_note(app: Container) -> tuple[int, list[int]]:
    """Return a contact note that covers several stories, and these."""
    with app.database.transaction() as session:
        query = """
            SELECT contact_id, array_agg(story_id ORDER BY story_id) FROM contact_story
            GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1
        """
        note, covered = session.execute(text(query)).one()
        return note, covered


def test_a_story_moves_with_all_that_belongs_to_it(app: Container, issue: int) -> None:
    note, covered = shared_note(app)
    story, before = covered[-1], stories_of(app, issue)
    loaded = compile.load_issue(app.database, app.urls, issue)
    source = next(one for one in loaded.stories if one.story == story)
    draft = hold_over.hold_over(app.database, issue, story, None, TODAY, "tests")
    assert draft.number == "2026/4"
    assert stories_of(app, draft.id) == [story]
    assert stories_of(app, issue) == [one for one in before if one != story]
    (moved,) = compile.load_issue(app.database, app.urls, draft.id).stories
    assert (moved.texts, moved.picture, moved.section_bit) == (source.texts, source.picture, source.section_bit)
    assert moved.texts["en"].contacts
    with app.database.transaction() as session:
        left = {contact.id: stories for contact, _, stories in contacts.of_issue(session, issue)}
    assert left[note] == covered[:-1]
    for one in (issue, draft.id):
        assert IssueEventKind.story_held_over in [kind for _, _, kind, _ in report.events(app.database, one)]


def test_its_versions_go_along(app: Container, issue: int) -> None:
    story = stories_of(app, issue)[0]
    with app.database.transaction() as session:
        before = text_versions.head(session, TextKey(issue, TextSubject.story, story, "ar"))
    draft = hold_over.hold_over(app.database, issue, story, None, TODAY, "tests")
    with app.database.transaction() as session:
        after = text_versions.head(session, TextKey(draft.id, TextSubject.story, story, "ar"))
        assert (before and before.id) == (after and after.id)
        assert text_versions.head(session, TextKey(issue, TextSubject.story, story, "ar")) is None


def test_each_story_that_is_held_over_comes_back_as_it_was(app: Container, issue: int) -> None:
    """In the order of undoing, with the notes that it shares."""
    before = content(app)
    target = new_issue.begin(
        app.database, plan.load_head(app.database, issue).newsletter, NewIssue("2026/4", TODAY), "tests"
    )
    held = stories_of(app, issue)
    for story in held:
        hold_over.hold_over(app.database, issue, story, target, TODAY, "tests")
    assert stories_of(app, issue) == []
    assert sorted(stories_of(app, target)) == sorted(held)
    for change in edit.list_changes(app.database, issue):
        assert change.target == target
        edit.undo(app.database, issue, change.id, "tests")
    assert content(app) == before
    assert stories_of(app, target) == []


def test_a_story_comes_back_from_a_draft_that_was_deleted(app: Container, issue: int) -> None:
    before = content(app)
    draft = hold_over.hold_over(app.database, issue, stories_of(app, issue)[0], None, TODAY, "tests")
    edit.delete_draft(app.database, draft.id, "tests")
    edit.undo(app.database, issue, edit.list_changes(app.database, issue)[0].id, "tests")
    assert content(app) == before


def test_no_story_is_in_two_issues(app: Container, issue: int) -> None:
    """A story that was held over, and then removed or sent back, is put back once."""
    first, second = stories_of(app, issue)[:2]
    draft = hold_over.hold_over(app.database, issue, first, None, TODAY, "tests")
    hold_over.hold_over(app.database, issue, second, draft.id, TODAY, "tests")
    edit.remove_story(app.database, draft.id, first, "", "tests")
    hold_over.hold_over(app.database, draft.id, second, issue, TODAY, "tests")
    for change in edit.list_changes(app.database, issue):
        with pytest.raises(ChangeRefused, match="cannot be undone any more"):
            edit.undo(app.database, issue, change.id, "tests")
    (removed,) = [
        one for one in edit.list_changes(app.database, draft.id) if one.headline and one.texts and not one.target
    ]
    edit.undo(app.database, draft.id, removed.id, "tests")
    assert stories_of(app, draft.id) == [first]
    assert second in stories_of(app, issue)


def test_what_cannot_be_held_over_is_refused(app: Container, issue: int) -> None:
    story = stories_of(app, issue)[0]
    with pytest.raises(ChangeRefused, match="another draft"):
        hold_over.hold_over(app.database, issue, story, issue, TODAY, "tests")
    draft = hold_over.hold_over(app.database, issue, story, None, TODAY, "tests")
    with pytest.raises(ChangeRefused, match="has no story"):
        hold_over.hold_over(app.database, issue, story, draft.id, TODAY, "tests")
    other = stories_of(app, issue)[0]
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    for source, target, one in ((issue, draft.id, other), (draft.id, issue, story), (issue, None, other)):
        with pytest.raises(InvalidIssueState):
            hold_over.hold_over(app.database, source, one, target, TODAY, "tests")
    assert len(hold_over.list_drafts(app.database, plan.load_head(app.database, issue).newsletter)) == 1
