"""A language of an issue is begun with what is not language, undone while it is empty, and marked as ready."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mailer.adapters import cldr
from mailer.bootstrap import Container
from mailer.domain.content import Dateline, DateRange
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import (
    InvalidIssueState,
    IssueEventKind,
    IssueState,
    TextSubject,
    TranslationStatus,
    VersionKind,
)
from mailer.domain.text_fields import TypedText
from mailer.domain.versions import TextKey
from mailer.models import StoryTranslation
from mailer.services.issues import draft_languages, mark_ready, plan, write_text
from mailer.services.issues.mark_ready import Lack
from mailer.services.issues.write_text import SaveOrder
from mailer.store import issues, text_versions

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)
FIRST, LAST = datetime(2026, 7, 12).date(), datetime(2026, 7, 14).date()
WHEN = Dateline("12-14 July 2026, Vrdnik", (DateRange(FIRST, LAST),), "Vrdnik").to_json()
TWICE = Dateline("12 and 14 July 2026, Vrdnik", (DateRange(FIRST, FIRST), DateRange(LAST, LAST)), "Vrdnik").to_json()
SOME_DAY = Dateline("Every Monday").to_json()
DATES = ["12.–14. Juli 2026, Vrdnik", "12. Juli 2026, 14. Juli 2026, Vrdnik", "Every Monday"]


@pytest.fixture
def key(app: Container, import_issue: Callable[..., int]) -> TextKey:
    """The first story in English, with a link, a credit and dates."""
    issue = import_issue("en")
    story = plan.load_plan(app.database, app.urls, issue).planned_stories[0].id
    with app.database.transaction() as session:
        source = issues.story_texts(session, issue)[story]["en"]
        source.link, source.picture_credit = "https://example.org/more", "Ada Example"
        source.datelines = [WHEN, TWICE, SOME_DAY]
    return TextKey(issue, TextSubject.story, story, "en")


def begin(app: Container, issue: int, language: str = "de") -> None:
    draft_languages.begin(app.database, issue, language, cldr.compose_dateline, "tests")


def text_of(app: Container, key: TextKey) -> StoryTranslation:
    with app.database.transaction() as session:
        return issues.story_texts(session, key.issue)[key.subject_id][key.language]


def save(app: Container, key: TextKey, **fields: object) -> None:
    order = SaveOrder(write_text.load_state(app.database, key).base, TypedText(fields))
    write_text.save_text(app.database, key, order, "tests", NOW)


def test_a_begun_text_has_what_is_not_language(app: Container, key: TextKey) -> None:
    begin(app, key.issue)
    german = replace(key, language="de")
    text = text_of(app, german)
    assert (text.headline, text.body, text.alt, text.status) == ("", "", "", TranslationStatus.draft)
    assert (text.link, text.picture_credit) == ("https://example.org/more", "Ada Example")
    assert [line["text"] for line in text.datelines] == DATES
    assert [(line["dates"], line["place"]) for line in text.datelines] == [
        (line["dates"], line["place"]) for line in (WHEN, TWICE, SOME_DAY)
    ]
    with app.database.transaction() as session:
        version = text_versions.head(session, german)
    assert version
    assert (version.kind, version.content["link"]) == (VersionKind.saved, text.link)


def test_a_new_translation_is_shown_with_what_is_not_language(app: Container, key: TextKey) -> None:
    german = replace(key, language="de")

    def shown(key: TextKey) -> tuple[str, list[str]]:
        content = write_text.load_begun_state(app.database, key, cldr.compose_dateline).content
        return content["link"], [line["text"] for line in content["datelines"]]

    assert shown(german) == ("https://example.org/more", DATES)
    assert write_text.load_state(app.database, german).content["link"] == ""  # nothing is written by looking at it
    save(app, german, headline="Wasser", link="")
    assert shown(german) == ("", [])
    save(app, german, headline="")
    assert shown(german) == ("", [])  # somebody wanted it so
    assert shown(key)[0] == "https://example.org/more"
    with app.database.transaction() as session:
        issues.by_id(session, key.issue).state = IssueState.sent
    assert shown(replace(key, language="el")) == ("", [])


def test_what_is_written_is_translated_from_the_source_of_that_day(app: Container, key: TextKey) -> None:
    begin(app, key.issue)
    german = replace(key, language="de")
    save(app, key, body="The source has changed since the language was begun.")
    save(app, german, headline="Wasser")
    with app.database.transaction() as session:
        assert german not in text_versions.stale(session, key.issue)
    save(app, key, body="It has changed since it was translated.")
    save(app, german, headline="Das Wasser")
    with app.database.transaction() as session:
        assert german in text_versions.stale(session, key.issue)


def test_a_language_of_which_the_issue_has_another_first_takes_from_that(
    app: Container, import_issue: Callable[..., int]
) -> None:
    """The newsletter's default language leads the issue only once it is begun."""
    issue = import_issue("fr")
    story = plan.load_plan(app.database, app.urls, issue).planned_stories[0].id
    key = TextKey(issue, TextSubject.story, story, "fr")
    save(app, key, link="https://example.org/plus")
    begin(app, issue, "en")
    assert text_of(app, replace(key, language="en")).link == "https://example.org/plus"


def test_a_begun_language_is_undone_while_nothing_is_written(app: Container, key: TextKey) -> None:
    begin(app, key.issue)
    assert draft_languages.unwritten(app.database, key.issue, cldr.compose_dateline) == {"de"}
    draft_languages.undo(app.database, key.issue, "de", cldr.compose_dateline, "tests")
    loaded = plan.load_plan(app.database, app.urls, key.issue)
    assert "de" not in loaded.begun_languages
    with app.database.transaction() as session:
        assert all("de" not in texts for texts in issues.story_texts(session, key.issue).values())
        version = text_versions.head(session, replace(key, language="de"))
        assert version
        assert version.kind is VersionKind.removed
        assert issues.events(session, key.issue)[-1].kind is IssueEventKind.language_removed
    begin(app, key.issue)
    begin(app, key.issue, "el")
    save(app, replace(key, language="de"), headline="Wasser")
    save(app, replace(key, language="el"), datelines=[WHEN])
    for language in ("de", "en", "el", "fr"):
        with pytest.raises(ChangeRefused):
            draft_languages.undo(app.database, key.issue, language, cldr.compose_dateline, "tests")
    assert text_of(app, replace(key, language="de")).headline == "Wasser"


def test_drafts_of_a_language_are_marked_as_ready(app: Container, key: TextKey) -> None:
    begin(app, key.issue)
    first, second, *others = [one.id for one in plan.load_plan(app.database, app.urls, key.issue).planned_stories]
    save(app, replace(key, language="de"), headline="Wasser", body="Es regnet.")
    save(app, replace(key, language="de", subject_id=second), headline="Wasser")
    revision = plan.load_head(app.database, key.issue).revision
    marked = mark_ready.mark_ready(app.database, key.issue, "de", "tests", NOW, sources=True)
    assert (marked.language, marked.marked) == ("de", 1)
    assert [(one.story, one.lack) for one in marked.remaining] == [
        (None, Lack.subject),
        (second, Lack.text),
        *((other, Lack.headline) for other in others),
    ]
    assert all(one.title for one in marked.remaining[1:])
    assert text_of(app, replace(key, language="de", subject_id=first)).status is TranslationStatus.ready
    assert text_of(app, replace(key, language="de", subject_id=second)).status is TranslationStatus.draft
    assert plan.load_head(app.database, key.issue).revision > revision
    with app.database.transaction() as session:
        event = issues.events(session, key.issue)[-1]
        assert (event.kind, event.detail) == (IssueEventKind.texts_ready, "de: 1")
        issues.front_matter(session, key.issue)["en"].status = TranslationStatus.draft
    source = mark_ready.mark_ready(app.database, key.issue, "en", "tests", NOW, sources=False)
    assert (source.marked, [one.lack for one in source.remaining]) == (0, [Lack.permission])
    with app.database.transaction() as session:
        issues.by_id(session, key.issue).state = IssueState.sent
    with pytest.raises(InvalidIssueState):
        mark_ready.mark_ready(app.database, key.issue, "de", "tests", NOW, sources=True)
