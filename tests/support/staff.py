"""Signs staff in for tests of their pages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import unescape

from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.accounts import people
from mailer.services.accounts.staff import Staff
from mailer.web.staff_forms import COOKIE, form_token

PASSWORD = "correct horse battery staple"
ORIGIN = "http://news.example.org"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def add_account(app: Container, address: str, *grants: RoleGrant | Role, name: str = "") -> int:
    """Create an account with PASSWORD; a bare role is for all newsletters."""
    wanted: Sequence[RoleGrant] = [grant if isinstance(grant, RoleGrant) else RoleGrant(grant) for grant in grants]
    name = name or address.partition("@")[0].title()
    return people.create_account(
        app.database, app.passwords, address, name, PASSWORD, wanted, datetime.now(UTC), "tests"
    )


def staff_of(account: int, role: Role, name: str = "Amina", language: str = "en") -> Staff:
    """Return an account with a role for all newsletters as it acts, in no session."""
    address = f"{name.lower()}@example.org"
    return Staff(account, 0, name, address, language, (RoleGrant(role),), "192.0.2.0/24")


def sign_in(client: TestClient, address: str, password: str = PASSWORD) -> None:
    client.cookies.clear()
    answer = client.post("/sign-in", data={"address": address, "password": password}, headers=SAME_ORIGIN)
    assert answer.status_code == 303, answer.text


def form_token_of(html: str) -> str:
    return html.split('name="form_token" value="')[1].split('"')[0]


def form_token_for(client: TestClient) -> str:
    """Return the token that the pages of the session have."""
    return form_token(client.cookies.get(COOKIE, ""))


def post(client: TestClient, path: str, data: Mapping[str, object], *, page: str = ""):  # type: ignore[no-untyped-def]
    """Post a form with the token of the session; with ``page``, with the one that this page has."""
    token = form_token_of(client.get(page).text) if page else form_token_for(client)
    return client.post(path, data={"form_token": token, **data}, headers=SAME_ORIGIN)


def words(client: TestClient, path: str) -> str:
    """Return the text of a page's main part."""
    answer = client.get(path)
    assert answer.status_code == 200
    return text_of(answer.text)


def text_of(html: str) -> str:
    """Return the text of the main part of a page, without its markup."""
    parts = html.split("<main", 1)[1].split("<")
    return " ".join(unescape(" ".join(part.split(">", 1)[-1] for part in parts)).split())
