"""The pages of an address book, and of the contact notes of a story."""

import json
from html import unescape

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.issues import contacts, edit
from mailer.services.newsletters import address_book
from tests.support.staff import add_account, post, sign_in, text_of, words

BOOK = "/desk/newsletters/lumen-basin/address-book"
NOTE = "(For information: Ana, ana@example.org)"


@pytest.fixture
def story(app: Container, issue: int) -> int:
    """A story without contact notes."""
    items = edit.list_stories(app.database, issue)
    return next(item.story for item in items if not contacts.list_contacts(app.database, issue, item.story, "en"))


@pytest.mark.usefixtures("coordinator")
def test_the_address_book(client: TestClient, app: Container) -> None:
    assert "There is no contact yet." in words(client, BOOK)
    added = post(client, f"{BOOK}/new", {"name": "Ana Kovač", "text.en": NOTE})
    assert added.headers["location"] == f"{BOOK}?done=added"
    assert "The contact is in the address book." in words(client, added.headers["location"])
    (card,) = address_book.list_cards(app.database, 1)
    here = f"{BOOK}/{card.id}"
    refused = post(client, f"{BOOK}/new", {"name": "Ana Kovač", "text.fr": "(Demander : Ana)"})
    assert refused.status_code == 409 and "(Demander : Ana)" in refused.text
    assert "There is another contact with this name." in text_of(refused.text)
    post(client, here, {"revision": "1", "name": "Ana", "text.en": NOTE})
    late = post(client, here, {"revision": "1", "name": "Ana K.", "text.en": "(Ask: Zoe)"})
    assert late.status_code == 409 and 'value="Ana K."' in late.text and "(Ask: Zoe)" in late.text
    assert f"Stored now: {NOTE}" in text_of(late.text) and 'name="revision" value="2"' in late.text
    assert "Undo" in words(client, post(client, f"{here}/remove", {}).headers["location"])
    assert client.get(here).status_code == 404
    assert post(client, f"{here}/restore", {}, page=BOOK).headers["location"] == f"{BOOK}?done=restored"
    assert post(client, f"{here}/restore", {}, page=BOOK).status_code == 404
    assert "In no issue yet." in words(client, here)


@pytest.mark.usefixtures("coordinator")
def test_the_contacts_of_a_story(client: TestClient, app: Container, issue: int, story: int) -> None:
    here = f"/desk/issues/{issue}/stories/{story}/en/contacts"
    assert "This story has no contact yet." in words(client, here)
    post(client, f"{BOOK}/new", {"name": "Ana", "text.en": NOTE})
    (card,) = address_book.list_cards(app.database, 1)
    assert "The contact is below the story." in words(
        client, post(client, here, {"card": str(card.id)}).headers["location"]
    )
    assert post(client, here, {"text": " "}).status_code == 409
    post(client, here, {"text": "(Ask: Bo)"})
    first, second = contacts.list_contacts(app.database, issue, story, "en")
    assert (first.text, second.text) == (NOTE, "(Ask: Bo)")
    post(client, f"{here}/{second.id}/move", {"step": "up"}, page=here)
    post(client, f"{here}/{second.id}", {"base": second.base, "text": "(Ask: Zoe)"}, page=here)
    assert [note.text for note in contacts.list_contacts(app.database, issue, story, "en")] == ["(Ask: Zoe)", NOTE]
    late = post(client, f"{here}/{second.id}", {"base": "1.1", "text": "(Ask: Jo)"}, page=here)
    assert late.status_code == 409 and "(Ask: Jo)" in late.text
    assert "Stored now: (Ask: Zoe)" in text_of(late.text)
    assert "1 text that was set aside (Ask: Jo) Amina" in words(client, here)
    nothing = post(client, f"{here}/{first.id}/covers", {}, page=here)
    assert nothing.status_code == 409 and "Choose at least one story." in text_of(nothing.text)
    assert "Undo" in words(client, post(client, f"{here}/{first.id}/remove", {}, page=here).headers["location"])
    assert post(client, f"{here}/{first.id}/remove", {}, page=here).status_code == 404
    post(client, f"{here}/{first.id}/restore", {}, page=here)
    assert [note.text for note in contacts.list_contacts(app.database, issue, story, "en")] == ["(Ask: Zoe)", NOTE]
    assert "Issue 2026/3 1 note" in words(client, f"{BOOK}/{card.id}")
    for wrong in (
        f"/desk/issues/{issue}/stories/{story}/xx/contacts",
        f"/desk/issues/{issue}/stories/99999/en/contacts",
    ):
        assert client.get(wrong).status_code == 404


@pytest.mark.usefixtures("coordinator")
def test_a_note_is_sent_as_the_tree_of_an_editor(client: TestClient, app: Container, issue: int, story: int) -> None:
    here = f"/desk/issues/{issue}/stories/{story}/en/contacts"
    mark = {"type": "link", "attrs": {"href": "mailto:ana@example.org"}}
    line = [{"type": "text", "text": "(Ask: "}, {"type": "text", "text": "Ana", "marks": [mark]}]
    tree = {"type": "doc", "content": [{"type": "paragraph", "content": [*line, {"type": "text", "text": ")"}]}]}
    post(client, here, {"text": "not this", "text.tree": json.dumps(tree)})
    (note,) = contacts.list_contacts(app.database, issue, story, "en")
    assert note.text == "(Ask: [Ana](mailto:ana@example.org))"
    shown = client.get(here).text
    assert json.loads(unescape(shown.split('data-note="')[1].split('"')[0])) == tree
    for hostile in ("{", "[" * 9000, '{"type": "doc"}'):
        assert post(client, here, {"text.tree": hostile}).status_code == 400
    assert len(contacts.list_contacts(app.database, issue, story, "en")) == 1


@pytest.mark.usefixtures("coordinator")
def test_notes_are_in_the_languages_of_the_issue_only(
    client: TestClient, app: Container, issue: int, story: int
) -> None:
    note = contacts.add_contact(app.database, issue, story, "en", "tests", text=NOTE)
    here = f"/desk/issues/{issue}/stories/{story}/xx/contacts"
    assert client.get(here).status_code == 404
    for path in ("", f"/{note}", f"/{note}/covers", f"/{note}/move", f"/{note}/remove", f"/{note}/restore"):
        assert post(client, here + path, {"text": "(Ask: Bo)"}).status_code == 404
    (kept,) = contacts.list_contacts(app.database, issue, story, "en")
    assert kept.texts == {"en": NOTE}


def test_translators_write_notes_in_their_languages_only(
    client: TestClient, app: Container, issue: int, story: int
) -> None:
    note = contacts.add_contact(app.database, issue, story, "en", "tests", text=NOTE)
    add_account(app, "tara@example.org", RoleGrant(Role.translator, languages=("fr",)))
    sign_in(client, "tara@example.org")
    here = f"/desk/issues/{issue}/stories/{story}"
    shown = words(client, f"{here}/fr/contacts")
    assert "(For information: Ana," in shown and "Remove this note" not in shown and "Add a contact" not in shown
    saved = post(
        client, f"{here}/fr/contacts/{note}", {"base": "", "text": "(Demander : Ana)"}, page=f"{here}/fr/contacts"
    )
    assert saved.status_code == 303
    for language in ("en", "ar"):
        assert "Your roles do not let you change them." in words(client, f"{here}/{language}/contacts")
        refused = post(client, f"{here}/{language}/contacts/{note}", {"base": "", "text": "x"})
        assert refused.status_code == 403
    assert post(client, f"{here}/fr/contacts/{note}/remove", {}).status_code == 403
    assert client.get(BOOK).status_code == 403
    (shown_note,) = contacts.list_contacts(app.database, issue, story, "fr")
    assert shown_note.texts == {"en": NOTE, "fr": "(Demander : Ana)"}
