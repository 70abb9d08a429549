"""Approving an issue language by language."""

from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.document import parse
from mailer.domain.newsletter import NewsletterSettings
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.ports import PreparedPicture
from mailer.domain.states import (
    InvalidIssueState,
    IssueEventKind,
    IssueState,
    MissingTranslationPolicy,
    TextSubject,
)
from mailer.domain.text_fields import TypedText
from mailer.domain.versions import TextKey
from mailer.services.issues import (
    approve,
    compile,
    contacts,
    document_import,
    edit,
    hold_over,
    issue_pictures,
    plan,
    report,
    schedule,
    write_text,
)
from mailer.services.issues.approve import LanguageApproval, NotApproved, TextChanged
from mailer.services.issues.issue_pictures import NewPicture
from mailer.services.issues.text_versions import restore
from mailer.services.issues.write_text import SaveOrder
from mailer.services.newsletters.apply import apply_newsletter
from mailer.store import contacts as stored_contacts
from mailer.store import issues, text_versions
from tests.conftest import NOW, SAMPLE
from tests.support.pictures import jpeg

Import = Callable[..., int]


@pytest.fixture
def import_text(app: Container, pictures: Callable[[str], PreparedPicture]) -> Callable[[str, str, str], None]:
    """Return a function that imports a language again, with some words replaced."""

    def run(language: str, old: str, new: str, actor: str = "tests") -> None:
        document = (SAMPLE / f"2026-3.{language}.md").read_text("utf-8")
        assert old in document
        document_import.import_document(
            app.database,
            parse(document.replace(old, new), language),
            "lumen-basin",
            language,
            number="2026/3",
            today=date(2026, 9, 30),
            picture_loader=pictures,
            picture_store=app.picture_store,
            actor=actor,
        )

    return run


def look(app: Container, issue: int, actor: str = "ann") -> dict[str, LanguageApproval]:
    return {row.language: row for row in approve.load(app.database, issue, actor)}


def approve_languages(app: Container, issue: int, *languages: str, actor: str = "ann") -> None:
    seen = {tag: look(app, issue)[tag].fingerprint for tag in languages}
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), actor, seen=seen)


def state(app: Container, issue: int) -> IssueState:
    with app.database.transaction() as session:
        return issues.by_id(session, issue).state


def standing(app: Container, issue: int) -> set[str]:
    return {tag for tag, row in look(app, issue).items() if row.standing}


def settings() -> NewsletterSettings:
    return read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))


def test_an_issue_is_approved_with_its_last_language(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    approve_languages(app, issue, "fr", actor="mira")
    assert state(app, issue) is IssueState.draft
    with pytest.raises(InvalidIssueState):
        schedule.schedule(app.database, issue, NOW, "ann")
    french = look(app, issue)["fr"]
    assert (french.standing, french.actor) == (True, "mira")
    approve_languages(app, issue, "en")
    assert state(app, issue) is IssueState.approved
    assert look(app, issue)["fr"].actor == "mira", "what stands is not approved again"


def test_a_change_withdraws_the_approvals_of_what_reads_otherwise(
    app: Container, import_issue: Import, import_text: Callable[..., None]
) -> None:
    issue = import_issue("en", "fr", "bs")
    approve_languages(app, issue, "en", "fr")
    import_text("fr", "Neuf pays", "Dix pays", "jovan")
    assert standing(app, issue) == {"en"}
    french = look(app, issue)["fr"]
    assert (french.actor, french.withdrawn_by) == ("ann", "jovan")
    logged = [event for event in report.events(app.database, issue) if event[2] is IssueEventKind.approval_withdrawn]
    assert [(event[1], event[3]) for event in logged] == [("jovan", "fr")]
    approve_languages(app, issue, "fr", "bs")
    assert state(app, issue) is IssueState.approved
    schedule.reopen(app.database, issue, "ann")
    assert standing(app, issue) == {"en", "fr", "bs"}, "reopening changes no text"
    import_text("en", "The travelling library", "The floating library")
    assert standing(app, issue) == {"fr"}, "Bosnian shows that story in English"
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "ann")
    assert standing(app, issue) == set()


def test_what_was_not_seen_is_not_approved(
    app: Container, import_issue: Import, import_text: Callable[..., None]
) -> None:
    issue = import_issue("en", "fr")
    seen = {tag: row.fingerprint for tag, row in look(app, issue).items()}
    import_text("fr", "Neuf pays", "Dix pays")
    source = compile.load_issue(app.database, app.urls, issue)
    with pytest.raises(TextChanged):
        approve.approve(app.database, source, "ann", seen={"fr": seen["fr"]})
    approve.approve(app.database, source, "ann", seen={"en": seen["en"]})
    assert standing(app, issue) == {"en"}, "a change of French does not matter to English"
    with pytest.raises(TextChanged, match="no text in de"):
        approve.approve(app.database, source, "ann", seen={"de": b""})


def test_a_fault_in_one_language_blocks_that_language_and_the_issue(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue_translation SET subject = '' WHERE language = 'fr'"))
    approve_languages(app, issue, "en")
    with pytest.raises(NotApproved, match="fr: the subject is empty"):
        approve_languages(app, issue, "fr")
    assert standing(app, issue) == {"en"}


def test_four_eyes(app: Container, import_issue: Import, import_text: Callable[..., None]) -> None:
    issue = import_issue("en", "fr")
    apply_newsletter(app.database, settings().model_copy(update={"four_eyes": True}))
    import_text("fr", "Neuf pays", "Dix pays", "ann")
    assert {tag: row.wrote_last for tag, row in look(app, issue).items()} == {"en": False, "fr": True}
    with pytest.raises(NotApproved, match="fr: you changed this text last"):
        approve_languages(app, issue, "en", "fr")
    assert standing(app, issue) == set(), "all of them or none"
    approve_languages(app, issue, "en")
    approve_languages(app, issue, "fr", actor="mira")
    assert state(app, issue) is IssueState.approved


def test_whoever_changes_a_text_in_any_way_wrote_it_last(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    stories = [story.id for story in plan.load_plan(app.database, app.urls, issue).planned_stories]
    with app.database.transaction() as session:
        note = next(contact for contact, _, covered in stored_contacts.of_issue(session, issue) if len(covered) == 1)
        others = [story for story in stories if story != note.story_id]
        key = TextKey(issue, TextSubject.story, others[0], "en")
        version = text_versions.head(session, key)
        assert version
    order = SaveOrder(write_text.load_state(app.database, key).base, TypedText({"body": "Ten countries"}))
    write_text.save_text(app.database, key, order, "ann", NOW)
    contacts.remove_contact(app.database, issue, note.id, "ann", NOW)
    draft = hold_over.hold_over(app.database, issue, others[1], None, NOW.date(), "ann").id
    hold_over.hold_over(app.database, issue, others[2], draft, NOW.date(), "mira")
    assert last_writer(app, draft) == "mira"
    changes = edit.list_changes(app.database, issue)
    picture = NewPicture(app.prepare_picture(jpeg(8, 8), "lake"), "lake")
    orders: list[Callable[[], object]] = [
        lambda: restore(app.database, key, version.id, "mira"),
        lambda: contacts.restore_contact(app.database, issue, note.id, "mira"),
        lambda: issue_pictures.set_story_picture(
            app.database, issue, others[0], picture, "en", "A lake", "Ina", "mira", None
        ),
        lambda: edit.undo(app.database, issue, changes[0].id, "mira"),
    ]
    for number, change in enumerate(orders):
        base = write_text.load_state(app.database, key).base
        typed = TypedText({"link_label": f"Words {number}"})
        write_text.save_text(app.database, key, SaveOrder(base, typed), "ann", NOW)
        assert last_writer(app, issue) == "ann"
        change()
        assert last_writer(app, issue) == "mira", number


def last_writer(app: Container, issue: int) -> str:
    with app.database.transaction() as session:
        return issues.front_matter(session, issue)["en"].imported_by


def test_newsletter_settings_that_readers_see_withdraw_every_approval(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    approve_languages(app, issue, "en", "fr")
    apply_newsletter(app.database, settings().model_copy(update={"four_eyes": True}))
    assert state(app, issue) is IssueState.approved, "readers see nothing of that"
    apply_newsletter(app.database, settings().model_copy(update={"postal_address": "2 Quay"}))
    assert standing(app, issue) == set()
    assert look(app, issue)["en"].withdrawn_by == ""
    assert state(app, issue) is IssueState.draft


def test_a_draft_is_deleted_with_its_approvals(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    source = compile.load_issue(app.database, app.urls, issue)
    approve.approve(app.database, source, "ann")
    schedule.reopen(app.database, issue, "ann")
    edit.delete_draft(app.database, issue, "ann")
    assert import_issue("en") != issue
