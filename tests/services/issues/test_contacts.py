"""Contact notes are written, taken from the address book, put in order, removed and put back."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.contact_notes import MAX_CONTACT_NOTES_PER_STORY
from mailer.domain.document import parse
from mailer.domain.errors import ChangeRefused
from mailer.domain.permissions import Role
from mailer.domain.ports import PreparedPicture
from mailer.domain.states import InvalidIssueState, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.issues import approve, compile, contacts, document_import, edit, hold_over
from mailer.services.issues.contacts import ContactNotFound, StoryContact
from mailer.services.issues.write_text import SaveOutcome
from mailer.services.newsletters import address_book
from mailer.store import issues, text_versions
from tests.conftest import SAMPLE
from tests.support.staff import add_account, staff_of

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
NOTE, OTHER = "(For information: Ana, ana@example.org)", "(For information: Bo)"


@pytest.fixture
def ann(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "ann@example.org", Role.coordinator), Role.coordinator, "Ann")


@pytest.fixture
def stories(app: Container, issue: int) -> list[int]:
    """The stories of the section that has most, without their contact notes."""
    items = edit.list_stories(app.database, issue)
    sections = {item.section: [one.story for one in items if one.section == item.section] for item in items}
    found = max(sections.values(), key=len)
    for story in found:
        for note in contacts.list_contacts(app.database, issue, story, "en"):
            contacts.remove_contact(app.database, issue, note.id, "tests", NOW)
    assert len(found) > 1
    return found


def listed(app: Container, issue: int, story: int, language: str = "en") -> list[StoryContact]:
    return contacts.list_contacts(app.database, issue, story, language)


def texts(app: Container, issue: int, story: int, language: str = "en") -> list[str]:
    return [note.text for note in listed(app, issue, story, language)]


def kinds(app: Container, issue: int, note: int, language: str = "en") -> list[tuple[VersionKind, str]]:
    with app.database.transaction() as session:
        versions = text_versions.of_text(session, TextKey(issue, TextSubject.contact, note, language), 20)
        return [(version.kind, version.content.get("text", "")) for version in versions]


def printed(app: Container, issue: int, story: int, language: str = "en") -> tuple[str, ...]:
    """Return the notes that the edition prints below a story."""
    source = compile.load_issue(app.database, app.urls, issue)
    (found,) = [one for one in source.stories if one.story == story]
    return tuple(found.texts[language].contacts)


def test_a_note_is_written_changed_and_kept_in_versions(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    note = contacts.add_contact(app.database, issue, stories[0], "en", ann, text=NOTE)
    (shown,) = listed(app, issue, stories[0])
    assert (shown.text, shown.covered, shown.printed_after) == (NOTE, frozenset([stories[0]]), stories[0])
    assert printed(app, issue, stories[0]) == (NOTE,)
    save = contacts.save_contact(app.database, issue, note, "en", shown.base, OTHER, "bo")
    assert (save, texts(app, issue, stories[0])) == (SaveOutcome.saved, [OTHER])
    assert kinds(app, issue, note) == [(VersionKind.saved, OTHER), (VersionKind.saved, NOTE)]

    late = contacts.save_contact(app.database, issue, note, "en", shown.base, "(Ask: Zoe)", ann)
    assert (late, texts(app, issue, stories[0])) == (SaveOutcome.changed, [OTHER])
    assert kinds(app, issue, note)[0] == (VersionKind.set_aside, "(Ask: Zoe)")
    same = contacts.save_contact(app.database, issue, note, "en", "", OTHER, ann)
    assert same is SaveOutcome.saved, "nothing differs, so nothing is in conflict"

    base = listed(app, issue, stories[0], "fr")[0].base
    assert contacts.save_contact(app.database, issue, note, "fr", base, "(Demander : Bo)", ann) is SaveOutcome.saved
    assert printed(app, issue, stories[0], "fr") == ("(Demander : Bo)",)
    with app.database.transaction() as session:
        english, french = (
            text_versions.head(session, TextKey(issue, TextSubject.contact, note, tag)) for tag in ("en", "fr")
        )
        assert english and french and french.source_version_id == english.id


def test_a_language_is_taken_out_of_a_note_but_not_the_last(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    note = contacts.add_contact(app.database, issue, stories[0], "en", ann, text=NOTE)
    contacts.save_contact(app.database, issue, note, "fr", "", OTHER, ann)
    base = listed(app, issue, stories[0], "fr")[0].base
    assert contacts.save_contact(app.database, issue, note, "fr", base, " ", ann) is SaveOutcome.saved
    assert listed(app, issue, stories[0])[0].texts == {"en": NOTE}
    assert kinds(app, issue, note, "fr")[0] == (VersionKind.removed, "")
    with pytest.raises(ChangeRefused, match="the only text"):
        contacts.save_contact(app.database, issue, note, "en", listed(app, issue, stories[0])[0].base, "", ann)


def test_a_contact_of_the_address_book_is_copied_in_all_languages(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    card = address_book.add_card(app.database, 1, "Ana", {"fr": OTHER, "en": NOTE}, ann, NOW)
    contacts.add_contact(app.database, issue, stories[0], "fr", ann, card=card)
    address_book.change_card(app.database, 1, card, 1, "Ana", {"en": "(Ask: Zoe)"}, ann, NOW)
    assert listed(app, issue, stories[0])[0].texts == {"en": NOTE, "fr": OTHER}, "it is a copy"
    with pytest.raises(ChangeRefused, match="no text in this note"):
        contacts.add_contact(app.database, issue, stories[0], "en", ann, card=card + 1)
    with pytest.raises(ChangeRefused, match="no text in this note"):
        contacts.add_contact(app.database, issue, stories[0], "en", ann, text=" ")


def test_a_note_for_several_stories_is_printed_after_the_last(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    first, *_, last = stories
    note = contacts.add_contact(app.database, issue, first, "en", ann, text=NOTE)
    contacts.set_covered(app.database, issue, note, [first, last], ann)
    assert (printed(app, issue, first), printed(app, issue, last)) == ((), (NOTE,))
    assert texts(app, issue, first) == texts(app, issue, last) == [NOTE]
    contacts.remove_contact(app.database, issue, note, ann, NOW)
    contacts.restore_contact(app.database, issue, note, ann)
    assert printed(app, issue, last) == (NOTE,)
    contacts.set_covered(app.database, issue, note, [first], ann)
    assert printed(app, issue, first) == (NOTE,)
    with pytest.raises(ChangeRefused, match="at least one story"):
        contacts.set_covered(app.database, issue, note, [2**31 - 1], ann)


def test_notes_are_put_in_order_removed_and_put_back(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    story = stories[0]
    one, two, three = (
        contacts.add_contact(app.database, issue, story, "en", ann, text=f"(Ask: {name})") for name in "ABC"
    )
    contacts.move_contact(app.database, issue, three, -1, ann)
    contacts.move_contact(app.database, issue, one, -1, ann)  # it is the first
    assert texts(app, issue, story) == ["(Ask: A)", "(Ask: C)", "(Ask: B)"]
    contacts.remove_contact(app.database, issue, one, ann, NOW)
    assert texts(app, issue, story) == ["(Ask: C)", "(Ask: B)"]
    assert contacts.list_removed(app.database, issue, story)[0] == (one, "(Ask: A)")
    assert contacts.save_contact(app.database, issue, one, "en", "", "(Ask: D)", ann) is SaveOutcome.removed
    with pytest.raises(ContactNotFound):
        contacts.set_covered(app.database, issue, one, [story], ann)
    contacts.restore_contact(app.database, issue, one, ann)
    assert texts(app, issue, story) == ["(Ask: C)", "(Ask: B)", "(Ask: A)"]
    assert [kind for kind, _ in kinds(app, issue, one)] == [
        VersionKind.restored,
        VersionKind.set_aside,
        VersionKind.removed,
        VersionKind.saved,
    ]
    said = [event.detail["change"] for event in audit.search(app.database, AuditAction.contact_changed, "Ann", None)]
    assert said == ["restored", "removed", "moved", "added", "added", "added"]
    contacts.remove_contact(app.database, issue, two, ann, NOW)
    address_book.forget_removed(app.database, datetime(2027, 6, 1, tzinfo=UTC))
    with pytest.raises(ContactNotFound):
        contacts.restore_contact(app.database, issue, two, ann)


def test_a_removed_note_comes_back_to_the_stories_that_are_still_there(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    first, *_, last = stories
    shared = contacts.add_contact(app.database, issue, first, "en", ann, text=NOTE)
    own = contacts.add_contact(app.database, issue, last, "en", ann, text=OTHER)
    contacts.set_covered(app.database, issue, shared, [first, last], ann)
    for contact in shared, own:
        contacts.remove_contact(app.database, issue, contact, ann, NOW)
    hold_over.hold_over(app.database, issue, last, None, NOW.date(), ann)
    contacts.restore_contact(app.database, issue, shared, ann)
    assert printed(app, issue, first) == (NOTE,)
    assert listed(app, issue, first)[0].covered == {first}
    with pytest.raises(ContactNotFound):
        contacts.restore_contact(app.database, issue, own, ann)


def test_a_document_can_be_imported_over_a_removed_note(
    app: Container, issue: int, ann: Staff, pictures: Callable[[str], PreparedPicture]
) -> None:
    story, note = next(
        (item.story, notes[0])
        for item in edit.list_stories(app.database, issue)
        if (notes := listed(app, issue, item.story)) and notes[0].printed_after == item.story
    )
    contacts.remove_contact(app.database, issue, note.id, ann, NOW)
    document_import.import_document(
        app.database,
        parse((SAMPLE / "2026-3.en.md").read_text("utf-8"), "en"),
        "lumen-basin",
        "en",
        number="2026/3",
        today=NOW.date(),
        picture_loader=pictures,
        picture_store=app.picture_store,
        actor="tests",
    )
    assert note.text in texts(app, issue, story)


def test_a_change_withdraws_the_approval_of_its_language(
    app: Container, issue: int, ann: Staff, stories: list[int]
) -> None:
    def standing() -> set[str]:
        return {row.language for row in approve.load(app.database, issue, ann) if row.standing}

    note = contacts.add_contact(app.database, issue, stories[0], "en", ann, text=NOTE)
    contacts.save_contact(app.database, issue, note, "fr", "", OTHER, ann)
    seen = {row.language: row.fingerprint for row in approve.load(app.database, issue, ann)}
    source = compile.load_issue(app.database, app.urls, issue)
    approve.approve(app.database, source, ann, seen={"fr": seen["fr"]})
    contacts.save_contact(app.database, issue, note, "en", listed(app, issue, stories[0])[0].base, OTHER, ann)
    assert standing() == {"fr"}
    base = listed(app, issue, stories[0], "fr")[0].base
    contacts.save_contact(app.database, issue, note, "fr", base, "(Demander : Bo)", ann)
    assert standing() == set()
    with app.database.transaction() as session:
        assert issues.front_matter(session, issue)["fr"].imported_by_id == ann.account, "who may not approve it then"


def test_an_approved_issue_keeps_its_notes(app: Container, issue: int, ann: Staff, stories: list[int]) -> None:
    note = contacts.add_contact(app.database, issue, stories[0], "en", ann, text=NOTE)
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "bo")
    with pytest.raises(InvalidIssueState):
        contacts.remove_contact(app.database, issue, note, ann, NOW)
    assert contacts.save_contact(app.database, issue, note, "en", "", OTHER, ann) is SaveOutcome.closed
    assert kinds(app, issue, note)[0] == (VersionKind.set_aside, OTHER)
    assert texts(app, issue, stories[0]) == [NOTE]


def test_bounds(app: Container, issue: int, ann: Staff, stories: list[int]) -> None:
    for number in range(MAX_CONTACT_NOTES_PER_STORY):
        contacts.add_contact(app.database, issue, stories[0], "en", ann, text=f"(Ask: {number})")
    with pytest.raises(ChangeRefused, match="at most 20 contact notes"):
        contacts.add_contact(app.database, issue, stories[0], "en", ann, text=NOTE)
    with pytest.raises(ContactNotFound):
        contacts.add_contact(app.database, issue, 2**31 - 1, "en", ann, text=NOTE)
    with pytest.raises(ContactNotFound):
        contacts.save_contact(app.database, issue, 2**31 - 1, "en", "", NOTE, ann)
