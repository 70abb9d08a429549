"""The pages on which texts are written: as forms, and as their script uses them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.states import TranslationStatus
from mailer.domain.text_tree import line_to_tree, to_tree
from mailer.models import StoryTranslation
from mailer.services.issues import approve, compile, hold_over, plan, write_text
from mailer.services.issues.write_text import TextState
from mailer.web.staff_forms import MAX_FORM_BYTES
from tests.conftest import NOW
from tests.support.staff import SAME_ORIGIN, add_account, form_token_for, post, sign_in, text_of, words

Send = Callable[..., Response]


@pytest.fixture
def path(issue: int, story: int) -> str:
    return f"/desk/issues/{issue}/stories/{story}/en"


@pytest.fixture
def send(client: TestClient, coordinator: int) -> Send:
    """Return a function that sends JSON as the script of the page does."""

    def run(path: str, **values: Any) -> Response:
        token = form_token_for(client)
        return client.post(path, json={"form_token": token, **values}, headers=SAME_ORIGIN)

    return run


def stored(app: Container, path: str) -> TextState:
    parts = path.split("/")
    story = int(parts[5]) if parts[4] == "stories" else None
    key = write_text.key_of(app.database, int(parts[3]), story, parts[-1])
    return write_text.load_state(app.database, key)


def base_of(client: TestClient, path: str) -> str:
    return str(client.get(f"{path}/text").json()["base"])


def test_the_plan_leads_to_each_text(client: TestClient, coordinator: int, issue: int, path: str) -> None:
    shown = client.get(f"/desk/issues/{issue}").text
    for to in (path, path.replace("/en", "/ar"), f"/desk/issues/{issue}/front/en", f"/desk/issues/{issue}/front/de"):
        assert f'href="{to}"' in shown
        assert client.get(to).status_code == 200


def test_the_page_says_when_and_by_whom_it_was_saved(client: TestClient, app: Container, send: Send, path: str) -> None:
    german = path.replace("/en", "/de")
    assert "Nothing is written yet" in client.get(german).text
    with app.database.transaction() as session:
        story = int(path.split("/")[5])
        text = StoryTranslation(
            story_id=story, language="de", headline="Eis", status=TranslationStatus.draft, datelines=[], body=""
        )
        session.add(text)  # written before versions were kept
    assert "Nothing is written yet" not in client.get(german).text
    send(german, base="", tab="a", fields={"body": to_tree("Ein Entwurf")})
    assert re.search(r"Saved on [^<]*\d\d:\d\d UTC, Amina", client.get(german).text)


def test_only_without_script_an_empty_date_stands_beside_others(client: TestClient, send: Send, path: str) -> None:
    line = 'name="dateline"'
    send(path, base=base_of(client, path), tab="a", fields={"datelines": []})
    assert client.get(path).text.count(line) == 1
    send(path, base=base_of(client, path), tab="a", fields={"datelines": [{"text": "May 2026"}]})
    page = client.get(path).text
    assert page.count(line) == 2
    assert re.sub("(?s)<noscript>.*?</noscript>", "", page).count(line) == 1


def test_the_script_saves_trees(client: TestClient, app: Container, send: Send, path: str) -> None:
    fields = {
        "headline": line_to_tree("Ice *again*"),
        "body": to_tree("One\n\n- two\n- three"),
        "datelines": [{"text": "7–8 February 2018, Mavrovo:"}, {"text": " "}],
        "link": "www.example.org",
        "link_label": "More *here*",
    }
    answer = send(path, base=base_of(client, path), tab="a", fields=fields, status="ready")
    assert answer.status_code == 200
    saved = answer.json()
    assert saved["by"] == "Amina"
    assert saved["problems"] == {}
    assert saved["understood"] == ["7–8 February 2018 · Mavrovo"]
    content = stored(app, path).content
    assert (content["headline"], content["body"]) == ("Ice *again*", "One\n\n- two\n- three")
    assert (content["link"], content["link_label"]) == ("https://www.example.org", "More \\*here\\*")
    assert [line["place"] for line in content["datelines"]] == ["Mavrovo"]
    assert saved["base"] == stored(app, path).base
    assert client.get(f"{path}/text").json()["fields"]["link_label"] == "More *here*"


def test_half_a_link_does_not_keep_the_rest_from_being_saved(
    client: TestClient, app: Container, send: Send, path: str
) -> None:
    before = stored(app, path).content["link"]
    fields = {"link": "htt", "alt": "A lake"}
    answer = send(path, base=base_of(client, path), tab="a", fields=fields).json()
    assert answer["problems"].keys() == {"link"}
    assert (stored(app, path).content["alt"], stored(app, path).content["link"]) == ("A lake", before)


def test_a_page_leads_to_the_stories_beside_it(
    client: TestClient, app: Container, coordinator: int, issue: int
) -> None:
    stories = [story.id for story in plan.load_plan(app.database, app.urls, issue).planned_stories]
    for at, story in enumerate(stories[:2]):
        shown = client.get(f"/desk/issues/{issue}/stories/{story}/fr").text
        links = re.findall(r'href="/desk/issues/\d+/stories/(\d+)/fr">(Previous|Next) story', shown)
        before = [(str(stories[at - 1]), "Previous")] if at else []
        assert links == [*before, (str(stories[at + 1]), "Next")]


def test_a_translation_stands_beside_its_source_and_is_said_to_be_up_to_date(
    client: TestClient, coordinator: int, send: Send, path: str
) -> None:
    french = path.replace("/en", "/fr")

    def source() -> str:
        """The base of the source for the box that is there while the translation is stale."""
        found = re.search(r'name="translated_from" value="([^"]+)"', client.get(french).text)
        return found[1] if found else ""

    def save(text: str, **order: object) -> None:
        assert send(path, base=base_of(client, path), tab="a", fields={"body": to_tree(text)}, **order).is_success

    save("The ice is back.", minor=True)
    assert "The ice is back." in words(client, french)
    assert source() == ""
    save("The ice is gone.")
    send(french, base=base_of(client, french), tab="a", fields={"body": to_tree("La glace")})
    assert source() == base_of(client, path)
    send(french, base=base_of(client, french), tab="a", fields={}, translated_from=source())
    assert source() == ""

    # Without script likewise.
    post(client, path, {**FORM, "base": base_of(client, path), "minor": "yes"})
    assert source() == ""
    post(client, path, {**FORM, "base": base_of(client, path), "body": "The ice, again."})
    assert source() == base_of(client, path)
    post(client, french, {**FORM, "base": base_of(client, french), "translated_from": source()})
    assert source() == ""


def test_a_conflict_is_answered_with_both_texts(client: TestClient, app: Container, send: Send, path: str) -> None:
    base = base_of(client, path)
    assert send(path, base=base, tab="a", fields={"body": to_tree("First & \\<b>")}).status_code == 200
    answer = send(path, base=base, tab="b", fields={"body": to_tree("Second \\<script>")})
    assert answer.status_code == 409
    conflict = answer.json()
    assert conflict["reason"] == "changed"
    assert conflict["fields"]["body"] == to_tree("First & \\<b>")
    assert conflict["kept"]
    assert "Second" in conflict["html"]
    assert "<script" not in conflict["html"]
    again = send(path, base=conflict["base"], tab="b", take_over=True, fields={"body": to_tree("Second")})
    assert again.status_code == 200
    assert stored(app, path).content["body"] == "Second"


def test_an_approved_issue_keeps_what_is_sent(client: TestClient, app: Container, send: Send, path: str) -> None:
    base, before = base_of(client, path), stored(app, path).content
    issue = int(path.split("/")[3])
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    answer = send(path, base=base, tab="a", fields={"body": to_tree("Too late")})
    assert (answer.status_code, answer.json()["reason"]) == (409, "closed")
    assert stored(app, path).content == before
    assert "not a draft any more" in words(client, path)
    assert not client.get(f"{path}/text").json()["editable"]


def test_an_ended_session_is_said_in_json(client: TestClient, send: Send, path: str) -> None:
    token = form_token_for(client)
    client.cookies.clear()
    answer = client.post(path, json={"form_token": token, "fields": {}}, headers=SAME_ORIGIN)
    assert (answer.status_code, answer.json()) == (401, {"reason": "signed_out"})
    sign_in(client, "amina@example.org")
    assert client.post(path, json={"form_token": token, "fields": {}}, headers=SAME_ORIGIN).status_code == 403
    fresh = client.get(f"{path}/text").json()["form_token"]
    answer = client.post(path, json={"form_token": fresh, "tab": "a", "fields": {}}, headers=SAME_ORIGIN)
    assert answer.status_code in (200, 409)


def test_what_is_sent_to_where_the_story_was_is_answered_with_where_it_is(
    client: TestClient, app: Container, send: Send, issue: int, story: int, path: str
) -> None:
    base = base_of(client, path)
    draft = hold_over.hold_over(app.database, issue, story, None, NOW.date(), "tests").id
    moved = f"/desk/issues/{draft}/stories/{story}/en"
    answer = send(path, base=base, tab="a", fields={"body": to_tree("Written meanwhile")})
    assert (answer.status_code, answer.json()["reason"]) == (409, "moved")
    assert f'href="{moved}"' in answer.json()["html"]
    assert "The story was moved into another issue" in answer.json()["html"]
    form = post(client, path, {**FORM, "base": base})
    assert form.status_code == 409
    assert f'action="{moved}"' in form.text
    assert "Written meanwhile" in client.get(f"{moved}/versions?new={answer.json()['kept']}").text
    assert send(f"{path}/heartbeat", tab="a").status_code == 404


def test_links_to_a_story_lead_to_the_issue_it_was_held_over_to(
    client: TestClient, app: Container, send: Send, issue: int, story: int, path: str
) -> None:
    draft = hold_over.hold_over(app.database, issue, story, None, NOW.date(), "tests").id
    picture = path.replace("/en", "/picture")
    for page in (path, f"{path}/versions", f"{path}/text", f"{path}/contacts", picture):
        answer = client.get(page)
        assert answer.status_code == 303, page
        there = page.replace(f"/issues/{issue}/", f"/issues/{draft}/")
        assert answer.headers["location"].endswith(there)
        assert client.get(there).status_code == 200


def test_who_is_here_and_who_writes(client: TestClient, app: Container, send: Send, path: str) -> None:
    assert send(f"{path}/heartbeat", tab="a", writing=True).json()["others"] == []
    add_account(app, "jovan@example.org", Role.author, name="Jovan")
    sign_in(client, "jovan@example.org")
    seen = send(f"{path}/heartbeat", tab="j").json()
    assert (seen["others"], seen["writer"], seen["editable"]) == (["Amina"], "Amina", True)
    assert send(f"{path}/heartbeat", tab="j", take_over=True).json()["writer"] == ""
    sign_in(client, "amina@example.org")
    assert send(f"{path}/heartbeat", tab="a", writing=True).json()["writer"] == "Jovan"
    assert send(f"{path}/heartbeat", tab="a", close=True).json() == {}
    assert send(f"{path}/heartbeat", tab="").status_code == 400


def test_somebody_who_only_reads_cannot_take_over(client: TestClient, app: Container, send: Send, path: str) -> None:
    send(f"{path}/heartbeat", tab="a", writing=True)
    add_account(app, "ana@example.org", Role.approver)
    sign_in(client, "ana@example.org")
    seen = send(f"{path}/heartbeat", tab="n", writing=True, take_over=True).json()
    assert (seen["writer"], seen["editable"]) == ("Amina", False)
    assert "You can read this text." in words(client, path)
    assert send(path, tab="n", fields={}).status_code == 403


def test_a_translator_writes_their_languages_but_not_the_source(
    client: TestClient, app: Container, send: Send, path: str
) -> None:
    add_account(app, "tarik@example.org", RoleGrant(Role.translator, None, ("en", "de")))
    sign_in(client, "tarik@example.org")
    german, french = (path.replace("/en", f"/{language}") for language in ("de", "fr"))
    fields = {"headline": line_to_tree("Eis"), "body": to_tree("Ein Text")}
    answer = send(german, tab="a", base="", fields=fields, source_language="de")
    assert answer.status_code == 200
    assert stored(app, german).content["headline"] == "Eis"
    assert write_text.source_language(app.database, write_text.key_of(app.database, *_ids(path), "de")) == "en"
    for refused in (path, french):
        assert send(refused, tab="a", fields=fields).status_code == 403
        assert "You can read this text." in words(client, refused)


def _ids(path: str) -> tuple[int, int]:
    parts = path.split("/")
    return int(parts[3]), int(parts[5])


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "text"},
        {"body": {"type": "doc", "content": [{"type": "script"}]}},
        {"headline": {"type": "doc", "content": 1}},
        {"headline": None},
        {"alt": 1},
        {"alt": "x" * 1001},
        {"link": ["https://example.org"]},
        {"link": "https://example.org/" + "x" * 2000},
        {"link_label": {}},
        {"datelines": "7 May 2026"},
        {"datelines": [{"text": "x"}] * 21},
        {"datelines": [{"text": 3}]},
        {"datelines": [None]},
        {"datelines": {"text": "x"}},
        {"picture_credit": None},
    ],
)
def test_what_is_no_text_is_refused_with_words(
    client: TestClient, app: Container, send: Send, path: str, fields: dict[str, Any]
) -> None:
    before = stored(app, path)
    answer = send(path, base=before.base, tab="a", fields=fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"]
    assert stored(app, path) == before


def test_hostile_bodies_are_bounded(client: TestClient, send: Send, path: str) -> None:
    token = form_token_for(client)
    headers = SAME_ORIGIN | {"Content-Type": "application/json"}
    deep = b'{"form_token": "' + token.encode() + b'", "fields": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for body, status in ((b"{", 400), (b"[]", 400), (b"\xff", 400), (deep, 400), (b" " * (MAX_FORM_BYTES + 1), 413)):
        assert client.post(path, content=body, headers=headers).status_code == status
    assert client.post(path, json={"fields": {}}, headers=SAME_ORIGIN).status_code == 403
    assert client.post(path, json={"form_token": token, "fields": {}}).status_code == 403
    assert send(path, fields=[]).status_code == 400
    assert send(path, tab="../" * 9, base="x", minor=3, status=[], take_over="1", fields={}).status_code in (200, 409)
    assert send(path, base="1.1; DROP", translated_from="9" * 99, source_language=[], fields={}).status_code in (
        200,
        409,
    )


def test_other_texts_are_not_found(client: TestClient, coordinator: int, issue: int, path: str) -> None:
    for other in (f"{path[:-3]}/tlh", f"/desk/issues/{issue}/stories/99999/en", f"/desk/issues/{issue}/stories/x/en"):
        assert client.get(other).status_code == 404
    assert client.get(f"/desk/issues/{issue}/front/xx").status_code == 404
    assert client.get(f"/desk/issues/{issue}/stories/{'9' * 30}/en").status_code == 404


def test_saves_are_bounded_in_time(client: TestClient, app: Container, coordinator: int, send: Send, path: str) -> None:
    for _ in range(write_text.MAX_SAVES_PER_MINUTE - 1):
        write_text.count_save(app.database, coordinator, app.clock.now())
    base = base_of(client, path)
    assert send(path, base=base, tab="a", fields={"body": to_tree("One")}).status_code == 200
    refused = send(path, base=base_of(client, path), tab="a", fields={"body": to_tree("Two")})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert stored(app, path).content["body"] == "One"
    assert send(f"{path}/heartbeat", tab="a").status_code == 200


FORM = {
    "headline": "Ice *again*",
    "body": "One\r\n\r\nTwo",
    "dateline": ["", "soon, Mavrovo"],
    "dateline_start": ["2026-02-07", ""],
    "dateline_end": ["2026-02-08", ""],
    "dateline_place": ["Lake Orra", ""],
    "alt": "A lake",
    "picture_credit": "Ina",
    "link": "https://example.org/a",
    "link_label": "More",
    "status": "ready",
}


def test_without_script_the_page_is_a_form(client: TestClient, app: Container, coordinator: int, path: str) -> None:
    answer = post(client, path, {**FORM, "base": base_of(client, path)})
    assert answer.headers["location"].endswith(f"{path}?done=saved")
    shown = client.get(answer.headers["location"]).text
    assert "The text is saved." in text_of(shown)
    content = stored(app, path).content
    assert (content["headline"], content["body"]) == ("Ice *again*", "One\n\nTwo")
    assert [line["text"] for line in content["datelines"]] == ["7–8 February 2026, Lake Orra", "soon, Mavrovo"]
    assert content["datelines"][0]["place"] == "Lake Orra"
    assert "Understood as 7–8 February 2026 · Lake Orra" in text_of(shown)
    assert "Not understood as a date" in text_of(shown)


def test_without_script_a_status_that_was_not_chosen_stays(
    client: TestClient, app: Container, send: Send, path: str
) -> None:
    page = client.get(path).text
    shown = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("base", "shown_status")}
    assert shown["shown_status"] == "ready"
    send(path, base=shown["base"], tab="a", fields={}, status="draft")
    assert send(f"{path}/heartbeat", tab="b").json()["status"] == "draft"
    assert post(client, path, {**FORM, **shown}).status_code == 303
    assert stored(app, path).status is TranslationStatus.draft


def test_without_script_a_conflict_keeps_both_texts(client: TestClient, app: Container, send: Send, path: str) -> None:
    base = base_of(client, path)
    send(path, base=base, tab="a", fields={"body": to_tree("Amina's")})
    answer = post(client, path, {**FORM, "base": base})
    assert answer.status_code == 409
    assert "Both texts are kept." in text_of(answer.text)
    assert "One\r\n\r\nTwo</textarea>" in answer.text
    assert stored(app, path).content["body"] == "Amina's"
    new_base = answer.text.split('name="base" value="')[1].split('"')[0]
    assert post(client, path, {**FORM, "base": new_base}).status_code == 303
    assert stored(app, path).content["body"] == "One\n\nTwo"


def test_without_script_what_is_refused_stays_in_the_form(
    client: TestClient, app: Container, coordinator: int, path: str
) -> None:
    before = stored(app, path).content
    long = "word " * 4100
    choices = {"status": "draft", "minor": "yes", "source_language": "fr"}
    answer = post(client, path, {**FORM, **choices, "body": long, "base": base_of(client, path)})
    assert answer.status_code == 422
    assert long.strip() in answer.text
    for chosen in ('value="draft" checked', 'name="minor" value="yes" checked', 'value="fr" lang="fr" selected'):
        assert chosen in answer.text
    assert stored(app, path).content == before
    answer = post(client, path, {**FORM, "link": "nowhere", "base": base_of(client, path)})
    assert answer.status_code == 422
    assert 'value="nowhere"' in answer.text
    assert stored(app, path).content["alt"] == "A lake"


def test_front_matter_has_a_page_too(client: TestClient, app: Container, send: Send, issue: int) -> None:
    path = f"/desk/issues/{issue}/front/de"
    assert "Subject and introduction" in client.get(path).text
    fields = {"subject": "Betreff", "intro": to_tree("Hallo"), "partial_subject": "{headline}"}
    assert send(path, base="", tab="a", fields=fields, status="ready").status_code == 200
    assert stored(app, path).content["partial_subject"] == "{headline}"
    assert "Betreff" in client.get(path).text
    assert post(client, path, {"subject": "Anderer", "base": base_of(client, path)}).status_code == 303
    assert stored(app, path).content["subject"] == "Anderer"


def test_a_text_is_shown_as_an_email_shows_it(client: TestClient, send: Send, issue: int, path: str) -> None:
    german = path.replace("/en", "/de")
    for empty in (german, f"/desk/issues/{issue}/front/de"):
        answer = client.get(f"{empty}/look")
        assert answer.status_code == 200
        assert "Nothing is written yet." in text_of(answer.text)
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    send(german, base="", tab="a", fields={"headline": line_to_tree("Eis"), "body": to_tree("Ein Entwurf")})
    for place, shown in ((german, "Ein Entwurf"), (path, "</html>"), (f"/desk/issues/{issue}/front/en", "</html>")):
        answer = client.get(f"{place}/look")
        assert answer.status_code == 200
        assert shown in answer.text
        assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_dates_and_a_place_are_composed_in_the_language(client: TestClient, coordinator: int, path: str) -> None:
    query = {"start": "2026-02-07", "end": "2026-02-08", "place": "Lake Orra"}
    french = path.replace("/en", "/fr")
    assert client.get(f"{french}/dateline", params=query).json() == {
        "text": "7–8 février 2026, Lake Orra",
        "understood": "7–8 février 2026 · Lake Orra",
    }
    assert client.get(f"{french}/dateline", params={"start": "2026-02-30"}).status_code == 400
