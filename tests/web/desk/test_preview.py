"""The preview of an issue: as a reader, all editions at a glance, and tests by mail."""

from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.accounts import audit
from mailer.services.issues import send_test
from mailer.services.subscribers.listing import find_of_any_newsletter
from mailer.store import subscribers
from tests.support.clock import clock_of
from tests.support.emails import html_body
from tests.support.staff import add_account, post, sign_in, text_of, words
from tests.support.transactional import emails_to, send_transactional


def reader(issue: int, address: str) -> str:
    return f"/desk/issues/{issue}/preview/reader?{urlencode({'address': address})}"


def count_queued(app: Container) -> int:
    with app.database.transaction() as session:
        return session.scalar(text("SELECT count(*) FROM issue_test")) or 0


@pytest.mark.usefixtures("coordinator")
def test_the_edition_of_a_reader_is_exactly_theirs(client: TestClient, app: Container, issue: int) -> None:
    page = client.get(reader(issue, "Jeanne@example.org"))
    assert "This is the edition of Jeanne@example.org." in text_of(page.text)
    frame = page.text.split('<iframe class="edition')[1].split('src="')[1].split('"')[0].replace("&amp;", "&")
    edition = client.get(frame).text
    assert 'lang="fr"' in edition
    with app.database.transaction() as session:
        shown = {
            section
            for section, headline in session.execute(
                text("""
                    SELECT c.key, t.headline FROM story s JOIN section c ON c.id = s.section_id
                    JOIN story_translation t ON t.story_id = s.id AND t.language = 'fr'
                """)
            )
            if headline in edition
        }
        always = set(session.scalars(text("SELECT key FROM section WHERE always_included")))
    assert shown == {"water-and-rivers"} | always
    (event,) = audit.search(app.database, AuditAction.subscriber_opened, "Amina", None)
    jeanne = find_of_any_newsletter(app.database, app.tokens.address_hash("jeanne@example.org"))
    assert (event.object_kind, event.object_id, event.detail) == ("subscriber", jeanne, {"issue": issue})


@pytest.mark.usefixtures("coordinator")
def test_it_says_why_somebody_gets_nothing(client: TestClient, app: Container, issue: int) -> None:
    assert "They are not subscribed to this newsletter." in words(client, reader(issue, "nobody@example.org"))
    assert not audit.search(app.database, AuditAction.subscriber_opened, "Amina", None), "nobody was found"
    with app.database.transaction() as session:
        key = app.tokens.address_hash("ada@example.org")
        subscribers.suppress(session, key, SuppressionReason.complaint, SuppressionSource.staff, "")
    page = client.get(reader(issue, "ada@example.org"))
    assert "ada@example.org gets nothing. They are among the readers with a suppressed address." in text_of(page.text)
    assert "<iframe" not in page.text
    refused = client.get(reader(issue, "no address"))
    assert refused.status_code == 400
    assert 'value="no address"' in refused.text


def test_only_those_who_see_addresses_preview_as_a_reader(client: TestClient, app: Container, issue: int) -> None:
    add_account(app, "bo@example.org", Role.author)
    sign_in(client, "bo@example.org")
    assert client.get(reader(issue, "ada@example.org")).status_code == 403
    assert "As a reader" not in words(client, f"/desk/issues/{issue}/preview")


@pytest.mark.usefixtures("coordinator")
def test_all_editions_are_shown_with_their_readers(client: TestClient, issue: int) -> None:
    page = client.get(f"/desk/issues/{issue}/editions").text
    assert page.count("<iframe") == 2, "Leila reads Arabic, and gets what Ada gets"
    assert "2 readers" in page and "1 reader" in page
    assert client.get(f"/desk/issues/{issue}/editions?page=2").status_code == 200
    for frame in page.split("<iframe")[1:]:
        source = frame.split('src="')[1].split('"')[0].replace("&amp;", "&")
        assert client.get(source).status_code == 200


@pytest.mark.usefixtures("coordinator")
def test_a_test_goes_to_the_chosen_editions_and_addresses(
    client: TestClient, app: Container, issue: int, inbox: InboxServer
) -> None:
    page = client.get(f"/desk/issues/{issue}/editions").text
    values = [part.split('"')[0] for part in page.split('name="edition" value="')[1:]]
    data = {"edition": values, "addresses": "ann@example.org, Bea <bea@example.org>"}
    assert post(client, f"/desk/issues/{issue}/test", data).status_code == 400, "a name is no address"
    data["addresses"] = "ann@example.org, bea@example.org ANN@example.org"
    answer = post(client, f"/desk/issues/{issue}/test", data)
    assert "The test is on its way." in words(client, answer.headers["location"])
    assert count_queued(app) == 4
    while send_transactional(app):
        pass
    assert sorted(mail["Content-Language"] for mail in emails_to(inbox, "ann@example.org")) == ["en", "fr"]
    (event, *_) = audit.search(app.database, AuditAction.issue_tested, "Amina", None)
    assert "example.org" not in str(event.detail)
    assert "http" in html_body(emails_to(inbox, "bea@example.org")[0])


@pytest.mark.usefixtures("coordinator")
def test_tests_are_bounded(client: TestClient, app: Container, issue: int) -> None:
    path, full = f"/desk/issues/{issue}/test", str(2**62 - 1)
    many = " ".join(f"a{number}@example.org" for number in range(11))
    for data, expected in (
        ({"edition": f"en.{full}", "addresses": " "}, "Give at least one address."),
        ({"edition": f"en.{full}", "addresses": many}, "Give at most 10 addresses."),
        ({"edition": "en", "addresses": "ann@example.org"}, "Choose at least one edition."),
        ({"edition": f"xx.{full}", "addresses": "ann@example.org"}, "has no text in xx"),
        ({"edition": [f"en.{2**n - 1}" for n in (2, 3, 4)], "addresses": many[:-15]}, "at most 20 tests at once"),
    ):
        answer = post(client, path, dict(data))
        assert answer.status_code == 400
        assert expected in text_of(answer.text)
    assert count_queued(app) == 0
    ten = {"edition": f"en.{full}", "addresses": many.rpartition(" ")[0]}
    for _ in range(send_test.MAX_TESTS_AN_HOUR // 10):
        assert post(client, path, ten).status_code == 303
    assert "Wait until the hour is over" in post(client, path, ten).text
    assert count_queued(app) == send_test.MAX_TESTS_AN_HOUR
    clock_of(app).advance(hours=1)
    assert post(client, path, ten).status_code == 303
