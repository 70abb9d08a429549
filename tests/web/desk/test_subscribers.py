"""Readers: the list, one person's page, and what staff do for them."""

import csv
import io
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.services.accounts import audit
from mailer.services.newsletters.apply import apply_newsletter
from tests.conftest import SAMPLE
from tests.support.staff import add_account, post, sign_in

PATH = "/desk/newsletters/lumen-basin/subscribers"


@pytest.fixture
def readers(app: Container, client: TestClient, add_subscribers: Callable[[str], None]) -> None:
    """Three readers, and a coordinator who is signed in."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    add_subscribers("""
        ada@example.org;en;
        jeanne@example.org;fr en;water-and-rivers
        leila@example.net;ar;none
    """)
    add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")


def person(client: TestClient, address: str) -> str:
    answer = client.get(PATH, params={"q": address})
    assert answer.status_code == 303
    return answer.headers["location"]


@pytest.mark.usefixtures("readers")
def test_readers_are_found_by_part_of_the_address_state_language_and_section(client: TestClient) -> None:
    assert client.get("/desk/readers").headers["location"] == PATH
    for query, expected in (
        ({}, {"ada", "jeanne", "leila"}),
        ({"q": "EXAMPLE.org"}, {"ada", "jeanne"}),
        ({"q": "jean"}, {"jeanne"}),
        ({"language": "ar"}, {"leila"}),
        ({"state": "active", "section": "water-and-rivers"}, {"ada", "jeanne"}),
        ({"state": "suppressed"}, set()),
        ({"q": "100%"}, set()),
        (
            {"q": "\0", "after": "-5", "state": "nonsense", "language": "xx", "section": "no"},
            {"ada", "jeanne", "leila"},
        ),
    ):
        page = client.get(PATH, params=query)
        assert page.status_code == 200
        assert {name for name in ("ada", "jeanne", "leila") if f">{name}@" in page.text} == expected, query
    assert "No reader matches." in client.get(PATH, params={"q": "nobody"}).text


@pytest.mark.usefixtures("readers")
def test_a_newsletter_says_nothing_about_the_readers_of_another(client: TestClient, app: Container) -> None:
    other = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    other.slug, other.list_id = "other", "other.example.org"
    apply_newsletter(app.database, other)
    where = person(client, "ada@example.org").replace("lumen-basin", "other")
    assert client.get(where).status_code == 404
    for q in ("ada@example.org", "nobody@example.org"):
        answer = client.get(PATH.replace("lumen-basin", "other"), params={"q": q})
        assert answer.status_code == 200
        assert "No reader matches." in answer.text


@pytest.mark.usefixtures("readers")
def test_a_list_is_exported_in_the_format_of_an_import(client: TestClient, app: Container) -> None:
    answer = client.get(f"{PATH}/export.csv?language=fr")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["address"] for row in rows] == ["jeanne@example.org"]
    assert rows[0]["sections"] == "water-and-rivers"
    assert audit.search(app.database, AuditAction.subscribers_exported, "Amina", None)


@pytest.mark.usefixtures("readers")
def test_opening_a_reader_is_recorded(client: TestClient, app: Container) -> None:
    where = person(client, "Jeanne@Example.org")
    assert "jeanne@example.org reads fr, en" in client.get(where).text
    (event,) = audit.search(app.database, AuditAction.subscriber_opened, "", None)
    assert event.actor == "Amina"
    assert event.object_id == int(where.rpartition("/")[2])
    assert client.get(f"{where}/data.json").json()["subscriber"][0]["address"] == "jeanne@example.org"


@pytest.mark.usefixtures("readers")
def test_preferences_are_changed_on_the_telephone_with_a_reason(client: TestClient, app: Container) -> None:
    where = person(client, "jeanne@example.org")
    form = {
        "action": "preferences",
        "name": "Jeanne",
        "languages": "sr-Latn fr",
        "time_zone": "Europe/Belgrade",
        "section": ["health-and-care"],
        "reason": "telephone call",
    }
    for wrong in ({"languages": ""}, {"time_zone": "Mars/Base"}, {"reason": " "}):
        answer = post(client, where, {**form, **wrong})
        assert answer.status_code == (400 if "reason" in wrong else 409)
        assert 'value="Jeanne"' in answer.text  # nothing typed is lost
    assert post(client, where, form).status_code == 303
    page = client.get(where).text
    assert "Jeanne &lt;jeanne@example.org&gt; reads sr-Latn, fr" in page
    assert "Sections: health-and-care" in page
    (event,) = audit.search(app.database, AuditAction.subscriber_changed, "", None)
    assert event.detail["reason"] == "telephone call"


@pytest.mark.usefixtures("readers")
def test_mail_is_stopped_allowed_again_and_a_person_erased(client: TestClient, app: Container) -> None:
    where = person(client, "ada@example.org")
    for action, expected in (
        ("unsubscribe", "unsubscribed since"),
        ("suppress", "No email is sent to this address"),
        ("lift", "The suppression is lifted"),
    ):
        assert post(client, where, {"action": action}).status_code == 400  # without a reason
        done = post(client, where, {"action": action, "reason": "a letter"})
        assert done.status_code == 303
        assert expected in client.get(done.headers["location"]).text
    assert post(client, where, {"action": "lift", "reason": "a letter"}).status_code == 404  # there is none any more
    refused = post(client, where, {"action": "erase", "reason": "a letter", "address": "other@example.org"})
    assert refused.status_code == 400
    done = post(client, where, {"action": "erase", "reason": "a letter", "address": "Ada@example.org"})
    assert "The reader’s data is erased." in client.get(done.headers["location"]).text
    assert client.get(where).status_code == 404
    changes = (AuditAction.subscriber_changed, AuditAction.suppression_lifted, AuditAction.address_suppressed)
    events = [event for event in audit.search(app.database, None, "", None) if event.action in changes]
    erased, lifted, suppressed, unsubscribed = changes[0], *changes[1:], changes[0]
    assert [event.action for event in events] == [erased, lifted, suppressed, unsubscribed]
    # The reasons from before the erasure are gone.
    assert [event.detail.get("reason") for event in events] == ["a letter", None, None, None]
    assert post(client, where, {"action": "dance", "reason": "x"}).status_code == 404


@pytest.mark.usefixtures("readers")
def test_ops_see_readers_but_do_not_change_them_and_authors_see_none(client: TestClient, app: Container) -> None:
    where = person(client, "ada@example.org")
    add_account(app, "ops@example.org", Role.ops)
    add_account(app, "author@example.org", Role.author)
    sign_in(client, "ops@example.org")
    assert "Suppress the address" not in client.get(where).text
    assert post(client, where, {"action": "suppress", "reason": "x"}).status_code == 403
    sign_in(client, "author@example.org")
    for path in (PATH, where, f"{where}/data.json", f"{PATH}/export.csv", "/desk/readers"):
        assert client.get(path).status_code == 403
    for path in (f"{PATH}/0", f"{PATH}/{2**63}", f"{PATH}/999"):
        sign_in(client, "ops@example.org")
        assert client.get(path).status_code == 404
