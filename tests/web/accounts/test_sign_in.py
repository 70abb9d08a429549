"""Signing in and out, the second factor, sessions, and what a stranger is told."""

import json
from collections.abc import Callable
from html import unescape

import pyotp
import pytest
from fastapi.testclient import TestClient

from mailer.adapters.passwords import PasswordsBusy
from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.web.app import create_app
from mailer.web.staff_forms import is_local_path
from tests.support.clock import clock_of
from tests.support.staff import PASSWORD, SAME_ORIGIN, add_account, form_token_of, post, sign_in


@pytest.fixture
def amina(app: Container) -> int:
    return add_account(app, "amina@example.org", Role.administrator)


def test_somebody_signs_in_and_out(client: TestClient, amina: int) -> None:
    assert client.get("/desk").headers["location"] == "/sign-in"
    sign_in(client, "Amina@Example.org ")
    cookie = next(iter(client.cookies.jar))
    assert (cookie.name, cookie.secure, cookie.path) == ("__Host-session", True, "/")
    assert "Amina" in client.get("/account").text
    kept = client.cookies["__Host-session"]
    assert post(client, "/sign-out", {}).headers["location"] == "/sign-in"
    client.cookies.set("__Host-session", kept)
    assert client.get("/account").status_code == 303  # the session itself has ended, not only the cookie


def test_the_session_cookie_is_for_this_host_and_no_script(client: TestClient, amina: int) -> None:
    answer = client.post("/sign-in", data={"address": "amina@example.org", "password": PASSWORD}, headers=SAME_ORIGIN)
    header = answer.headers["set-cookie"].lower()
    assert "__host-session=" in header
    for attribute in ("httponly", "secure", "samesite=lax", "path=/"):
        assert attribute in header
    assert "domain" not in header


@pytest.mark.parametrize(
    "address", ["amina@example.org", "nobody@example.org", "no address", "a" * 5000 + "@example.org"]
)
def test_a_stranger_learns_nothing_about_accounts(client: TestClient, amina: int, address: str) -> None:
    answer = client.post("/sign-in", data={"address": address, "password": "wrong password"}, headers=SAME_ORIGIN)
    assert answer.status_code == 403
    assert "The address or the password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    reset = client.post("/sign-in/forgotten", data={"address": address}, headers=SAME_ORIGIN)
    assert reset.status_code == 200
    assert "If there is an account" in reset.text


def test_guessing_ends_after_ten_attempts_also_with_the_right_password(client: TestClient, amina: int) -> None:
    for _ in range(10):
        client.post("/sign-in", data={"address": "amina@example.org", "password": "x" * 12}, headers=SAME_ORIGIN)
    answer = client.post("/sign-in", data={"address": "amina@example.org", "password": PASSWORD}, headers=SAME_ORIGIN)
    assert answer.status_code == 429
    assert "quarter of an hour" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_no_other_site_signs_anyone_in(client: TestClient, amina: int, headers: dict[str, str]) -> None:
    answer = client.post("/sign-in", data={"address": "amina@example.org", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_form_needs_the_token_of_its_session(client: TestClient, amina: int) -> None:
    sign_in(client, "amina@example.org")
    for token in ("", "0" * 40):
        answer = client.post("/account/language", data={"language": "fr", "form_token": token}, headers=SAME_ORIGIN)
        assert answer.status_code == 403
    assert 'lang="en"' in client.get("/account").text
    post(client, "/account/language", {"language": "fr"})
    assert 'lang="fr"' in client.get("/account").text


def test_a_session_ends_when_idle_and_after_a_day_of_work(client: TestClient, app: Container, amina: int) -> None:
    clock = clock_of(app)
    sign_in(client, "amina@example.org")
    for _ in range(7):
        clock.advance(minutes=110)
        assert client.get("/account").status_code == 200
    clock.advance(minutes=110)
    assert client.get("/account").status_code == 303  # 14 hours have passed
    sign_in(client, "amina@example.org")
    clock.advance(minutes=100)
    assert client.get("/account", headers={"X-Refresh": "1"}).status_code == 200  # the page did that, nobody else
    clock.advance(minutes=21)
    assert client.get("/account").status_code == 303


def test_the_second_factor_is_asked_for_and_no_code_works_twice(client: TestClient, app: Container, amina: int) -> None:
    clock = clock_of(app)
    sign_in(client, "amina@example.org")
    stolen = post(client, "/account/second-factor/begin", {"password": "a guess of a thief"})
    assert stolen.status_code == 400 and "The password is wrong." in stolen.text
    assert post(client, "/account/second-factor", {"code": "000000"}).headers["location"] == "/account"
    setup = post(client, "/account/second-factor/begin", {"password": PASSWORD}).text
    secret = setup.split("<code>")[1].split("</code>")[0].replace(" ", "")
    assert "<svg" in setup
    assert "style=" not in setup
    totp = pyotp.TOTP(secret)
    assert post(client, "/account/second-factor", {"code": "000000"}).status_code == 400
    codes = post(client, "/account/second-factor", {"code": totp.at(clock.now())}).text
    recovery = codes.split("<li><code>")[1].split("</code>")[0]

    client.cookies.clear()
    data = {"address": "amina@example.org", "password": PASSWORD}
    asked = client.post("/sign-in", data=data, headers=SAME_ORIGIN)
    assert asked.status_code == 200
    assert "Enter your code" in asked.text
    assert client.get("/account").status_code == 303  # not signed in yet
    assert (
        client.post("/sign-in/code", data={"code": totp.at(clock.now())}, headers=SAME_ORIGIN).status_code == 403
    )  # that code was used up when it was set up
    clock.advance(seconds=60)
    before = client.cookies["__Host-session"]
    assert client.post("/sign-in/code", data={"code": totp.at(clock.now())}, headers=SAME_ORIGIN).status_code == 303
    assert client.cookies["__Host-session"] != before
    assert client.get("/account").status_code == 200

    for expected in (303, 403):  # a recovery code works once
        client.cookies.clear()
        client.post("/sign-in", data=data, headers=SAME_ORIGIN)
        answer = client.post("/sign-in/code", data={"code": recovery.upper()}, headers=SAME_ORIGIN)
        assert answer.status_code == expected


def test_codes_cannot_be_guessed(client: TestClient, app: Container, amina: int) -> None:
    clock = app.clock
    sign_in(client, "amina@example.org")
    setup = post(client, "/account/second-factor/begin", {"password": PASSWORD}).text
    totp = pyotp.TOTP(setup.split("<code>")[1].split("</code>")[0].replace(" ", ""))
    post(client, "/account/second-factor", {"code": totp.at(clock.now())})
    client.cookies.clear()
    client.post("/sign-in", data={"address": "amina@example.org", "password": PASSWORD}, headers=SAME_ORIGIN)
    for _ in range(5):
        assert client.post("/sign-in/code", data={"code": "123456"}, headers=SAME_ORIGIN).status_code == 403
    assert client.post("/sign-in/code", data={"code": "123456"}, headers=SAME_ORIGIN).status_code == 429
    # Entering the password again gives new attempts, but only so many an hour.
    answers = []
    for _ in range(4):
        client.post("/sign-in", data={"address": "amina@example.org", "password": PASSWORD}, headers=SAME_ORIGIN)
        for _ in range(4):
            answer = client.post("/sign-in/code", data={"code": "123456"}, headers=SAME_ORIGIN)
            answers.append(answer.status_code)
    assert answers == [403] * 15 + [429]


def test_a_change_of_password_ends_the_other_sessions(client: TestClient, amina: int) -> None:
    sign_in(client, "amina@example.org")
    other = client.cookies["__Host-session"]
    sign_in(client, "amina@example.org")
    for wrong in (
        {"old_password": "not this one", "password": "a new and long password"},
        {"old_password": PASSWORD, "password": "short"},
        {"old_password": PASSWORD, "password": "aaaaaaaaaaaaaaaa"},
        {"old_password": PASSWORD, "password": "amina-amina-amina"},
    ):
        assert post(client, "/account/password", dict(wrong)).status_code == 400
    changed = post(client, "/account/password", {"old_password": PASSWORD, "password": "four plain words here"})
    assert changed.status_code == 303
    assert client.get("/account").status_code == 200
    client.cookies.set("__Host-session", other)
    assert client.get("/account").status_code == 303


def test_one_session_can_be_ended_from_another(client: TestClient, amina: int) -> None:
    sign_in(client, "amina@example.org")
    other = client.cookies["__Host-session"]
    sign_in(client, "amina@example.org")
    page = client.get("/account").text
    ended = page.split('name="session" value="')[1].split('"')[0]
    post(client, "/account/sessions", {"session": ended})
    client.cookies.set("__Host-session", other)
    assert client.get("/account").status_code == 303


def test_what_was_filled_in_survives_the_end_of_a_session(client: TestClient, app: Container, amina: int) -> None:
    sign_in(client, "amina@example.org")
    token = form_token_of(client.get("/account").text)
    clock = clock_of(app)
    clock.advance(hours=15)
    late = client.post("/account/language", data={"form_token": token, "language": "fr"}, headers=SAME_ORIGIN)
    assert late.status_code == 401
    assert "What you filled in is kept" in late.text
    again = client.post(
        "/sign-in",
        data={
            "address": "amina@example.org",
            "password": PASSWORD,
            "kept": unescape(late.text.split('name="kept" value="')[1].split('"')[0]),
        },
        headers=SAME_ORIGIN,
    )
    assert 'action="/account/language"' in again.text
    assert 'name="language" value="fr"' in again.text
    sent = client.post(
        "/account/language", data={"form_token": form_token_of(again.text), "language": "fr"}, headers=SAME_ORIGIN
    )
    assert sent.status_code == 303
    assert 'lang="fr"' in client.get("/account").text


NOT_OURS = [
    "//evil.example/x",
    "https://evil.example/",
    "/desk\\evil",
    "/\\evil.example/desk",
    "/\t/evil.example/desk",
    "/desk\n//evil.example",
    " /desk",
    "//[",
    "http://[",
    "/subscribe/x",
    "javascript:1",
    "/desk" + "k" * 2000,
]


@pytest.mark.parametrize("path", NOT_OURS)
def test_signing_in_leads_to_our_own_pages_only(client: TestClient, amina: int, path: str) -> None:
    data = {"address": "amina@example.org", "password": PASSWORD, "next": path}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).headers["location"] == "/desk"
    data |= {"kept": json.dumps([path, [["a", "b"]]]), "next": ""}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).headers["location"] == "/desk"
    asked = client.get("/sign-in", params={"next": path})
    assert asked.status_code == 200 and 'name="next"' not in asked.text


@pytest.mark.parametrize("path", ["/desk", "/desk//evil.example", "/desk/issues/3?show=text&width=phone", "/desk?q=é"])
def test_our_own_pages_are_where_somebody_wanted_to_go(path: str) -> None:
    assert is_local_path(path)


def test_a_long_form_survives_the_end_of_a_session(client: TestClient, amina: int) -> None:
    fields = {f"name{number}": 'ć\r\n"\\' for number in range(395)} | {"text": "ć" * 20_000}
    late = client.post("/account/language", data=fields, headers=SAME_ORIGIN)
    kept = unescape(late.text.split('name="kept" value="')[1].split('"')[0])
    data = {"address": "amina@example.org", "password": PASSWORD, "kept": kept}
    page = client.post("/sign-in", data=data, headers=SAME_ORIGIN).text
    assert page.count('value="ć\r\n&#34;\\"') == 395
    assert "ć" * 20_000 in page


@pytest.mark.parametrize(
    "kept", ["", "[", "[" * 100_000, "[1]", '["/desk"]', '["/desk", [["a"]]]', '["/desk", 7]', "{}"]
)
def test_a_kept_form_that_nobody_kept_is_left_out(client: TestClient, amina: int, kept: str) -> None:
    data = {"address": "amina@example.org", "password": PASSWORD, "kept": kept}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).headers["location"] == "/desk"


@pytest.mark.parametrize(
    ("referrer", "path"),
    [
        ("https://news.example.org/account", "/account"),
        ("https://evil.example/account", "/desk"),
        ("https://news.example.org.evil.example/desk/x", "/desk"),
        ("", "/desk"),
    ],
)
def test_after_a_bare_button_the_page_with_it_is_shown_again(
    client: TestClient, amina: int, referrer: str, path: str
) -> None:
    late = client.post("/account/second-factor/begin", headers=SAME_ORIGIN | {"Referer": referrer})
    next_path = (late.text.split('name="next" value="') + ['"'])[1].split('"')[0]
    data = {"address": "amina@example.org", "password": PASSWORD, "next": next_path}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).headers["location"] == path


@pytest.mark.settings(public_url="https://news.example.org/news")
def test_signing_in_leads_to_pages_below_the_path_of_the_public_url(client: TestClient, amina: int) -> None:
    data = {"address": "amina@example.org", "password": PASSWORD, "next": "/account"}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).headers["location"] == "/news/account"
    data |= {"kept": json.dumps(["/account/language", [["language", "fr"]]])}
    assert 'action="/news/account/language"' in client.post("/sign-in", data=data, headers=SAME_ORIGIN).text


def test_bytes_that_no_keyboard_writes_are_no_error(client: TestClient, amina: int) -> None:
    data = {"address": "amina\0@example.org", "password": "\0"}
    assert client.post("/sign-in", data=data, headers=SAME_ORIGIN).status_code == 403
    assert client.post("/sign-in/forgotten", data=data, headers=SAME_ORIGIN).status_code == 200


class BusyPasswords:
    def hash(self, password: str) -> str:
        raise PasswordsBusy

    def verify(self, password_hash: str, password: str) -> bool:
        raise PasswordsBusy


def test_more_sign_ins_than_can_be_checked_are_put_off(
    make_app: Callable[..., Container], app: Container, amina: int
) -> None:
    busy = make_app({"public_url": "https://news.example.org"}, passwords=BusyPasswords())
    with TestClient(create_app(busy), base_url="https://testserver", follow_redirects=False) as client:
        data = {"address": "amina@example.org", "password": PASSWORD}
        answer = client.post("/sign-in", data=data, headers=SAME_ORIGIN)
        assert answer.status_code == 503
        assert "Try again in a few seconds." in answer.text
        assert 'value="amina@example.org"' in answer.text


@pytest.mark.settings(public_url="http://news.example.org")
def test_without_https_signing_in_says_so(client: TestClient, amina: int) -> None:
    data = {"address": "amina@example.org", "password": PASSWORD}
    answer = client.post("/sign-in", data=data, headers=SAME_ORIGIN)
    assert answer.status_code == 400
    assert "without HTTPS" in answer.text


@pytest.mark.settings(web_staff=False)
def test_a_host_can_serve_the_readers_pages_alone(client: TestClient) -> None:
    for path in ("/sign-in", "/desk", "/account", "/control"):
        assert client.get(path).status_code == 404
