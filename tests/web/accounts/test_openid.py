"""Signing in with OpenID Connect, as a conversation over HTTP with a provider on this machine."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi.testclient import TestClient
from pydantic import SecretStr

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.accounts import audit, people
from mailer.web.app import create_app
from tests.support.clock import StoppedClock, clock_of
from tests.support.openid import Provider, other_keys
from tests.support.staff import PASSWORD, SAME_ORIGIN, add_account, form_token_of, post, sign_in, staff_of, text_of

BEGIN = "/sign-in/openid"


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Provider]:
    with Provider().running() as running:
        yield running


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    running_provider.answers.clear()
    running_provider.asked.clear()
    return running_provider


@pytest.fixture
def app(make_app: Callable[..., Container], provider: Provider) -> Container:
    settings = {
        "public_url": "https://news.example.org",
        "openid_issuer": provider.issuer,
        "openid_client_id": "mailer",
        "openid_client_secret": SecretStr("between the two of us"),
        "openid_name": "Example",
    }
    return make_app(settings, clock=StoppedClock())


@pytest.fixture
def amina(app: Container) -> int:
    return add_account(app, "amina@example.org", Role.administrator)


@pytest.fixture
def invite(app: Container, amina: int) -> Callable[[str], int]:
    """Return a function that invites somebody as an author and returns the number of the link."""
    staff = staff_of(amina, Role.administrator)

    def run(address: str) -> int:
        return people.invite(app.database, staff, address, "Jo", [RoleGrant(Role.author)], app.clock.now())

    return run


def local(url: str) -> str:
    """Return the path and query of a URL of ours."""
    assert url.startswith("https://news.example.org/")
    return url.removeprefix("https://news.example.org")


def come_back(client: TestClient, provider: Provider, subject: str, path: str = BEGIN):  # type: ignore[no-untyped-def]
    """Sign in at the provider and return our answer to what it sends back."""
    return client.get(local(provider.sign_in(client.get(path).headers["location"], subject)))


def what_was_done(app: Container) -> list[AuditAction]:
    return [event.action for event in audit.search(app.database, None, "", None)]


def test_an_invitation_is_accepted_by_signing_in(
    client: TestClient, app: Container, provider: Provider, invite: Callable[[str], int]
) -> None:
    link = invite("jo@example.org")
    provider.add("7", "Jo@example.org")
    answer = come_back(client, provider, "7", f"{BEGIN}?next=/account")
    assert answer.headers["location"] == "/account"
    account = client.get("/account").text
    assert "You sign in with Example and have no password." in account and 'type="password"' not in account
    assert "<svg" in post(client, "/account/second-factor/begin", {}).text, "no password is asked for"
    assert what_was_done(app)[:2] == [AuditAction.signed_in, AuditAction.identity_linked]
    with pytest.raises(people.LinkExpired):
        people.open_link(app.database, link, app.clock.now())

    # From now on the subject counts: the provider may know another address, and need not confirm it.
    provider.add("7", "johanna@example.org", email_verified=False)
    post(client, "/sign-out", {})
    assert client.get("/account").status_code == 303
    assert come_back(client, provider, "7").headers["location"] == "/desk"
    assert "jo@example.org" in client.get("/account").text


def test_the_conversation_is_bound_to_one_browser_and_one_attempt(
    client: TestClient, provider: Provider, amina: int
) -> None:
    provider.add("1", "amina@example.org")
    begun = client.get(BEGIN)
    cookie = begun.headers["set-cookie"].lower()
    for attribute in ("__host-openid=", "httponly", "secure", "samesite=lax", "path=/", "max-age=600"):
        assert attribute in cookie
    sent = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert sent["scope"] == "openid email"
    assert sent["redirect_uri"] == "https://news.example.org/sign-in/openid/callback"
    assert sent["code_challenge_method"] == "S256"
    assert len(sent["state"]) >= 32 and len(sent["nonce"]) >= 32
    assert sent["state"] not in cookie and sent["nonce"] not in cookie  # it is sealed
    back = local(provider.sign_in(begun.headers["location"], "1"))
    kept = client.cookies["__Host-openid"]
    answer = client.get(back)
    assert answer.headers["location"] == "/desk"
    form = next(form for path, form in provider.asked if path == "/oauth2/token")
    assert create_s256_code_challenge(form["code_verifier"][0]) == sent["code_challenge"]
    assert "__Host-openid" not in client.cookies

    client.cookies.clear()
    assert client.get(back).status_code == 403, "without what this browser kept"
    answer = client.get(back, headers={"Cookie": f"__Host-openid={kept}"})
    assert answer.status_code == 403, "a second time"
    assert "__Host-session" not in answer.headers["set-cookie"]


def test_a_form_that_was_open_is_sent_after_signing_in_in_a_second_tab(
    client: TestClient, app: Container, provider: Provider, amina: int
) -> None:
    provider.add("1", "amina@example.org")
    sign_in(client, "amina@example.org")
    token = form_token_of(client.get("/account").text)
    clock = clock_of(app)
    clock.advance(hours=15)
    late = client.post("/account/language", data={"form_token": token, "language": "fr"}, headers=SAME_ORIGIN)
    assert 'href="/sign-in/openid?next=/sign-in/continue" target="_blank"' in late.text
    kept = {"kept": unescape(late.text.split('name="kept" value="')[1].split('"')[0])}
    too_early = client.post("/sign-in/continue", data=kept, headers=SAME_ORIGIN)
    assert too_early.status_code == 403
    assert 'name="kept" value="[&#34;/account/language&#34;' in too_early.text
    assert client.post("/sign-in/continue", data=kept).status_code == 403  # another site's page
    clock.advance(hours=-15)  # as the provider's clock has it
    assert (
        come_back(client, provider, "1", f"{BEGIN}?next=/sign-in/continue").headers["location"] == "/sign-in/continue"
    )
    assert "Close this tab" in client.get("/sign-in/continue").text
    go_on = client.post("/sign-in/continue", data=kept, headers=SAME_ORIGIN).text
    assert 'action="/account/language"' in go_on and 'name="language" value="fr"' in go_on
    again = {"form_token": form_token_of(go_on), "language": "fr"}
    assert client.post("/account/language", data=again, headers=SAME_ORIGIN).status_code == 303


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another attempt"},
        {"iss": "https://evil.example"},
        {"aud": "another service"},
        {"aud": "another service", "azp": "mailer"},
        {"aud": ["mailer", "another service"]},  # without azp
        {"azp": "another service"},
        {"exp": 1_700_000_000},
        {"exp": "soon"},
        {"iat": 4_000_000_000},
        {"at_hash": "of another token"},
    ],
)
def test_an_id_token_that_proves_nothing_signs_nobody_in(
    client: TestClient, provider: Provider, amina: int, claims: dict[str, object]
) -> None:
    provider.add("1", "amina@example.org", **claims)
    answer = come_back(client, provider, "1")
    assert answer.status_code == 403
    assert "does not belong to this browser" in answer.text
    assert "__Host-session" not in answer.headers.get("set-cookie", "")


def test_a_token_of_an_unknown_key_signs_nobody_in(client: TestClient, provider: Provider, amina: int) -> None:
    provider.add("1", "amina@example.org")
    provider.answers["/jwks"] = 200, other_keys()
    assert come_back(client, provider, "1").status_code == 403


def test_a_new_key_of_the_provider_is_fetched(
    client: TestClient, app: Container, provider: Provider, amina: int
) -> None:
    provider.add("1", "amina@example.org")
    provider.answers["/jwks"] = 200, other_keys()
    assert come_back(client, provider, "1").status_code == 403
    del provider.answers["/jwks"]
    assert come_back(client, provider, "1").status_code == 403  # not more often than once a minute
    assert [path for path, _ in provider.asked].count("/jwks") == 1
    clock = clock_of(app)
    clock.advance(minutes=2)
    assert come_back(client, provider, "1").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"state": "of-another-browser"},
        {"state": ""},
        {"state": "é" * 5000},
        {"code": ""},
        {"code": "guessed"},
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
    ],
)
def test_an_answer_that_was_changed_on_its_way_signs_nobody_in(
    client: TestClient, provider: Provider, amina: int, change: dict[str, str]
) -> None:
    provider.add("1", "amina@example.org")
    back = urlsplit(local(provider.sign_in(client.get(BEGIN).headers["location"], "1")))
    query = {name: values[0] for name, values in parse_qs(back.query).items()} | change
    answer = client.get(back.path, params=query)
    assert answer.status_code == 403
    assert "__Host-session" not in answer.headers.get("set-cookie", "")
    assert 'name="password"' in answer.text


@pytest.mark.parametrize("cookie", ["", "nonsense", "A" * 100, "é", "A" * 20_000])
def test_a_browser_that_began_nothing_is_not_signed_in(
    client: TestClient, provider: Provider, amina: int, cookie: str
) -> None:
    provider.add("1", "amina@example.org")
    back = local(provider.sign_in(client.get(BEGIN).headers["location"], "1"))
    client.cookies.clear()
    answer = client.get(back, headers={"Cookie": f"__Host-openid={cookie}".encode()})
    assert answer.status_code == 403


def test_an_attempt_is_over_after_ten_minutes(
    client: TestClient, app: Container, provider: Provider, amina: int
) -> None:
    provider.add("1", "amina@example.org")
    back = local(provider.sign_in(client.get(BEGIN).headers["location"], "1"))
    clock = clock_of(app)
    clock.advance(minutes=11)
    assert client.get(back).status_code == 403


def test_a_person_who_says_no_at_the_provider_comes_back_to_the_form(
    client: TestClient, provider: Provider, amina: int
) -> None:
    back = provider.sign_in(client.get(BEGIN).headers["location"], "1", "deny")
    state = parse_qs(urlsplit(client.get(BEGIN).headers["location"]).query)["state"][0]
    answer = client.get(f"{local(back)}&state={state}")
    assert answer.status_code == 403
    assert "Example did not sign you in." in answer.text


def test_strangers_get_nowhere_and_are_told_why(
    client: TestClient, app: Container, provider: Provider, amina: int, invite: Callable[[str], int]
) -> None:
    def told(subject: str) -> str:
        answer = come_back(client, provider, subject)
        assert answer.status_code == 403
        assert "__Host-session" not in client.cookies
        return text_of(answer.text)

    provider.add("stranger", "stranger@example.org")
    assert "Nobody with the address stranger@example.org has been invited." in told("stranger")
    provider.add("thief", "amina@example.org", email_verified=False)
    assert "does not confirm that your email address is yours" in told("thief")
    provider.add("thief", "amina@example.org", email_verified="true")  # only the value itself counts
    assert "does not confirm" in told("thief")
    provider.add("nameless")
    assert "does not confirm" in told("nameless")

    invite("late@example.org")
    clock = clock_of(app)
    provider.add("late", "late@example.org", exp=4_000_000_000)
    clock.advance(days=8)
    assert "The invitation for late@example.org has expired." in told("late")
    clock.advance(days=-8)

    provider.add("1", "amina@example.org")
    assert come_back(client, provider, "1").status_code == 303
    client.cookies.clear()
    provider.add("2", "amina@example.org")  # the address has a new owner
    assert "belongs to someone else at Example" in told("2")
    refused = AuditAction.sign_in_refused
    assert what_was_done(app).count(refused) == 6


def test_a_disabled_account_stays_out(
    client: TestClient, app: Container, provider: Provider, amina: int, invite: Callable[[str], int]
) -> None:
    invite("jo@example.org")
    provider.add("7", "jo@example.org")
    assert come_back(client, provider, "7").status_code == 303
    theirs = client.cookies["__Host-session"]
    sign_in(client, "amina@example.org")
    post(client, f"/desk/people/{amina + 1}", {"action": "disable"})
    client.cookies.clear()
    client.cookies.set("__Host-session", theirs)
    assert client.get("/account").status_code == 303
    client.cookies.clear()
    assert "has been disabled" in come_back(client, provider, "7").text


def test_the_second_factor_is_asked_for_unless_the_provider_asked_for_one(
    client: TestClient, app: Container, provider: Provider, amina: int
) -> None:
    sign_in(client, "amina@example.org")
    setup = post(client, "/account/second-factor/begin", {"password": PASSWORD}).text
    totp = pyotp.TOTP(setup.split("<code>")[1].split("</code>")[0].replace(" ", ""))
    post(client, "/account/second-factor", {"code": totp.at(app.clock.now())})
    client.cookies.clear()
    provider.add("1", "amina@example.org", amr=["pwd"])
    asked = come_back(client, provider, "1", f"{BEGIN}?next=/account")
    assert asked.status_code == 200
    assert "Enter your code" in asked.text and 'name="next" value="/account"' in asked.text
    assert client.get("/account").status_code == 303
    clock = clock_of(app)
    clock.advance(seconds=40)
    code = {"code": totp.at(clock.now()), "next": "/account"}
    assert client.post("/sign-in/code", data=code, headers=SAME_ORIGIN).headers["location"] == "/account"

    client.cookies.clear()
    provider.add("1", "amina@example.org", amr=["pwd", "mfa"])
    assert come_back(client, provider, "1").headers["location"] == "/desk"


def test_an_address_that_is_not_in_the_id_token_is_asked_for(
    client: TestClient, provider: Provider, amina: int
) -> None:
    provider.add("1")
    provider.answers["/userinfo"] = 200, b'{"sub": "1", "email": "amina@example.org", "email_verified": true}'
    assert come_back(client, provider, "1").headers["location"] == "/desk"
    client.cookies.clear()
    provider.add("2")
    provider.answers["/userinfo"] = 200, b'{"sub": "3", "email": "amina@example.org", "email_verified": true}'
    assert "does not belong to this browser" in come_back(client, provider, "2").text


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (500, b"")),
        ("/.well-known/openid-configuration", (200, b"<html>")),
        ("/.well-known/openid-configuration", (200, b"[" * 100_000)),
        ("/oauth2/token", (503, b"")),
        ("/oauth2/token", (200, b"[]")),
        ("/jwks", (404, b"{}")),
    ],
)
def test_while_the_provider_is_down_passwords_still_work(
    client: TestClient, provider: Provider, amina: int, path: str, answer: tuple[int, bytes]
) -> None:
    provider.add("1", "amina@example.org")
    provider.answers[path] = answer
    begun = client.get(f"{BEGIN}?next=/account")
    page = client.get(local(provider.sign_in(begun.headers["location"], "1"))) if begun.status_code == 303 else begun
    assert page.status_code == 503
    assert "Example does not answer at the moment. Sign in with your password" in page.text
    sign_in(client, "amina@example.org")


@pytest.mark.parametrize("change", [{"issuer": "https://evil.example"}, {"padding": "a" * 300_000}])
def test_metadata_of_another_issuer_or_without_end_is_not_used(
    client: TestClient, provider: Provider, change: dict[str, str]
) -> None:
    path = "/.well-known/openid-configuration"
    metadata = httpx.get(provider.issuer + path).json()
    provider.answers[path] = 200, json.dumps(metadata | change).encode()
    assert client.get(BEGIN).status_code == 503


def test_the_providers_metadata_is_kept_for_an_hour_and_while_it_is_down(
    client: TestClient, app: Container, provider: Provider
) -> None:
    path = "/.well-known/openid-configuration"
    for _ in range(3):
        assert client.get(BEGIN).status_code == 303
    assert [asked for asked, _ in provider.asked].count(path) == 1
    provider.answers[path] = 500, b""
    clock = clock_of(app)
    clock.advance(hours=2)
    assert client.get(BEGIN).status_code == 303
    assert [asked for asked, _ in provider.asked].count(path) == 2


def test_nobody_makes_us_ask_the_provider_without_end(client: TestClient) -> None:
    answers = [client.get(BEGIN).status_code for _ in range(61)]
    assert answers == [303] * 60 + [429]


@pytest.mark.parametrize("path", ["//evil.example", "//[", "https://evil.example/", "/desk\\evil", "/desk" * 1000])
def test_only_our_own_pages_come_after_the_provider(
    client: TestClient, provider: Provider, amina: int, path: str
) -> None:
    provider.add("1", "amina@example.org")
    url = str(client.build_request("GET", BEGIN, params={"next": path}).url).removeprefix("https://testserver")
    assert come_back(client, provider, "1", url).headers["location"] == "/desk"


def test_an_administrator_unlinks_an_account(
    client: TestClient, app: Container, provider: Provider, amina: int, invite: Callable[[str], int]
) -> None:
    bo = add_account(app, "bo@example.org", Role.author)
    provider.add("old", "bo@example.org")
    assert come_back(client, provider, "old").status_code == 303
    sign_in(client, "amina@example.org")
    assert "Unlink from Example" in client.get(f"/desk/people/{bo}").text
    post(client, f"/desk/people/{bo}", {"action": "unlink"})
    assert "Unlink" not in client.get(f"/desk/people/{bo}").text
    client.cookies.clear()
    provider.add("new", "bo@example.org")
    assert come_back(client, provider, "new").status_code == 303

    invite("jo@example.org")
    provider.add("jo", "jo@example.org")
    assert come_back(client, provider, "jo").status_code == 303
    sign_in(client, "amina@example.org")
    refused = post(client, f"/desk/people/{bo + 1}", {"action": "unlink"})
    assert refused.status_code == 400
    assert "This account has no password." in refused.text


def test_the_last_administrator_may_be_one_without_a_password(
    client: TestClient, app: Container, provider: Provider, amina: int
) -> None:
    staff = staff_of(amina, Role.administrator)
    people.invite(app.database, staff, "jo@example.org", "Jo", [RoleGrant(Role.administrator)], datetime.now(UTC))
    with pytest.raises(people.AccountRefused):
        people.disable(app.database, staff, amina, app.clock.now())
    provider.add("jo", "jo@example.org")
    assert come_back(client, provider, "jo").status_code == 303
    people.disable(app.database, staff, amina, app.clock.now())
    with pytest.raises(people.AccountRefused):
        people.disable(app.database, staff, amina + 1, app.clock.now())


def test_without_a_provider_there_is_no_link(make_app: Callable[..., Container]) -> None:
    app = make_app({"public_url": "https://news.example.org"})
    add_account(app, "amina@example.org", Role.administrator)
    with TestClient(create_app(app), base_url="https://testserver", follow_redirects=False) as client:
        assert "openid" not in client.get("/sign-in").text
        assert client.get(BEGIN).status_code == 404
        assert client.get(f"{BEGIN}/callback?code=1&state=2").status_code == 404
        sign_in(client, "amina@example.org", PASSWORD)
