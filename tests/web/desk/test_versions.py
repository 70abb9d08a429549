"""The page of a text's versions."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.states import TextSubject
from mailer.domain.text_fields import TypedText
from mailer.domain.versions import TextKey
from mailer.services.issues import text_versions, write_text
from mailer.services.issues.write_text import SaveOrder
from tests.conftest import NOW
from tests.support.staff import add_account, post, sign_in, words


@pytest.fixture
def key(app: Container, coordinator: int, issue: int, story: int) -> TextKey:
    """A story that was imported and then changed, while somebody else wrote from the older text."""
    key = TextKey(issue, TextSubject.story, story, "en")
    base = write_text.load_state(app.database, key).base
    for text in ("The ice is back", "The snow is back"):
        order = SaveOrder(base, TypedText({"headline": text}))
        write_text.save_text(app.database, key, order, "Zoran", NOW)
    return key


def path(key: TextKey) -> str:
    return f"/desk/issues/{key.issue}/stories/{key.subject_id}/{key.language}"


def test_versions_are_listed_compared_and_put_back(client: TestClient, app: Container, key: TextKey) -> None:
    shown = words(client, f"{path(key)}/versions")
    assert "Zoran" in shown and "Set aside: not in the issue" in shown and "the text now" in shown
    aside, now, first = text_versions.list_versions(app.database, key).versions
    shown = client.get(f"{path(key)}/versions?old={now.id}&new={aside.id}").text
    assert "<del>ice</del><ins>snow</ins>" in shown
    assert post(client, f"{path(key)}/versions", {"version": aside.id}).status_code == 303
    assert write_text.load_state(app.database, key).content["headline"] == "The snow is back"
    assert "The version is the text again" in words(client, f"{path(key)}/versions?done=restored")
    for other in ("new=999999", f"old=999999&new={first.id}"):
        assert client.get(f"{path(key)}/versions?{other}").status_code == 404
    assert post(client, f"{path(key)}/versions", {"version": "999999"}).status_code == 409
    assert post(client, f"{path(key)}/versions", {"version": "x"}).status_code == 400


def test_a_text_without_versions_says_so(client: TestClient, key: TextKey) -> None:
    assert "has no versions yet" in words(client, f"/desk/issues/{key.issue}/front/ar/versions")


def test_a_stale_translation_leads_to_what_has_changed(client: TestClient, key: TextKey) -> None:
    shown = client.get(f"{path(key).removesuffix('en')}fr/versions").text
    assert "The source, in English, has changed since this was translated." in shown
    link = re.search(r'href="([^"]+/en/versions\?old=[^"]+)"', shown)
    assert link
    assert "The ice is back" in words(client, unescape(link[1]))


def test_who_may_only_read_puts_nothing_back(client: TestClient, app: Container, key: TextKey) -> None:
    add_account(app, "luka@example.org", RoleGrant(Role.translator, languages=("fr",)))
    sign_in(client, "luka@example.org")
    assert "Put this version back" not in words(client, f"{path(key)}/versions")
    version = text_versions.list_versions(app.database, key).versions[0].id
    assert post(client, f"{path(key)}/versions", {"version": version}).status_code == 403
