"""Saving a text that is written in the browser: what was written is the text, or it is kept and the writer is told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailer.bootstrap import Container
from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused
from mailer.domain.permissions import Role
from mailer.domain.states import IssueEventKind, TextSubject, TranslationStatus, VersionKind
from mailer.domain.text_fields import TypedText
from mailer.domain.versions import TextKey
from mailer.models import Story, TextVersion
from mailer.services.accounts.staff import Staff
from mailer.services.issues import approve, compile, edit, hold_over, issue_pictures, new_issue, plan, write_text
from mailer.services.issues import text_versions as text_versions_service
from mailer.services.issues.write_text import SaveOrder, SaveOutcome, SaveResult, TextMoved, TextNotFound, TooManySaves
from mailer.store import issues, newsletters, open_texts, text_versions
from tests.conftest import NOW
from tests.support.locks import wait_for_lock
from tests.support.pictures import jpeg
from tests.support.staff import add_account, staff_of

SECOND = timedelta(seconds=1)


@pytest.fixture
def key(app: Container, issue: int) -> TextKey:
    """The first story in English."""
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[0]
    return write_text.key_of(app.database, issue, story.id, "en")


@pytest.fixture
def amina(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "amina@example.org", Role.author), Role.author)


@pytest.fixture
def jovan(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "jovan@example.org", Role.author), Role.author, "Jovan")


class Writer:
    """Somebody who writes in one tab."""

    def __init__(self, app: Container, key: TextKey, actor: Actor, tab: str = "") -> None:
        self.app, self.key, self.actor, self.tab = app, key, actor, tab
        self.load()

    def load(self) -> None:
        self.base = write_text.load_state(self.app.database, self.key).base

    def save(self, *, at: int = 0, hears: bool = True, **fields: object) -> SaveResult:
        """Save the fields. ``hears``: whether the answer arrives."""
        options = {name: fields.pop(name) for name in list(fields) if name in SaveOrder.__dataclass_fields__}
        order = SaveOrder(self.base, TypedText(fields), tab=self.tab)
        order = replace(order, **options)  # type: ignore[arg-type]
        result = write_text.save_text(self.app.database, self.key, order, self.actor, NOW + at * SECOND)
        if hears and result.outcome is SaveOutcome.saved:
            self.base = result.text.base
        return result


def stored(app: Container, key: TextKey) -> str:
    return str(write_text.load_state(app.database, key).content["body"])


def versions(app: Container, key: TextKey) -> list[tuple[VersionKind, str]]:
    """The versions of a text, the latest first, with their bodies."""
    with app.database.transaction() as session:
        found: list[TextVersion] = text_versions.of_text(session, key, 20)
        return [(version.kind, version.content.get("body", "")) for version in found]


def test_saves_of_one_writer_are_one_version_and_one_event(app: Container, key: TextKey, amina: Staff) -> None:
    writer = Writer(app, key, amina, "a")
    for number in range(3):
        result = writer.save(body=f"Draft {number}")
        assert result.outcome is SaveOutcome.saved
        assert result.text.by == "Amina"
    assert stored(app, key) == "Draft 2"
    assert versions(app, key)[0] == (VersionKind.saved, "Draft 2")
    assert [kind for kind, _ in versions(app, key)].count(VersionKind.saved) == 1
    with app.database.transaction() as session:
        events = [event for event in issues.events(session, key.issue) if event.kind is IssueEventKind.written]
        front = issues.front_matter(session, key.issue)["en"]
        assert len(events) == 1
        assert events[0].detail.startswith("en: ")
        assert (front.imported_by_id, front.imported_by) == (amina.account, "Amina")


def test_fields_that_are_not_sent_stay_as_they_are(app: Container, key: TextKey, amina: Staff) -> None:
    before = write_text.load_state(app.database, key).content
    Writer(app, key, amina).save(headline="Another")
    assert write_text.load_state(app.database, key).content == {**before, "headline": "Another"}


def test_a_text_that_somebody_else_changed_keeps_both(app: Container, key: TextKey, amina: Staff, jovan: Staff) -> None:
    first, second = Writer(app, key, amina), Writer(app, key, jovan)
    first.save(body="Amina's text")
    refused = second.save(body="Jovan's text")
    assert refused.outcome is SaveOutcome.changed
    assert (refused.text.content["body"], refused.text.by) == ("Amina's text", "Amina")
    assert refused.kept
    assert stored(app, key) == "Amina's text"
    assert versions(app, key)[:2] == [(VersionKind.set_aside, "Jovan's text"), (VersionKind.saved, "Amina's text")]
    again = second.save(body="Jovan's text")
    assert again.kept == refused.kept  # once
    second.base = refused.text.base
    assert second.save(body="Jovan's text").outcome is SaveOutcome.saved
    assert stored(app, key) == "Jovan's text"


def test_the_same_text_twice_is_no_conflict(app: Container, key: TextKey, amina: Staff, jovan: Staff) -> None:
    first, second = Writer(app, key, amina), Writer(app, key, jovan)
    first.save(body="The same")
    result = second.save(body="The same")
    assert (result.outcome, result.kept) == (SaveOutcome.saved, None)


def test_a_save_whose_answer_was_lost_is_no_conflict_with_oneself(app: Container, key: TextKey, amina: Staff) -> None:
    writer = Writer(app, key, amina, "a")
    writer.save(body="One", hears=False)
    assert writer.save(body="One, two", hears=False).outcome is SaveOutcome.saved
    again = Writer(app, key, amina, "b")  # the browser was killed, and is opened again with what it had kept
    again.base = writer.base
    result = again.save(body="One, two, three", previous_tab="a", at=1)
    assert result.outcome is SaveOutcome.saved
    assert stored(app, key) == "One, two, three"


def test_a_second_tab_of_the_same_person_overwrites_nothing(app: Container, key: TextKey, amina: Staff) -> None:
    one, other = Writer(app, key, amina, "a"), Writer(app, key, amina, "b")
    one.save(body="In one tab")
    refused = other.save(body="In the other tab", at=1)
    assert refused.outcome is SaveOutcome.changed
    assert versions(app, key)[0] == (VersionKind.set_aside, "In the other tab")
    other.load()
    assert other.save(body="In the other tab", at=2).outcome is SaveOutcome.saved  # nobody is in their own way


def test_a_picture_set_on_its_page_is_no_conflict_with_oneself(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    """Whoever has the text open goes on with it, and the picture's texts stay. For anybody else it has changed."""
    mine, theirs = Writer(app, key, amina, "a"), Writer(app, key, jovan, "j")
    beat(app, key, amina, "a", shown=mine.base)
    beat(app, key, jovan, "j", shown=theirs.base)
    picture = issue_pictures.NewPicture(app.prepare_picture(jpeg(), "a.jpg"), "a.jpg")
    issue_pictures.set_story_picture(
        app.database, key.issue, key.subject_id, picture, "en", "A bridge", "", amina, None
    )
    saved = mine.save(body="Mine")
    assert saved.outcome is SaveOutcome.saved
    assert saved.text.content["alt"] == "A bridge"
    assert saved.text.picture is not None
    assert theirs.save(body="Theirs", at=60).outcome is SaveOutcome.changed
    edit.undo(app.database, key.issue, edit.list_changes(app.database, key.issue)[0].id, amina)
    undone = mine.save(body="Mine again")
    assert undone.outcome is SaveOutcome.saved
    assert undone.text.content["alt"] != "A bridge"


def test_who_writes_a_story_is_not_stopped_by_who_chooses_its_picture(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    writer, described = Writer(app, key, jovan, "j"), Writer(app, key, jovan, "k")
    picture = issue_pictures.NewPicture(app.prepare_picture(jpeg(), "a.jpg"), "a.jpg")
    issue_pictures.set_story_picture(
        app.database, key.issue, key.subject_id, picture, "en", "A bridge", "", amina, None
    )
    assert described.save(body="Text", alt="A river").outcome is SaveOutcome.changed
    assert described.save(body="Text", status=TranslationStatus.ready).outcome is SaveOutcome.changed
    saved = writer.save(body="Text")
    assert saved.outcome is SaveOutcome.saved
    assert (saved.text.content["body"], saved.text.content["alt"]) == ("Text", "A bridge")


def test_what_is_written_after_another_took_over_is_set_aside(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    first = Writer(app, key, amina, "a")
    first.save(body="Amina's text")
    seen = beat(app, key, jovan, "j")
    assert [(other.name, other.is_writer) for other in seen.others] == [("Amina", True)]
    assert not any(other.is_writer for other in beat(app, key, jovan, "j", take_over=True).others)
    refused = first.save(body="Amina's last words")
    assert refused.outcome is SaveOutcome.taken_over
    assert versions(app, key)[0] == (VersionKind.set_aside, "Amina's last words")
    assert stored(app, key) == "Amina's text"
    assert first.save(body="Amina's last words", take_over=True).outcome is SaveOutcome.saved
    assert [other.is_writer for other in beat(app, key, jovan, "j").others] == [True]


def test_who_is_not_seen_any_more_does_not_write(app: Container, key: TextKey, amina: Staff, jovan: Staff) -> None:
    Writer(app, key, amina, "a").save(body="Amina's text")
    second = Writer(app, key, jovan, "j")
    assert second.save(body="Jovan's text", at=20).outcome is SaveOutcome.taken_over
    assert beat(app, key, jovan, "j", at=31).others == []
    assert second.save(body="Jovan's text", at=31).outcome is SaveOutcome.saved


def test_who_pauses_lets_others_write_and_who_closes_is_gone(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    assert beat(app, key, amina, "a", writing=True).others == []
    beat(app, key, jovan, "j", writing=True)
    assert [other.is_writer for other in beat(app, key, jovan, "j").others] == [True]
    beat(app, key, amina, "a")
    beat(app, key, jovan, "j", writing=True)
    assert [other.is_writer for other in beat(app, key, amina, "a", writing=True).others] == [True]
    write_text.close(app.database, key, amina, "j")  # another's tab
    assert [other.name for other in beat(app, key, amina, "a").others] == ["Jovan"]
    write_text.close(app.database, key, jovan, "j")
    assert beat(app, key, amina, "a").others == []


def test_tabs_of_a_text_do_not_wait_for_each_other(app: Container, key: TextKey, amina: Staff, jovan: Staff) -> None:
    for who, tab in ((amina, "a"), (jovan, "b")):
        beat(app, key, who, tab)
    with ThreadPoolExecutor() as threads, app.database.transaction() as session:
        open_texts.see(session, key, amina.account, "a", NOW)
        other = threads.submit(beat, app, key, jovan, "b", writing=True)
        wait_for_lock(session, other)
        open_texts.set_writer(session, key, "a")  # a deadlock if the other tab had locked its row alone
        session.commit()
        assert [one.tab for one in other.result(30).others] == ["a"]


def beat(app: Container, key: TextKey, who: Staff, tab: str, at: int = 0, **order: Any) -> write_text.OpenState:
    options: dict[str, Any] = {"writing": False, "take_over": False} | order
    return write_text.heartbeat(app.database, key, who, tab, NOW + at * SECOND, **options)


def test_an_issue_approved_meanwhile_keeps_what_was_written(app: Container, key: TextKey, amina: Staff) -> None:
    writer = Writer(app, key, amina, "a")
    before = stored(app, key)
    approve.approve(app.database, compile.load_issue(app.database, app.urls, key.issue), "tests")
    refused = writer.save(body="Too late")
    assert refused.outcome is SaveOutcome.closed
    assert refused.kept
    assert stored(app, key) == before
    assert versions(app, key)[0] == (VersionKind.set_aside, "Too late")


def test_a_story_removed_meanwhile_keeps_what_was_written(app: Container, key: TextKey, amina: Staff) -> None:
    writer = Writer(app, key, amina, "a")
    writer.save(body="In time")
    edit.remove_story(app.database, key.issue, key.subject_id, "", "tests")
    assert write_text.key_of(app.database, key.issue, key.subject_id, "en") == key
    refused = writer.save(body="Too late")
    assert refused.outcome is SaveOutcome.removed
    assert versions(app, key)[0] == (VersionKind.set_aside, "Too late")
    with app.database.transaction() as session:
        assert session.get(Story, key.subject_id) is None


def test_a_new_translation_is_a_draft_until_it_is_ready(app: Container, key: TextKey, amina: Staff) -> None:
    german = replace(key, language="de")
    writer = Writer(app, german, amina, "a")
    assert writer.base == ""
    assert writer.save(headline="").text.base == ""  # nothing is written yet
    writer.save(headline="Die Pegel", body="Ein Text")
    revision = compile.load_issue(app.database, app.urls, key.issue).revision
    assert write_text.load_state(app.database, german).status is TranslationStatus.draft
    assert (
        "de"
        not in next(
            story
            for story in compile.load_issue(app.database, app.urls, key.issue).stories
            if story.story == key.subject_id
        ).texts
    )
    writer.save(status=TranslationStatus.ready)
    source = compile.load_issue(app.database, app.urls, key.issue)
    assert source.revision > revision
    assert next(story for story in source.stories if story.story == key.subject_id).texts["de"].body == "Ein Text"


def test_a_change_withdraws_approvals_of_the_languages_that_show_it(app: Container, key: TextKey, amina: Staff) -> None:
    german = write_text.key_of(app.database, key.issue, None, "de")
    Writer(app, german, amina).save(subject="Betreff", status=TranslationStatus.ready)
    edit.remove_story(app.database, key.issue, key.subject_id, "fr", "tests")  # so that English is shown there
    seen = {row.language: row.fingerprint for row in approve.load(app.database, key.issue, "ann")}
    del seen["de"]
    approve.approve(app.database, compile.load_issue(app.database, app.urls, key.issue), "ann", seen=seen)
    Writer(app, german, amina).save(subject="Anderer Betreff")
    Writer(app, replace(key, language="fr"), amina).save(body="Un brouillon, que personne ne reçoit")
    assert standing(app, key.issue) == {"en", "fr"}
    writer = Writer(app, key, amina)
    writer.save(body="Another text")
    assert standing(app, key.issue) == set()
    approve.approve(
        app.database, compile.load_issue(app.database, app.urls, key.issue), "ann", seen=_seen(app, key, "en")
    )
    Writer(app, replace(key, language="fr"), amina).save(status=TranslationStatus.ready)
    writer.save(body="Another text", status=TranslationStatus.ready)  # as it is
    assert standing(app, key.issue) == {"en"}


def _seen(app: Container, key: TextKey, language: str) -> dict[str, bytes]:
    rows = approve.load(app.database, key.issue, "ann")
    return {row.language: row.fingerprint for row in rows if row.language == language}


def standing(app: Container, issue: int) -> set[str]:
    return {row.language for row in approve.load(app.database, issue, "ann") if row.standing}


def test_a_translation_is_stale_until_it_is_said_to_be_up_to_date(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    french = replace(key, language="fr")
    source, translator = Writer(app, key, amina), Writer(app, french, jovan)
    source.save(body="Something")
    translator.save(body="Quelque chose", translated_from=source.base)
    source.save(body="Some thing", minor=True)
    assert not is_stale(app, french)
    source.save(body="Something new")
    assert is_stale(app, french)
    translator.save(body="Un mot")
    assert is_stale(app, french)
    translator.save(body="Quelque chose de nouveau", translated_from=source.base)
    assert not is_stale(app, french)


def test_a_translation_of_what_was_shown_before_the_last_save_stays_stale(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    source, translator = Writer(app, key, amina), Writer(app, replace(key, language="fr"), jovan)
    source.save(body="Something")
    shown = source.base
    source.save(body="Something else")  # moments later: the same version
    translator.save(body="Quelque chose", translated_from=shown)
    assert is_stale(app, translator.key)
    translator.save(translated_from=source.base)
    assert not is_stale(app, translator.key)


@pytest.mark.parametrize("squashed", [False, True])
def test_a_new_translation_is_made_from_the_source_that_was_shown(
    app: Container, key: TextKey, amina: Staff, jovan: Staff, *, squashed: bool
) -> None:
    source, translator = Writer(app, key, amina), Writer(app, replace(key, language="es"), jovan)
    source.save(body="Something")
    shown = source.base
    if not squashed:
        source = Writer(app, key, jovan)
    source.save(body="Something else")
    translator.save(body="Algo", shown_source=shown)
    assert is_stale(app, translator.key)
    translator.save(body="Algo más", shown_source=source.base)
    assert is_stale(app, translator.key)  # only the first version is made from what is shown beside it


def test_the_first_text_of_a_source_stays_while_it_is_translated(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    section = next(iter(plan.load_plan(app.database, app.urls, key.issue).section_titles))
    story, language = edit.add_story(app.database, key.issue, section, "tests")
    new = TextKey(key.issue, TextSubject.story, story, language)
    source, translator = Writer(app, new, amina), Writer(app, replace(new, language="es"), jovan, "j")
    source.save(headline="Something")
    shown = source.base
    beat(app, translator.key, jovan, "j")
    source.save(headline="Something else")
    source.save(headline="Something else again")
    assert len(versions(app, new)) == 2, "what was shown, and all that was saved since"
    translator.save(headline="Algo", shown_source=shown)
    assert is_stale(app, translator.key)


def is_stale(app: Container, key: TextKey) -> bool:
    with app.database.transaction() as session:
        return key in text_versions.stale(session, key.issue)


def test_a_save_leaves_the_status_and_source_that_others_have_chosen_since(
    app: Container, key: TextKey, amina: Staff, jovan: Staff
) -> None:
    one, other = Writer(app, key, amina), Writer(app, key, jovan)
    one.save(body="A draft", status=TranslationStatus.draft, source_language="en")
    other.load()
    other.save(status=TranslationStatus.ready, source_language="fr")
    one.save(body="More of it")
    assert write_text.load_state(app.database, key).status is TranslationStatus.ready
    assert write_text.source_language(app.database, key) == "fr"
    seen = write_text.heartbeat(app.database, key, amina, "a", NOW, writing=False, take_over=False)
    assert seen.status is TranslationStatus.ready


@pytest.mark.parametrize(
    "choice", [{"status": TranslationStatus.draft}, {"source_language": "fr"}], ids=["status", "source"]
)
def test_a_choice_while_somebody_else_writes_is_not_said_to_be_saved(
    app: Container, key: TextKey, amina: Staff, jovan: Staff, choice: dict[str, Any]
) -> None:
    Writer(app, key, amina, "a").save(body="Amina writes", status=TranslationStatus.ready, source_language="en")
    other = Writer(app, key, jovan, "j")
    assert other.save().outcome is SaveOutcome.saved
    refused = other.save(**choice)
    assert (refused.outcome, refused.kept) == (SaveOutcome.taken_over, None)
    assert refused.text.status is TranslationStatus.ready
    assert other.save(take_over=True, **choice).outcome is SaveOutcome.saved


def test_the_source_language_of_a_story_is_chosen(app: Container, key: TextKey, amina: Staff) -> None:
    Writer(app, key, amina).save(source_language="fr")
    assert write_text.source_language(app.database, key) == "fr"


def test_what_is_written_into_a_story_that_was_held_over_is_kept_where_it_is_now(
    app: Container, key: TextKey, amina: Staff
) -> None:
    writer = Writer(app, key, amina, "a")
    writer.save(body="Before")
    draft = hold_over.hold_over(app.database, key.issue, key.subject_id, None, NOW.date(), "tests").id
    moved = replace(key, issue=draft)
    with pytest.raises(TextMoved):
        write_text.key_of(app.database, key.issue, key.subject_id, key.language)
    result = writer.save(body="Before and after")
    assert (result.outcome, result.moved_to) == (SaveOutcome.moved, draft)
    assert result.text.base == write_text.load_state(app.database, moved).base != ""
    assert stored(app, moved) == "Before"
    assert versions(app, moved)[0] == (VersionKind.set_aside, "Before and after")
    assert versions(app, key) == []
    assert writer.save(body="Before").kept is None
    assert result.kept
    text_versions_service.restore(app.database, moved, result.kept, amina)
    assert stored(app, moved) == "Before and after"


def test_no_version_is_put_back_from_where_the_story_was(app: Container, key: TextKey, amina: Staff) -> None:
    with app.database.transaction() as session:
        version = text_versions.record(session, key, {"body": "Old"}, amina, VersionKind.set_aside).id
        draft = new_issue.begin_next(session, newsletters.by_id(session, 1), NOW.date(), "tests").id
        session.get_one(Story, key.subject_id).issue_id = draft
    with pytest.raises(ChangeRefused, match="removed from the issue"):
        text_versions_service.restore(app.database, key, version, amina)


def test_a_plan_can_be_changed_while_a_text_is_written(app: Container, key: TextKey, amina: Staff) -> None:
    shown = plan.load_head(app.database, key.issue).revision
    Writer(app, key, amina).save(body="Written since the plan was shown")
    Writer(app, replace(key, language="de"), amina).save(body="A draft")
    edit.move_story(app.database, key.issue, key.subject_id, shown, "tests", step=1)
    with pytest.raises(edit.IssueOutdated):
        edit.move_story(app.database, key.issue, key.subject_id, shown, "tests", step=1)


def test_front_matter_is_written_likewise(app: Container, issue: int, amina: Staff) -> None:
    key = write_text.key_of(app.database, issue, None, "de")
    assert (key.subject, key.subject_id) == (TextSubject.front_matter, issue)
    Writer(app, key, amina).save(subject="Betreff", status=TranslationStatus.ready)
    source = compile.load_issue(app.database, app.urls, issue)
    assert source.front_matter["de"].subject == "Betreff"


def test_texts_that_cannot_be_are_not_found(app: Container, issue: int, key: TextKey) -> None:
    for story, language in ((key.subject_id, "tlh"), (10**6, "en"), (None, "")):
        with pytest.raises(TextNotFound):
            write_text.key_of(app.database, issue, story, language)


def test_saves_of_an_account_are_bounded(app: Container, amina: Staff) -> None:
    for _ in range(write_text.MAX_SAVES_PER_MINUTE):
        write_text.count_save(app.database, amina.account, NOW)
    with pytest.raises(TooManySaves):
        write_text.count_save(app.database, amina.account, NOW)
    write_text.count_save(app.database, amina.account, NOW, heartbeat=True)
    write_text.count_save(app.database, amina.account, NOW + timedelta(minutes=1))
