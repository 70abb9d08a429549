"""Invitations, roles, and accounts that are kept out."""

from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Permission, Role, RoleGrant
from mailer.services.accounts import audit, people
from mailer.services.accounts.people import AccountRefused
from mailer.services.newsletters.apply import apply_newsletter
from mailer.store import accounts
from mailer.store.database import Database
from tests.conftest import SAMPLE
from tests.support.clock import clock_of
from tests.support.locks import wait_for_lock
from tests.support.staff import SAME_ORIGIN, add_account, post, sign_in, staff_of


@pytest.fixture
def newsletter(app: Container) -> None:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))


@pytest.fixture
def amina(app: Container) -> int:
    return add_account(app, "amina@example.org", Role.administrator)


def last_mail(app: Container, inbox: InboxServer) -> EmailMessage:
    app.transactional_sender.send_due(app.clock.now())
    mail = inbox.messages()[-1]
    return message_from_bytes(inbox.inbox.read(mail), policy=policy.default)


def link_in(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return (
        next(word for word in body.get_content().split() if "/w/" in word)
        .strip("<>")
        .removeprefix("https://news.example.org")
    )


def test_a_colleague_is_invited_by_mail_and_signs_in(
    client: TestClient, app: Container, inbox: InboxServer, newsletter: None, amina: int
) -> None:
    sign_in(client, "amina@example.org")
    data = {"name": "Jovan", "address": "Jovan@example.org", "role:all:translator": "1"}
    data["languages:all:translator"] = "fr"
    answer = post(client, "/desk/people", dict(data))
    assert "done=invited" in answer.headers["location"]
    assert "Jovan" in client.get(answer.headers["location"]).text
    mail = last_mail(app, inbox)
    assert mail["To"] == "Jovan <jovan@example.org>"
    assert "Amina has invited you" in " ".join(str(mail.get_body(("plain",)).get_content()).split())  # type: ignore[union-attr]
    link = link_in(mail)

    client.cookies.clear()
    assert "Jovan" in client.get(link).text
    assert client.post(link, data={"password": "short"}, headers=SAME_ORIGIN).status_code == 400
    chosen = client.post(link, data={"password": "four plain words here"}, headers=SAME_ORIGIN)
    assert "Your password is set" in chosen.text
    assert client.get(link).status_code == 410  # it works once
    sign_in(client, "jovan@example.org", "four plain words here")
    assert client.get("/desk").status_code == 200
    assert client.get("/desk/people").status_code == 403
    staff = app.sign_in.load(client.cookies["__Host-session"], "", app.clock.now())
    assert staff
    assert staff.grants == (RoleGrant(Role.translator, None, ("fr",)),)
    assert staff.may(Permission.translate_texts, 1, "fr")
    assert not staff.may(Permission.translate_texts, 1, "ar")
    assert not staff.may(Permission.write, 1)


def test_an_invitation_expires_after_a_week(client: TestClient, app: Container, newsletter: None, amina: int) -> None:
    sign_in(client, "amina@example.org")
    answer = post(client, "/desk/people", {"name": "Jo", "address": "jo@example.org", "role:all:author": "1"})
    page = client.get(answer.headers["location"]).text
    link = page.split("https://news.example.org")[1].split("<")[0]
    assert client.get(link).status_code == 200
    clock = clock_of(app)
    clock.advance(days=7)
    assert client.get(link).status_code == 410


def test_nobody_sees_a_colleagues_link_to_a_new_password(
    client: TestClient, app: Container, newsletter: None, amina: int
) -> None:
    add_account(app, "bo@example.org", Role.administrator)
    sign_in(client, "amina@example.org")
    invited = post(client, "/desk/people", {"name": "Jo", "address": "jo@example.org", "role:all:author": "1"})
    number = int(invited.headers["location"].split("link=")[1].partition("&")[0])
    assert "/w/" in client.get(f"/desk/people?done=invited&link={number}").text
    client.post("/sign-in/forgotten", data={"address": "bo@example.org"}, headers=SAME_ORIGIN)
    for other in (number + 1, number + 2, 0, 10**18):
        assert "/w/" not in client.get(f"/desk/people?done=invited&link={other}").text


def test_what_is_wrong_with_an_invitation_is_said_and_nothing_typed_is_lost(
    client: TestClient, newsletter: None, amina: int
) -> None:
    sign_in(client, "amina@example.org")
    for data, expected in (
        ({"name": "Jo", "address": "jo@example.org"}, "Choose at least one role."),
        ({"name": "Jo", "address": "no address", "role:all:author": "1"}, "is not an email address"),
        ({"name": " ", "address": "jo@example.org", "role:all:author": "1"}, "Give a name"),
        ({"name": "Jo", "address": "amina@example.org", "role:all:author": "1"}, "There is an account for"),
    ):
        answer = post(client, "/desk/people", dict(data))
        assert answer.status_code == 400
        assert expected in answer.text
        assert f'value="{data["address"]}"' in answer.text


def test_the_last_administrator_cannot_be_removed(client: TestClient, app: Container, amina: int) -> None:
    sign_in(client, "amina@example.org")
    for data in ({"action": "disable"}, {"action": "roles", "role:all:author": "1"}):
        answer = post(client, f"/desk/people/{amina}", dict(data))
        assert answer.status_code == 400
        assert "last administrator" in answer.text
    second = add_account(app, "bo@example.org", Role.administrator)
    assert post(client, f"/desk/people/{second}", {"action": "disable"}).status_code == 303
    assert post(client, f"/desk/people/{amina}", {"action": "disable"}).status_code == 400


def test_two_administrators_cannot_remove_each_other_at_once(app: Container, database: Database, amina: int) -> None:
    bo = add_account(app, "bo@example.org", Role.administrator)
    author = [RoleGrant(Role.author)]

    with ThreadPoolExecutor() as pool:
        with database.transaction() as session:  # as Amina does it
            accounts.lock_administrators(session)
            second = pool.submit(
                people.set_roles, app.database, staff_of(bo, Role.administrator), amina, author, app.clock.now()
            )
            wait_for_lock(session, second, "relation")
            accounts.set_grants(session, bo, author)
        with pytest.raises(AccountRefused, match="last administrator"):
            second.result()


@pytest.mark.parametrize("account", [0, -1, 10**6, 2**31, 10**30])
def test_an_account_that_does_not_exist_is_not_found(
    client: TestClient, app: Container, amina: int, account: int
) -> None:
    sign_in(client, "amina@example.org")
    before = len(audit.search(app.database, None, "", None))
    for action in ("roles", "disable", "enable", "sessions", "invite", "unlink"):
        answer = post(client, f"/desk/people/{account}", {"action": action, "role:all:author": "1"})
        assert answer.status_code == 404
    assert client.get(f"/desk/people/{account}").status_code == 404
    assert len(audit.search(app.database, None, "", None)) == before
    assert client.get("/desk/audit-log?before=" + "9" * 30).status_code == 404
    assert client.get("/desk?before=" + "9" * 10).status_code == 404


def test_somebody_kept_out_is_out_at_once(client: TestClient, app: Container, amina: int) -> None:
    other = add_account(app, "bo@example.org", Role.author)
    sign_in(client, "bo@example.org")
    theirs = client.cookies["__Host-session"]
    sign_in(client, "amina@example.org")
    post(client, f"/desk/people/{other}", {"action": "disable"})
    client.cookies.set("__Host-session", theirs)
    assert client.get("/desk").status_code == 303


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once_for_an_hour(
    client: TestClient, app: Container, inbox: InboxServer, newsletter: None, amina: int
) -> None:
    sign_in(client, "amina@example.org")
    session = client.cookies["__Host-session"]
    client.post("/sign-in/forgotten", data={"address": "amina@example.org"}, headers=SAME_ORIGIN)
    link = link_in(last_mail(app, inbox))
    assert client.post(link, data={"password": "four plain words here"}, headers=SAME_ORIGIN).status_code == 200
    client.cookies.set("__Host-session", session)
    assert client.get("/account").status_code == 303  # sessions from before have ended
    sign_in(client, "amina@example.org", "four plain words here")
    client.post("/sign-in/forgotten", data={"address": "amina@example.org"}, headers=SAME_ORIGIN)
    link = link_in(last_mail(app, inbox))
    clock = clock_of(app)
    clock.advance(hours=1)
    assert client.get(link).status_code == 410


def test_the_audit_log_says_who_did_what(client: TestClient, app: Container, amina: int) -> None:
    other = add_account(app, "bo@example.org", Role.author)
    sign_in(client, "amina@example.org")
    post(client, f"/desk/people/{other}", {"action": "sessions"})
    client.post("/sign-in", data={"address": "bo@example.org", "password": "wrong words"}, headers=SAME_ORIGIN)
    text = client.get("/desk/audit-log").text
    assert "signed in" in text
    assert "ended a session" in text
    assert "was refused at signing in" in text
    assert "wrong words" not in text
    assert "ended a session" not in client.get("/desk/audit-log?actor=Bo").text.split("<tbody>")[1]
    assert client.get("/desk/audit-log?action=nonsense&actor=%00&before=7").status_code == 200
