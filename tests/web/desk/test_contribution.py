"""The page behind a link: one text, and nothing else of the issue, for whoever has the link."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.domain.text_requests import TextTask
from mailer.services.issues import contributions, text_request_list, text_requests
from mailer.services.issues.text_requests import NewRequest
from mailer.store import text_requests as stored
from tests.support.clock import clock_of
from tests.support.docx import make_docx
from tests.support.staff import SAME_ORIGIN, post, sign_in, staff_of, text_of, words

JSON = SAME_ORIGIN | {"Content-Type": "application/json"}


@pytest.fixture
def request_id(app: Container, issue: int, coordinator: int) -> int:
    """Jean, who has no account, translates the first story into Spanish."""
    story = text_request_list.list_stories(app.database, issue)[0][0]
    now = app.clock.now()
    due_on = (now + timedelta(days=7)).date()
    new = NewRequest(
        story, "es", TextTask.translation, None, "Jean Morel", "jean@example.org", due_on, "Short, please."
    )
    actor = staff_of(coordinator, Role.coordinator)
    return text_requests.ask(app.database, issue, new, actor, app.tokens.address_hash, now)


@pytest.fixture
def link(app: Container, client: TestClient, request_id: int) -> str:
    client.cookies.clear()
    return app.urls.relative(app.urls.text_request_url(request_id))


def paragraph(text: str) -> dict[str, Any]:
    return {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]}


def save(client: TestClient, link: str, fields: Mapping[str, object], **order: object):  # type: ignore[no-untyped-def]
    return client.post(link, json={"base": "", "tab": "a", "fields": fields, **order}, headers=SAME_ORIGIN)


def test_a_text_is_written_handed_in_and_taken_in(
    client: TestClient, app: Container, issue: int, request_id: int, link: str
) -> None:
    page = client.get(link)
    assert page.status_code == 200
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Robots-Tag"] == "noindex"
    assert page.headers["Cache-Control"] == "no-store"
    assert "set-cookie" not in page.headers
    assert "Amina asks you to translate this text" in text_of(page.text)
    assert "A picture cannot be added here. Send it separately, to Amina." in page.text
    answer = save(client, link, {"headline": paragraph("Los barcos"), "body": paragraph("Uno & dos.")})
    assert answer.status_code == 200, answer.text
    again = save(client, link, {"body": paragraph("Uno & tres.")}, base=answer.json()["base"], status="ready")
    assert again.status_code == 200
    assert client.get(f"{link}/text").json()["fields"]["body"] == paragraph("Uno & tres.")
    assert client.post(f"{link}/heartbeat", json={"tab": "a"}, headers=SAME_ORIGIN).json()["editable"] is True
    assert client.post(f"{link}/hand-in", headers=SAME_ORIGIN).status_code == 303
    handed_in = client.get(link)
    assert "Amina has been told." in text_of(handed_in.text)
    assert "data-config" not in handed_in.text
    assert save(client, link, {"body": paragraph("Cuatro.")}).status_code == 409
    sign_in(client, "amina@example.org")
    detail = f"/desk/issues/{issue}/requests/{request_id}"
    page_text = client.get(detail).text
    assert "Los barcos" in text_of(page_text)
    base = re.search(r'name="base" value="([^"]*)"', page_text)
    assert base
    taken = post(client, f"{detail}/take-in", {"base": base[1]})
    assert "The text is in the issue." in words(client, taken.headers["location"])
    assert post(client, f"{detail}/take-in", {"base": base[1]}).status_code == 409


def test_without_script_the_page_is_a_form(client: TestClient, app: Container, link: str, request_id: int) -> None:
    form = {"base": "", "headline": "Los *barcos*", "body": "Uno.\n\nDos.", "action": "hand_in", "subject": "x"}
    assert client.post(link, data=form, headers=SAME_ORIGIN).status_code == 303
    written = contributions.open_link(app.database, request_id, app.clock.now())
    assert (written.state, written.written.content["body"]) == ("handed_in", "Uno.\n\nDos.")


def test_nothing_else_of_the_issue_is_shown(client: TestClient, app: Container, issue: int, link: str) -> None:
    with app.database.transaction() as session:
        known = stored.headlines(session, issue)
    (_, first), *others = sorted(known.items())
    shown = client.get(link).text + client.get(f"{link}/text").text
    assert first["en"].split()[-1] in shown
    for texts in others:
        for headline in texts[1].values():
            assert headline not in shown
    assert first["fr"] not in shown
    assert re.search(r'<img class="story-picture" src="/[^"]+\.jpg"', shown), "the picture that its text describes"
    assert "example.org" not in re.sub(r"https?://[^\s\"<]+", "", shown), "no address of anybody"
    for path in ("/desk", f"/desk/issues/{issue}", f"/desk/issues/{issue}/requests"):
        assert client.get(path).headers["location"].startswith("/sign-in")
    for path in ("versions", "look"):
        assert client.get(f"{link}/{path}").status_code == 404


def test_a_document_is_read_and_shown_as_it_was_understood(
    client: TestClient, app: Container, link: str, request_id: int
) -> None:
    def upload(name: str, data: bytes):  # type: ignore[no-untyped-def]
        return client.post(f"{link}/document", files={"document": (name, data)}, headers=SAME_ORIGIN)

    answer = upload("text.docx", make_docx([("Heading1", "Los barcos"), ("", "Uno."), ("", "Dos.")]))
    assert answer.status_code == 200
    assert "this is how it was understood" in text_of(answer.text)
    content = contributions.open_link(app.database, request_id, app.clock.now()).written.content
    assert (content["headline"], content["body"]) == ("Los barcos", "Uno.\n\nDos.")
    for name, data in (
        ("x.docx", b"PK\x03\x04 no zip"),
        ("x.md", b"\xff\xfe\x00"),
        ("x.md", b""),
        ("x.md", b"a" * 30_000),
    ):
        refused = upload(name, data)
        assert refused.status_code == 422, name
        assert "Los barcos" in refused.text
    assert upload("x.md", b"a" * (11 * 1024 * 1024)).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"fields": []}', 400),
        (b"[" * 100_000, 400),
        (b'{"fields": {"body": {"type": "doc", "content": [{"type": "script"}]}}}', 422),
        (b'{"fields": {"body": ' + b'{"type":"doc","content":[' * 3000 + b"]}" * 3000 + b"}}", None),
        (b'{"fields": {"headline": "\\ud800"}}', 422),
        (b'{"fields": {"alt": 5}}', 422),
        (b'{"fields": {"link": "javascript:alert(1)"}}', 200),
        (b'{"base": {"a": 1}, "tab": [], "fields": {}}', 200),
        (b"x" * (300 * 1024), 413),
    ],
)
def test_hostile_bodies_are_refused(
    client: TestClient, app: Container, link: str, request_id: int, body: bytes, status: int | None
) -> None:
    answer = client.post(link, content=body, headers=JSON)
    assert answer.status_code == status if status else 400 <= answer.status_code < 500
    content = contributions.open_link(app.database, request_id, app.clock.now()).written.content
    assert not content["body"] and not content["headline"]
    assert "javascript" not in content["link"]


def test_a_link_that_ended_says_so(client: TestClient, app: Container, link: str) -> None:
    for token in ("x", "A" * 22, link[3:-1] + ("A" if link[-1] != "A" else "Q")):
        assert client.get(f"/t/{token}").status_code == 404
    assert client.post(link, json={"fields": {}}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    clock_of(app).advance(days=30)
    gone = client.get(link)
    assert gone.status_code == 410
    assert "This link does not work any more" in text_of(gone.text)
    assert save(client, link, {}).status_code == 404
    assert client.post(link, data={"body": "x"}, headers=SAME_ORIGIN).status_code == 410
    assert client.post(f"{link}/hand-in", headers=SAME_ORIGIN).status_code == 410


def test_too_many_requests_are_refused(client: TestClient, app: Container, request_id: int, link: str) -> None:
    for _ in range(contributions.MAX_SAVES_PER_MINUTE - 1):
        contributions.count(app.database, request_id, b"another network.", app.clock.now())
    assert save(client, link, {"body": paragraph("Uno.")}).status_code == 200
    refused = [save(client, link, {"body": paragraph("Dos.")}), client.get(link)]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in refused] == [(429, "30")] * 2
    written = contributions.open_link(app.database, request_id, app.clock.now()).written
    assert written.content["body"] == "Uno."
