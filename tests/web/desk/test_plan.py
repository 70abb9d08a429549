"""The plan of an issue: its stories are moved, removed and put back."""

import re

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role
from mailer.services.accounts import audit
from mailer.services.issues import plan
from tests.conftest import SAMPLE
from tests.support.staff import SAME_ORIGIN, add_account, form_token_of, post, sign_in, text_of


def headlines(app: Container, issue: int) -> list[tuple[str, str]]:
    """Return each section's key and headline in print order."""
    sections = plan.load_plan(app.database, app.urls, issue).sections
    return [(section.key, story.headline) for section in sections for story in section.stories]


def undo_path(html: str) -> str:
    found = re.search(r'action="([^"]+/undo)"', html)
    assert found
    return found[1]


@pytest.mark.usefixtures("coordinator")
def test_a_story_is_removed_and_put_back(client: TestClient, app: Container, issue: int) -> None:
    before = headlines(app, issue)
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[1]
    answer = post(client, f"/desk/issues/{issue}/stories/{story.id}/remove", {})
    shown = client.get(answer.headers["location"]).text
    assert "The story is removed." in text_of(shown)
    assert "1 removed story" in text_of(shown)
    assert len(headlines(app, issue)) == len(before) - 1
    answer = post(client, undo_path(shown), {})
    assert "The story is back where it was." in client.get(answer.headers["location"]).text
    assert headlines(app, issue) == before
    assert post(client, undo_path(shown), {}).status_code == 409
    for action in (AuditAction.story_removed, AuditAction.story_restored):
        (event,) = audit.search(app.database, action, "Amina", None)
        assert event.detail == {"headline": story.headline}


@pytest.mark.usefixtures("coordinator")
def test_a_story_is_moved_and_moved_back(client: TestClient, app: Container, issue: int) -> None:
    base, before = f"/desk/issues/{issue}", headlines(app, issue)
    loaded = plan.load_plan(app.database, app.urls, issue)
    story, target = loaded.sections[0].stories[0], loaded.sections[1]
    move, revision = f"{base}/stories/{story.id}/move", loaded.head.revision
    answer = post(client, move, {"revision": revision, "section": target.key})
    assert answer.headers["location"].endswith("?done=moved")
    assert (target.key, story.headline) in headlines(app, issue)
    refused = post(client, move, {"revision": revision, "step": "up"})
    assert refused.status_code == 409
    assert "changed while you looked at it" in text_of(refused.text)
    assert post(client, move, {"revision": revision + 1, "section": "nowhere"}).status_code == 409
    assert post(client, undo_path(client.get(f"{base}?done=moved").text), {}).status_code == 303
    assert headlines(app, issue) == before
    (event,) = audit.search(app.database, AuditAction.story_moved, "Amina", None)
    assert event.detail == {"headline": story.headline, "section": target.key}


def test_a_translator_neither_moves_nor_removes(client: TestClient, app: Container, issue: int) -> None:
    add_account(app, "tarik@example.org", Role.translator)
    sign_in(client, "tarik@example.org")
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[0]
    shown = client.get(f"/desk/issues/{issue}").text
    for action in ("move", "remove"):
        assert f"/{action}" not in shown
        path = f"/desk/issues/{issue}/stories/{story.id}/{action}"
        assert post(client, path, {"revision": "1", "step": "down"}).status_code == 403
    assert post(client, f"/desk/issues/{issue}/changes/1/undo", {}).status_code == 403


@pytest.mark.usefixtures("coordinator")
def test_an_id_that_no_story_can_have_is_not_found(client: TestClient, issue: int) -> None:
    for path in (f"stories/{'9' * 30}/remove", "stories/0/move", f"changes/{'9' * 30}/undo"):
        assert post(client, f"/desk/issues/{issue}/{path}", {"revision": "1"}).status_code in (404, 422)


@pytest.mark.usefixtures("coordinator")
def test_the_header_image_is_set_and_removed(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    token = {"form_token": form_token_of(client.get("/account").text)}

    def upload(name: str, data: bytes):  # type: ignore[no-untyped-def]
        file = {"pictures": (name, data, "image/jpeg")}
        return client.post(f"{base}/header-image", data=token, files=file, headers=SAME_ORIGIN)

    answer = upload("masthead.jpg", (SAMPLE / "pictures" / "masthead.jpg").read_bytes())
    shown = client.get(answer.headers["location"]).text
    assert "The header image is set." in text_of(shown)
    assert 'class="header-image"' in shown
    refused = upload("masthead.jpg", b"no picture")
    assert refused.status_code == 400
    assert 'class="header-image"' in refused.text
    answer = client.post(f"{base}/header-image", data=token, headers=SAME_ORIGIN)
    shown = client.get(answer.headers["location"]).text
    assert "The header image is removed." in text_of(shown)
    assert 'class="header-image"' not in shown
    assert len(audit.search(app.database, AuditAction.header_image_changed, "Amina", None)) == 2
