"""The pages on which texts are asked for, and who still owes what."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.services.issues import text_request_list
from tests.support.clock import clock_of
from tests.support.staff import add_account, post, sign_in, text_of, words


def filled_in(app: Container, issue: int, **changes: str) -> dict[str, str]:
    """Ask Jean, who has no account, to translate the first story into Spanish within a week."""
    story = text_request_list.list_stories(app.database, issue)[0][0]
    due_on = (app.clock.now() + timedelta(days=7)).date().isoformat()
    return {
        "text": str(story), "language": "es", "task": "translation", "account": "", "name": "Jean Morel",
        "address": "jean@example.org", "due_on": due_on, "words": "Short sentences.",
    } | changes  # fmt: skip


def ask(client: TestClient, issue: int, form: Mapping[str, str]):  # type: ignore[no-untyped-def]
    return post(client, f"/desk/issues/{issue}/requests", form)


@pytest.mark.usefixtures("coordinator")
def test_a_text_is_asked_for_and_withdrawn(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}/requests"
    assert "Nobody was asked for a text of this issue yet." in words(client, base)
    answer = ask(client, issue, filled_in(app, issue))
    shown = words(client, answer.headers["location"])
    assert "The email is on its way." in shown
    assert "Jean Morel to translate" in shown
    assert "Asked for: Spanish, by Jean Morel" in words(client, f"/desk/issues/{issue}")
    (request,) = text_request_list.list_requests(app.database, issue, app.clock.now())
    detail = words(client, f"{base}/{request.id}")
    assert "jean@example.org" in detail
    assert "Short sentences." in detail
    refused = post(client, f"{base}/{request.id}/remind", {})
    assert refused.status_code == 409
    assert "less than a day ago" in text_of(refused.text)
    clock_of(app).advance(days=8)
    sign_in(client, "amina@example.org")
    assert "Late" in words(client, base)
    assert post(client, f"{base}/{request.id}/remind", {}).headers["location"].endswith("done=reminded")
    answer = post(client, f"{base}/{request.id}/withdraw", {})
    shown = words(client, answer.headers["location"])
    assert "its link does not work any more" in shown
    assert "Jean Morel" not in shown
    assert "Jean Morel" in words(client, base + "?show=all")
    assert post(client, f"{base}/{request.id + 1}/withdraw", {}).status_code == 404


@pytest.mark.usefixtures("coordinator")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"address": "jean"}, "is no email address"),
        ({"due_on": "soon"}, "Give the day"),
        ({"task": "sing"}, "Choose whether"),
        ({"text": "9" * 30}, "Choose a text"),
        ({"language": "'\"><b>"}, "languages"),
        ({"account": "77"}, "no such account"),
    ],
)
def test_a_refused_form_keeps_what_was_filled_in(
    client: TestClient, app: Container, issue: int, changes: dict[str, str], reason: str
) -> None:
    answer = ask(client, issue, filled_in(app, issue, words="Only <b>short</b> ones", **changes))
    assert answer.status_code == 400
    assert reason in text_of(answer.text)
    assert "Only &lt;b&gt;short&lt;/b&gt; ones</textarea>" in answer.text
    assert 'value="Jean Morel"' in answer.text
    assert not text_request_list.list_requests(app.database, issue, app.clock.now())


@pytest.mark.usefixtures("coordinator")
def test_a_colleague_finds_what_they_are_asked_for(client: TestClient, app: Container, issue: int) -> None:
    luka = add_account(app, "luka@example.org", Role.translator)
    form = filled_in(app, issue, account=str(luka), name="", address="")
    assert ask(client, issue, form).status_code == 303
    sign_in(client, "luka@example.org")
    page = client.get("/desk").text
    assert f"/desk/issues/{issue}/stories/{form['text']}/es" in page
    assert "asked by Amina" in text_of(page)
    (request,) = text_request_list.list_requests(app.database, issue, app.clock.now())
    for action in ("", f"/{request.id}/remind", f"/{request.id}/withdraw", f"/{request.id}/send-back"):
        assert post(client, f"/desk/issues/{issue}/requests{action}", form).status_code == 403
    assert post(client, f"/desk/issues/{issue}/requests/{request.id}/done", {}).status_code == 303
    assert "My texts" not in words(client, "/desk")
    sign_in(client, "amina@example.org")
    other = ask(client, issue, filled_in(app, issue, address="ana@example.org"))
    assert other.status_code == 303
    sign_in(client, "luka@example.org")
    assert post(client, f"/desk/issues/{issue}/requests/{request.id + 1}/done", {}).status_code == 404
    assert 'id="ask"' not in client.get(f"/desk/issues/{issue}/requests").text


@pytest.mark.usefixtures("coordinator")
def test_addresses_are_for_those_who_may_ask(client: TestClient, app: Container, issue: int) -> None:
    ask(client, issue, filled_in(app, issue))
    (request,) = text_request_list.list_requests(app.database, issue, app.clock.now())
    add_account(app, "pia@example.org", Role.approver)
    sign_in(client, "pia@example.org")
    page = client.get(f"/desk/issues/{issue}/requests/{request.id}").text
    assert "Jean Morel" in page
    assert "jean@example.org" not in page
