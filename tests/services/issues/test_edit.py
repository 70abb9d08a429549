"""Stories are moved and removed without a document, and put back as they were."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.content import EditionUrls
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import InvalidIssueState, IssueEventKind, StoryChangeKind, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.services.issues import approve, compile, edit, plan, report
from mailer.services.issues.edit import IssueOutdated
from mailer.store import approvals, issues, text_versions

CONTENT = {
    "story": """
        SELECT id, section_id, picture_id, source_issue_id, source_language, copied_from_id FROM story ORDER BY id
    """,
    "order": "SELECT id FROM story ORDER BY section_id, position, id",
    "order of sections": "SELECT id, section_order FROM issue WHERE section_order <> '{}'",
    "texts": """
        SELECT story_id, language, status, headline, datelines, body, alt, picture_credit, link, link_label
        FROM story_translation ORDER BY 1, 2
    """,
    "notes": "SELECT id, story_id FROM contact ORDER BY id",
    "order of notes": "SELECT id FROM contact ORDER BY story_id, position",
    "stories of notes": "SELECT contact_id, story_id FROM contact_story ORDER BY 1, 2",
    "texts of notes": "SELECT contact_id, language, text FROM contact_translation ORDER BY 1, 2",
}


def content(app: Container) -> dict[str, list[tuple[object, ...]]]:
    """Return all that an issue says, and in which order."""
    with app.database.transaction() as session:
        return {name: [tuple(row) for row in session.execute(text(query))] for name, query in CONTENT.items()}


def revision(app: Container, issue: int) -> int:
    return plan.load_head(app.database, issue).revision


def stories(app: Container, issue: int, section: int = 0) -> list[int]:
    return [story.id for story in plan.load_plan(app.database, app.urls, issue).sections[section].stories]


def test_every_removed_story_comes_back_as_it_was(app: Container, import_issue: Callable[..., int]) -> None:
    """Its texts in all languages, its picture and its contact notes, wherever it was, in any order of undoing."""
    issue = import_issue("en", "ar")
    with app.database.transaction() as session:
        session.execute(text("UPDATE story_translation SET picture_credit = 'Photo: ' || headline"))
    before = content(app)
    assert len(before["notes"]) > 3
    removed = [story.story for story in edit.list_stories(app.database, issue)]
    for story in removed:
        edit.remove_story(app.database, issue, story, "", "tests")
    assert content(app) == {name: [] for name in CONTENT}
    changes = edit.list_changes(app.database, issue)
    assert [change.kind for change in changes] == [StoryChangeKind.removed] * len(removed)
    for change in changes:
        edit.undo(app.database, issue, change.id, "tests")
    assert content(app) == before
    assert edit.list_changes(app.database, issue) == []
    with app.database.transaction() as session:
        heads = text_versions.heads(session, issue)
    stored = {(story, language): headline for story, language, _, headline, *_ in before["texts"]}
    recorded = {key: head for key, head in heads.items() if key.subject is TextSubject.story}
    assert {(key.subject_id, key.language): head.content["headline"] for key, head in recorded.items()} == stored
    with pytest.raises(ChangeRefused, match="cannot be undone any more"):
        edit.undo(app.database, issue, changes[0].id, "tests")


def test_a_removed_text_has_a_version_without_content(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en", "fr")
    story = edit.list_stories(app.database, issue)[0].story
    edit.remove_story(app.database, issue, story, "fr", "ada")
    with app.database.transaction() as session:
        head = text_versions.head(session, TextKey(issue, TextSubject.story, story, "fr"))
        assert head and (head.kind, head.actor, head.content) == (VersionKind.removed, "ada", {})


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_undoing_moves_and_removals_backwards_restores_an_issue(
    app: Container, import_issue: Callable[..., int], data: st.DataObject
) -> None:
    app.database.delete_all_rows()
    issue = import_issue("en")
    before = content(app)
    keys = list(plan.load_plan(app.database, app.urls, issue).section_titles)
    done = 0
    for _ in range(data.draw(st.integers(1, 5))):
        story = data.draw(st.sampled_from([one.story for one in edit.list_stories(app.database, issue)]))
        kind = data.draw(st.sampled_from(["remove", "up", "down", "section", *keys]))
        now, place = revision(app, issue), data.draw(st.none() | st.integers(0, 9))
        try:
            if kind == "remove":
                edit.remove_story(app.database, issue, story, "", "tests")
            elif kind == "section":
                edit.move_section(app.database, issue, data.draw(st.sampled_from(keys)), now, "tests", place=place or 1)
            elif kind in ("up", "down"):
                edit.move_story(app.database, issue, story, now, "tests", step={"up": -1, "down": 1}[kind])
            else:
                edit.move_story(app.database, issue, story, now, "tests", section=kind, place=place)
            done += 1
        except ChangeRefused:
            pass  # it is at that place already
    changes = edit.list_changes(app.database, issue)
    assert len(changes) == done
    for change in changes:
        edit.undo(app.database, issue, change.id, "tests")
    assert content(app) == before


def test_a_story_moves_within_its_section_and_to_another(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    first, second, *rest = stories(app, issue)
    edit.move_story(app.database, issue, first, revision(app, issue), "tests", step=1)
    assert stories(app, issue) == [second, first, *rest]
    edit.move_story(app.database, issue, first, revision(app, issue), "tests", step=-1)
    assert stories(app, issue) == [first, second, *rest]
    target = plan.load_plan(app.database, app.urls, issue).sections[1]
    edit.move_story(app.database, issue, first, revision(app, issue), "tests", section=target.key)
    assert stories(app, issue) == [second, *rest]
    assert stories(app, issue, 1) == [*(story.id for story in target.stories), first]
    kinds = [kind for _, _, kind, _ in report.events(app.database, issue)]
    assert kinds.count(IssueEventKind.story_moved) == 3


def test_a_story_moves_to_any_place_of_any_section(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    story, *rest = stories(app, issue)
    there = stories(app, issue, 1)
    key = plan.load_plan(app.database, app.urls, issue).sections[1].key
    for place in range(len(there) + 1):
        edit.move_story(app.database, issue, story, revision(app, issue), "tests", section=key, place=place + 1)
        assert stories(app, issue, 1) == [*there[:place], story, *there[place:]]
    assert stories(app, issue) == rest
    edit.move_story(app.database, issue, story, revision(app, issue), "tests", section=key, place=1)
    edit.move_story(app.database, issue, story, revision(app, issue), "tests", place=99)
    assert stories(app, issue, 1) == [*there, story]


def test_sections_are_printed_in_the_order_of_the_issue(app: Container, import_issue: Callable[..., int]) -> None:
    """In each edition, and again as before once that is undone; an approval is withdrawn."""
    issue = import_issue("en", "fr")

    def printed() -> list[str]:
        source = compile.load_issue(app.database, app.urls, issue)
        return [section.key for section in source.compose("fr", -1, EditionUrls("")).sections]

    before = printed()
    keys = list(plan.load_plan(app.database, app.urls, issue).section_titles)
    edit.move_section(app.database, issue, before[-1], revision(app, issue), "tests", place=1)
    assert printed() == [before[-1], *before[:-1]]
    edit.move_section(app.database, issue, before[-1], revision(app, issue), "tests", step=1)
    assert printed()[:2] == before[:1] + before[-1:]
    with pytest.raises(IssueOutdated):
        edit.move_section(app.database, issue, keys[0], revision(app, issue) - 1, "tests", step=1)
    for section, wanted in ((keys[0], {"step": -1}), (keys[0], {"place": 1}), ("nowhere", {"step": 1})):
        with pytest.raises(ChangeRefused):
            edit.move_section(app.database, issue, section, revision(app, issue), "tests", **wanted)
    for change in edit.list_changes(app.database, issue):
        edit.undo(app.database, issue, change.id, "tests")
    assert printed() == before


def test_another_order_of_sections_withdraws_approvals(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en", "fr")
    with app.database.transaction() as session:
        row = issues.by_id(session, issue)
        approvals.approve(session, issue, "en", approvals.load_fingerprints(session, row)["en"], "tests")
    key = plan.load_plan(app.database, app.urls, issue).sections[-1].key
    edit.move_section(app.database, issue, key, revision(app, issue), "tests", place=1)
    assert plan.load_head(app.database, issue).approved_languages == frozenset()


def test_a_shared_contact_note_stays_after_the_last_story_of_its_section(
    app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    with app.database.transaction() as session:
        query = """
            SELECT c.id, c.story_id, array_agg(s.story_id ORDER BY s.story_id) FROM contact c
            JOIN contact_story s ON s.contact_id = c.id GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1 LIMIT 1
        """
        note, last, covered = session.execute(text(query)).one()
    planned = plan.load_plan(app.database, app.urls, issue)
    other = next(section for section in planned.sections if last not in [story.id for story in section.stories])
    edit.move_story(app.database, issue, last, revision(app, issue), "tests", section=other.key)
    with app.database.transaction() as session:
        now_after = session.scalar(text("SELECT story_id FROM contact WHERE id = :id"), {"id": note})
    assert now_after in covered and now_after != last


def test_a_move_is_refused_in_words(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    first, *_, last = stories(app, issue)
    now = revision(app, issue)
    key = plan.load_plan(app.database, app.urls, issue).sections[0].key
    for story, wanted in ((first, {"step": -1}), (last, {"step": 1}), (first, {"section": key}), (first, {})):
        with pytest.raises(ChangeRefused, match="is there already"):
            edit.move_story(app.database, issue, story, now, "tests", **wanted)
    with pytest.raises(ChangeRefused, match="no section nowhere"):
        edit.move_story(app.database, issue, first, now, "tests", section="nowhere")
    with pytest.raises(ChangeRefused, match="has no story 999"):
        edit.move_story(app.database, issue, 999, now, "tests", step=1)
    with pytest.raises(IssueOutdated):
        edit.move_story(app.database, issue, first, now - 1, "tests", step=1)
    edit.remove_story(app.database, issue, last, "", "tests")
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    for refused in (
        lambda: edit.move_story(app.database, issue, first, revision(app, issue), "tests", step=1),
        lambda: edit.undo(app.database, issue, edit.list_changes(app.database, issue)[0].id, "tests"),
    ):
        with pytest.raises(InvalidIssueState):
            refused()
