"""Contacts of a newsletter are added, changed, removed and put back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.contact_notes import MAX_CARD_NAME_CHARS, MAX_CARDS, normalize_contact_note, read_contact_note_tree
from mailer.domain.document.contacts import MAX_CONTACT_NOTE_CHARS
from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.permissions import Role
from mailer.domain.text_tree import contact_note_to_tree
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.issues import contacts, edit
from mailer.services.newsletters import address_book
from mailer.services.newsletters.address_book import CardNotFound, CardOutdated, CardUse
from tests.support.staff import add_account, staff_of

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
NOTE = "(For information: Ana, ana@example.org)"
NEWSLETTER = 1


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int]) -> int:
    return import_issue("en")


@pytest.fixture
def ann(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "ann@example.org", Role.coordinator), Role.coordinator, "Ann")


def add(app: Container, ann: Staff, name: str, **texts: str) -> int:
    return address_book.add_card(app.database, NEWSLETTER, name, texts, ann, NOW)


def change(app: Container, ann: Staff, card: int, revision: int, name: str, **texts: str) -> None:
    address_book.change_card(app.database, NEWSLETTER, card, revision, name, texts, ann, NOW)


def test_contacts_are_listed_by_name_with_where_they_are_used(app: Container, issue: int, ann: Staff) -> None:
    add(app, ann, "zoe", en="(Ask: Zoe)")
    ana = add(app, ann, "  Ana   Kovač ", en=f" {NOTE}\n", fr="", xx="(of no language of the newsletter)")
    assert [(card.name, card.copies) for card in address_book.list_cards(app.database, NEWSLETTER)] == [
        ("Ana Kovač", 0),
        ("zoe", 0),
    ]
    story = edit.list_stories(app.database, issue)[0].story
    note = contacts.add_contact(app.database, issue, story, "en", ann, card=ana)
    loaded = address_book.load_card(app.database, NEWSLETTER, ana)
    assert (loaded.texts, loaded.copies, loaded.uses) == ({"en": NOTE}, 1, [CardUse(issue, "2026/3", 1)])
    contacts.remove_contact(app.database, issue, note, ann, NOW)
    assert address_book.load_card(app.database, NEWSLETTER, ana).uses == []
    with pytest.raises(CardNotFound):
        address_book.load_card(app.database, NEWSLETTER + 1, ana)


def test_what_somebody_else_changed_is_not_overwritten_unseen(app: Container, ann: Staff) -> None:
    ana = add(app, ann, "Ana", en=NOTE)
    change(app, ann, ana, 1, "Ana", en=NOTE, fr="(Renseignements : Ana)")
    with pytest.raises(CardOutdated):
        change(app, ann, ana, 1, "Ana Kovač", en=NOTE)
    change(app, ann, ana, 1, "Ana", en=NOTE, fr="(Renseignements : Ana)")  # the same is no conflict
    change(app, ann, ana, 2, "Ana Kovač", en="(Ask: Ana)")
    loaded = address_book.load_card(app.database, NEWSLETTER, ana)
    assert (loaded.name, loaded.texts, loaded.revision) == ("Ana Kovač", {"en": "(Ask: Ana)"}, 3)
    changes = audit.search(app.database, AuditAction.contact_card_changed, "Ann", None)
    assert [event.detail["change"] for event in changes] == ["changed", "changed", "added"]


def test_a_removed_contact_is_put_back_within_a_month(app: Container, ann: Staff) -> None:
    ana = add(app, ann, "Ana", en=NOTE)
    address_book.remove_card(app.database, NEWSLETTER, ana, ann, NOW)
    assert address_book.list_cards(app.database, NEWSLETTER) == []
    with pytest.raises(CardNotFound):
        change(app, ann, ana, 1, "Ana")
    second = add(app, ann, "Ana", en=NOTE)
    with pytest.raises(ChangeRefused, match="another contact with this name"):
        address_book.restore_card(app.database, NEWSLETTER, ana, ann, NOW)
    address_book.remove_card(app.database, NEWSLETTER, second, ann, NOW)
    address_book.restore_card(app.database, NEWSLETTER, ana, ann, NOW)
    address_book.forget_removed(app.database, NOW + address_book.KEPT)
    assert [card.id for card in address_book.list_removed(app.database, NEWSLETTER)] == [second]
    address_book.forget_removed(app.database, NOW + address_book.KEPT + timedelta(seconds=1))
    assert address_book.list_removed(app.database, NEWSLETTER) == []
    assert [card.texts for card in address_book.list_cards(app.database, NEWSLETTER)] == [{"en": NOTE}]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (" ", NOTE, "Give the contact a name"),
        ("n" * (MAX_CARD_NAME_CHARS + 1), NOTE, "at most 100 characters"),
        ("Ana", "n" * (MAX_CONTACT_NOTE_CHARS + 1), "at most 600 characters"),
        ("Zoe", NOTE, "another contact with this name"),
    ],
)
def test_bounds_of_a_contact(app: Container, ann: Staff, name: str, text: str, problem: str) -> None:
    add(app, ann, "Zoe", en=NOTE)
    with pytest.raises(UserError, match=problem):
        add(app, ann, name, en=text)


def test_an_address_book_has_an_end(app: Container, ann: Staff) -> None:
    add(app, ann, "0", en=NOTE)
    with app.database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO contact_card (newsletter_id, name, texts, revision)"
                " SELECT 1, n::text, '{}', 1 FROM generate_series(1, :last) AS n"
            ),
            {"last": MAX_CARDS - 1},
        )
    with pytest.raises(ChangeRefused, match="at most 500 contacts"):
        add(app, ann, "one more", en=NOTE)


def test_a_note_is_one_canonical_line() -> None:
    assert (
        normalize_contact_note("(For info:\r\n __Ana__,\u0000 ana@example.org)")
        == "(For info: **Ana**, ana@example.org)"
    )
    assert normalize_contact_note("  ") == ""
    kept = "(For info: <script>)"
    assert normalize_contact_note(kept) == kept, "a check names what cannot be shown"


def test_addresses_in_an_editor_become_links() -> None:
    def line(*parts: dict[str, object]) -> dict[str, object]:
        return {"type": "doc", "content": [{"type": "paragraph", "content": list(parts)}]}

    bold = [{"type": "strong"}]
    typed = line({"type": "text", "text": "(Ask: Bo, "}, {"type": "text", "text": "bo@example.org)", "marks": bold})
    note = read_contact_note_tree(typed)
    assert contact_note_to_tree(note)["content"][0]["content"][1]["marks"] == [
        {"type": "link", "attrs": {"href": "mailto:bo@example.org"}},
        {"type": "strong"},
    ]
    assert read_contact_note_tree(line()) == ""
    assert read_contact_note_tree(contact_note_to_tree(note)) == note
