"""Uploading documents: what one would change is shown first, and nothing is written before somebody says so."""

from html import unescape
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mailer.bootstrap import Container
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.issues import plan
from mailer.services.newsletters.apply import apply_newsletter
from tests.conftest import SAMPLE
from tests.support.docx import make_docx
from tests.support.staff import SAME_ORIGIN, add_account, form_token_for, post, sign_in

PATH = "/desk/newsletters/lumen-basin/import"
FIRST = """---
number: 2026/4
subject: Winter on the Lumen
---
Welcome.

# Water and rivers

## The river froze

It did so early.

## Ferries stop

They stop on Monday.
"""
FRENCH = (
    FIRST.replace("The river froze", "Le fleuve a gelé")
    .replace("Ferries stop", "Les bacs s’arrêtent")
    .replace("Water and rivers", "Eau et rivières")
)


@pytest.fixture
def coordinator(app: Container, client: TestClient) -> int:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    account = add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")
    return account


def upload(client: TestClient, text: str | bytes, language: str = "en", name: str = "issue.md", **more: Any) -> Any:
    token = form_token_for(client)
    files = [("document", (name, text if isinstance(text, bytes) else text.encode()))]
    files += [("pictures", (picture, data)) for picture, data in more.pop("pictures", {}).items()]
    data = {"form_token": token, "language": language, "number": "", **more}
    return client.post(PATH, data=data, files=files, headers=SAME_ORIGIN)


def import_(client: TestClient, text: str | bytes, language: str = "en", **more: Any) -> int:
    """Upload and import. Return the issue."""
    answer = upload(client, text, language, **more)
    assert answer.status_code == 303, answer.text
    where = answer.headers["location"]
    revision = client.get(where).text.split('name="revision" value="')[1].split('"')[0]
    done = post(client, where, {"revision": revision})
    assert done.status_code == 303, done.text
    return int(done.headers["location"].split("/")[-1].partition("?")[0])


@pytest.mark.usefixtures("coordinator")
def test_nothing_is_written_before_somebody_says_so(client: TestClient, app: Container) -> None:
    answer = upload(client, FIRST)
    shown = client.get(answer.headers["location"]).text
    assert "New issue" in shown
    assert "The river froze" in shown
    assert plan.list_heads(app.database, None) == []
    issue = import_(client, FIRST)
    assert plan.load_plan(app.database, app.urls, issue).stories == 2
    assert import_(client, FRENCH, "fr") == issue
    head = plan.load_head(app.database, issue)
    assert set(head.complete_languages) == {"en", "fr"}


@pytest.mark.usefixtures("coordinator")
def test_what_a_correction_takes_out_is_named_and_counted_on_the_button(client: TestClient, app: Container) -> None:
    issue = import_(client, FIRST)
    shorter = FIRST.partition("## Ferries stop")[0]
    page = client.get(upload(client, shorter).headers["location"]).text
    assert "Taken out of the issue" in page
    assert "Import, and take 1 story out" in page
    assert plan.load_plan(app.database, app.urls, issue).stories == 2
    import_(client, shorter)
    assert plan.load_plan(app.database, app.urls, issue).stories == 1


@pytest.mark.usefixtures("coordinator")
def test_an_import_is_refused_if_the_issue_was_changed_after_it_was_shown(client: TestClient) -> None:
    import_(client, FIRST)
    where = upload(client, FIRST.replace("early", "late")).headers["location"]
    revision = client.get(where).text.split('name="revision" value="')[1].split('"')[0]
    import_(client, FIRST.replace("early", "in May"))
    answer = post(client, where, {"revision": revision})
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.text
    assert 'name="revision"' in answer.text  # and what it would do now is shown


@pytest.mark.usefixtures("coordinator")
def test_a_word_document_is_read_by_the_same_importer(client: TestClient, app: Container) -> None:
    document = make_docx(
        [
            ("Heading1", "Water and rivers"),
            ("Heading2", "The river froze"),
            ("", "It did so early, by 2 * 3 degrees."),
            ("Heading1", "Health and care"),
            ("Heading2", "Ferries stop"),
            ("", "They stop on Monday."),
        ]
    )
    issue = import_(client, document, name="Winter.docx", number="2026/5")
    loaded = plan.load_plan(app.database, app.urls, issue)
    assert [story.headline for section in loaded.sections for story in section.stories] == [
        "The river froze",
        "Ferries stop",
    ]
    assert loaded.head.number == "2026/5"
    assert "2 * 3 degrees" in client.get(f"/desk/issues/{issue}/preview?show=text").text


@pytest.mark.usefixtures("coordinator")
def test_bytes_that_no_keyboard_writes_are_no_error(client: TestClient) -> None:
    document = (SAMPLE / "2026-4.en.md").read_text("utf-8")
    assert upload(client, document, number="20\0", name="a\0.md", pictures={"p\0.jpg": b"x"}).status_code < 500


@pytest.mark.usefixtures("coordinator")
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", "Choose a document"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04 no archive", "The Word document is damaged."),
        (make_docx([("", "x")])[:200], "The Word document is damaged."),
        (make_docx([("", "bomb")], padding=200 * 1024 * 1024), "too large"),
        (b"x" * (6 * 1024 * 1024), "at most 5 MB"),
        (make_docx([("", "")] * 20_000), "The Word document is too long."),
        (make_docx([("", "x")], document="<w:document"), "The Word document cannot be read."),
        (b"\xff\xfe\x00", "UTF-16"),
    ],
)
def test_what_is_no_document_is_refused_in_words(client: TestClient, document: bytes, expected: str) -> None:
    answer = upload(client, document, name="upload.docx")
    assert answer.status_code == 400
    notice = unescape(answer.text.split('class="notice stop"')[1].split("</p>")[0])
    assert expected in notice


@pytest.mark.usefixtures("coordinator")
def test_pictures_are_uploaded_once_and_missing_ones_all_named(client: TestClient, app: Container) -> None:
    with_pictures = FIRST.replace("It did so early.", "![Ice](pictures/ice.png)\n\nIt did so early.").replace(
        "They stop on Monday.", "![Boat](boat.png)\n\nThey stop on Monday."
    )
    answer = client.get(upload(client, with_pictures).headers["location"])
    assert answer.status_code == 409
    assert "ice.png" in answer.text
    assert "boat.png" in answer.text
    png = BytesIO()
    Image.new("RGB", (900, 600), "navy").save(png, "PNG")
    issue = import_(client, with_pictures, pictures={"ice.png": png.getvalue(), "boat.png": png.getvalue()})
    loaded = plan.load_plan(app.database, app.urls, issue)
    assert all(story.has_picture for section in loaded.sections for story in section.stories)
    assert import_(client, with_pictures.replace("early", "late")) == issue
    refused = upload(client, FIRST, pictures={"evil.png": b"no picture"})
    assert refused.status_code == 400


def test_a_translator_changes_only_their_language_and_no_structure(client: TestClient, app: Container) -> None:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    add_account(app, "amina@example.org", Role.coordinator)
    add_account(app, "jeanne@example.org", RoleGrant(Role.translator, None, ("fr", "en")))
    sign_in(client, "jeanne@example.org")
    where = upload(client, FIRST).headers["location"]
    page = client.get(where).text
    assert "which your roles do not allow" in page
    assert post(client, where, {"revision": "0"}).status_code == 403
    assert upload(client, FIRST, "de").status_code == 400
    sign_in(client, "amina@example.org")
    import_(client, FIRST)
    assert client.get(where).status_code == 409  # an upload belongs to who made it
    sign_in(client, "jeanne@example.org")
    import_(client, FRENCH, "fr")
    where = upload(client, FRENCH + "\n## Une histoire de plus\n\nTexte.\n", "fr").headers["location"]
    assert "which your roles do not allow" in client.get(where).text


@pytest.mark.usefixtures("coordinator")
def test_uploads_are_forgotten_after_a_day(client: TestClient, app: Container) -> None:
    where = upload(client, FIRST).headers["location"]
    app.clock.advance(days=1, minutes=1)  # type: ignore[attr-defined]
    sign_in(client, "amina@example.org")
    upload(client, FIRST)
    assert client.get(where).status_code == 409
    for path, status in ((f"{PATH}/0", 409), (f"{PATH}/{2**63}", 409), ("/desk/newsletters/none/import", 404)):
        assert client.get(path).status_code == status
