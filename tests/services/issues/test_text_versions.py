"""Versions of a text are listed and compared, and one is put back."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mailer.bootstrap import Container
from mailer.domain.errors import ChangeRefused
from mailer.domain.issue_check import check_issue
from mailer.domain.states import InvalidIssueState, TextSubject, TranslationStatus, VersionKind
from mailer.domain.text_fields import TypedText
from mailer.domain.versions import TextKey
from mailer.models import Issue, StoryTranslation
from mailer.services.issues import approve, compile, edit, plan, text_versions, write_text
from mailer.services.issues.plan import TextMark
from mailer.services.issues.write_text import SaveOrder
from mailer.services.maintenance import retention
from tests.conftest import NOW


@pytest.fixture
def key(app: Container, import_issue: Callable[..., int]) -> TextKey:
    issue = import_issue("en", "fr")
    story = edit.list_stories(app.database, issue)[0].story
    return TextKey(issue, TextSubject.story, story, "en")


def headline(app: Container, key: TextKey) -> str:
    return str(write_text.load_state(app.database, key).content["headline"])


def save(app: Container, key: TextKey, text: str, base: str | None = None, *, minor: bool = False) -> None:
    base = write_text.load_state(app.database, key).base if base is None else base
    write_text.save_text(app.database, key, SaveOrder(base, TypedText({"headline": text}), minor=minor), "ada", NOW)


def test_a_version_is_put_back_as_a_new_one(app: Container, key: TextKey) -> None:
    before = headline(app, key)
    save(app, key, "Changed")
    (now, first) = text_versions.list_versions(app.database, key).versions
    assert (now.kind, now.by, now.is_head) == (VersionKind.saved, "ada", True)
    assert (first.kind, first.is_head) == (VersionKind.imported, False)
    text_versions.restore(app.database, key, first.id, "ben")
    assert headline(app, key) == before
    restored, *others = text_versions.list_versions(app.database, key).versions
    assert (restored.kind, restored.by, [one.id for one in others]) == (VersionKind.restored, "ben", [now.id, first.id])
    text_versions.restore(app.database, key, restored.id, "ben")
    assert len(text_versions.list_versions(app.database, key).versions) == 3, "it is the text already"


def test_what_was_set_aside_is_compared_and_put_back(app: Container, key: TextKey) -> None:
    base = write_text.load_state(app.database, key).base
    save(app, key, "Ada's headline")
    save(app, key, "Ben's headline", base)
    kept = text_versions.list_versions(app.database, key).versions[0]
    assert (kept.kind, kept.is_head, headline(app, key)) == (VersionKind.set_aside, False, "Ada's headline")
    comparison = text_versions.compare(app.database, key, kept.id)
    assert comparison and comparison.old and comparison.old.is_head
    (field,) = comparison.fields
    assert [run.text for run in field.paragraphs[0]] == ["Ada", "Ben", "'s headline"]
    text_versions.restore(app.database, key, kept.id, "ben")
    assert headline(app, key) == "Ben's headline"


def test_a_removed_text_comes_back_as_a_draft(app: Container, key: TextKey) -> None:
    before = headline(app, key)
    edit.remove_story(app.database, key.issue, key.subject_id, "en", "ada")
    removed, imported = text_versions.list_versions(app.database, key).versions
    with pytest.raises(ChangeRefused):
        text_versions.restore(app.database, key, removed.id, "ada")
    text_versions.restore(app.database, key, imported.id, "ada")
    assert headline(app, key) == before
    assert write_text.load_state(app.database, key).status is TranslationStatus.draft


def test_only_versions_of_this_text_are_put_back_while_it_may_change(app: Container, key: TextKey) -> None:
    french = TextKey(key.issue, TextSubject.story, key.subject_id, "fr")
    (other,) = text_versions.list_versions(app.database, french).versions
    assert text_versions.compare(app.database, key, other.id) is None
    with pytest.raises(ChangeRefused):
        text_versions.restore(app.database, key, other.id, "ada")
    save(app, key, "Changed")
    (_, first) = text_versions.list_versions(app.database, key).versions
    edit.remove_story(app.database, key.issue, key.subject_id, "", "ada")
    with pytest.raises(ChangeRefused, match="removed"):
        text_versions.restore(app.database, key, first.id, "ada")
    approve.approve(app.database, compile.load_issue(app.database, app.urls, key.issue), "ada")
    with pytest.raises(InvalidIssueState):
        text_versions.restore(app.database, key, first.id, "ada")


def test_versions_are_deleted_a_year_after_the_issue(app: Container, key: TextKey) -> None:
    policy = retention.RetentionPolicy(0, 0, 0, 0, 0)
    save(app, key, "Changed")
    finished_at = NOW + timedelta(days=900)
    for days, left in ((0, 2), (364, 2), (366, 0)):
        retention.run(app.database, policy, finished_at + timedelta(days=days))
        assert len(text_versions.list_versions(app.database, key).versions) == left
        with app.database.transaction() as session:
            session.get_one(Issue, key.issue).finished_at = finished_at
    assert headline(app, key) == "Changed"


def test_the_plan_and_the_check_name_drafts_and_stale_translations(app: Container, key: TextKey) -> None:
    french = TextKey(key.issue, TextSubject.story, key.subject_id, "fr")

    def marks() -> dict[str, TextMark]:
        story = plan.load_plan(app.database, app.urls, key.issue).sections[0].stories[0]
        return {mark.language: mark.mark for mark in story.marks}

    def messages() -> str:
        source = compile.load_issue(app.database, app.urls, key.issue)
        return " ".join(finding.message for finding in check_issue(source) if not finding.blocks)

    save(app, key, "A typo less", minor=True)
    assert (marks()["en"], marks()["fr"]) == (TextMark.ready, TextMark.ready)
    save(app, key, "Something else")
    assert (marks()["en"], marks()["fr"]) == (TextMark.ready, TextMark.stale)
    assert "1 story was changed since it was translated: Something else" in messages()
    change = text_versions.list_versions(app.database, french).source_change
    assert change and (change.language, change.new) == (
        "en",
        text_versions.list_versions(app.database, key).versions[0].id,
    )
    with app.database.transaction() as session:
        session.get_one(StoryTranslation, (key.subject_id, "fr")).status = TranslationStatus.draft
    assert marks()["fr"] is TextMark.draft
    assert "1 story is a draft, which readers do not get: Something else" in messages()
