"""The plan of an issue: its stories are moved, removed and put back."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.accounts import audit
from mailer.services.issues import plan
from mailer.store import issues
from mailer.store.database import Database
from mailer.web.app import create_app
from tests.conftest import SAMPLE
from tests.support.clock import StoppedClock
from tests.support.staff import SAME_ORIGIN, add_account, form_token_for, post, sign_in, text_of


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
def test_a_headline_is_listed_without_its_formatting(client: TestClient, app: Container, issue: int) -> None:
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[0]
    with app.database.transaction() as session:
        issues.story_texts(session, issue)[story.id]["en"].headline = r"Salt \& *stars* \<b>"
    assert headlines(app, issue)[0][1] == "Salt & stars <b>"
    removed = client.get(post(client, f"/desk/issues/{issue}/stories/{story.id}/remove", {}).headers["location"])
    assert "Salt &amp; stars &lt;b&gt;" in removed.text


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
    token = {"form_token": form_token_for(client)}

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


@pytest.mark.usefixtures("coordinator")
def test_an_issue_is_begun_and_planned_without_a_document(client: TestClient, app: Container, issue: int) -> None:
    """Begun from the last one; a story and a language added, the sections put in order, the story held over."""
    assert "/desk/newsletters/lumen-basin/new-issue" in client.get("/desk").text
    page = client.get("/desk/newsletters/lumen-basin/new-issue").text
    assert 'value="2026/4"' in page
    form = {"number": "2026/3", "date": "2026-12-01", "begin": "last", "header_image": "on"}
    refused = post(client, "/desk/newsletters/lumen-basin/new-issue", form)
    assert (refused.status_code, 'value="2026-12-01"' in refused.text) == (400, True)
    assert "There is an issue with this number already." in text_of(refused.text)
    assert post(client, "/desk/newsletters/lumen-basin/new-issue", form | {"date": "soon"}).status_code == 400
    answer = post(client, "/desk/newsletters/lumen-basin/new-issue", form | {"number": "2026/4"})
    base = answer.headers["location"].partition("?")[0]
    begun = int(base.rpartition("/")[2])
    shown = client.get(answer.headers["location"]).text
    assert "The issue is begun." in text_of(shown)
    keys = re.findall(r'data-section="([^"]+)"', shown)

    answer = post(client, f"{base}/stories", {"section": keys[1]})
    assert re.fullmatch(rf"{base}/stories/\d+/en", answer.headers["location"])
    assert client.get(answer.headers["location"]).status_code == 200
    story = answer.headers["location"].split("/")[-2]
    assert post(client, f"{base}/stories", {"section": "nowhere"}).status_code == 409
    assert "Untitled" in text_of(client.get(base).text)

    assert post(client, f"{base}/languages", {"language": "de"}).headers["location"].endswith("?done=language")
    assert "de" in plan.load_plan(app.database, app.urls, begun).begun_languages

    revision = plan.load_head(app.database, begun).revision
    order = {"section": keys[2], "revision": revision, "place": "1"}
    moved = post(client, f"{base}/sections/move", order)
    shown = client.get(moved.headers["location"]).text
    assert re.findall(r'data-section="([^"]+)"', shown) == [keys[2], keys[0], keys[1], *keys[3:]]
    assert post(client, f"{base}/sections/move", order).status_code == 409
    assert post(client, f"{base}/sections/move", order | {"place": "first"}).status_code == 400
    back = post(client, undo_path(shown), {})
    assert "The sections are in their order again." in text_of(client.get(back.headers["location"]).text)

    held = post(client, f"{base}/stories/{story}/hold-over", {"target": str(issue)})
    assert "The story is held over." in text_of(client.get(held.headers["location"]).text)
    assert f'id="story-{story}"' in client.get(f"/desk/issues/{issue}").text
    assert post(client, f"{base}/stories/{story}/hold-over", {"target": "x"}).status_code == 400
    for action in (
        AuditAction.issue_begun,
        AuditAction.story_added,
        AuditAction.language_begun,
        AuditAction.sections_ordered,
        AuditAction.story_held_over,
    ):
        assert audit.search(app.database, action, "Amina", None)


def test_a_translator_begins_a_language_undoes_it_and_marks_it_as_ready(
    client: TestClient, app: Container, issue: int, story: int
) -> None:
    add_account(app, "tarik@example.org", RoleGrant(Role.translator, languages=("de",)))
    sign_in(client, "tarik@example.org")
    base = f"/desk/issues/{issue}"
    post(client, f"{base}/languages", {"language": "de"})
    assert "nothing is written yet." in text_of(client.get(base).text)
    undone = post(client, f"{base}/languages/undo", {"language": "de"})
    shown = client.get(undone.headers["location"]).text
    assert "The language is removed" in text_of(shown)
    assert "nothing is written yet." not in text_of(shown)
    assert post(client, f"{base}/languages/undo", {"language": "de"}).status_code == 409
    post(client, f"{base}/languages", {"language": "de"})
    with app.database.transaction() as session:
        german = issues.story_texts(session, issue)[story]["de"]
        german.headline, german.body = "Wasser", "Es regnet."
    shown = text_of(post(client, f"{base}/languages/ready", {"language": "de"}).text)
    assert "1 draft in German is ready now." in shown
    assert "stay drafts:" in shown
    assert "it has no headline" in shown
    refused = post(client, f"{base}/languages/undo", {"language": "de"})
    assert refused.status_code == 409
    assert "Something is written in this language, so it stays." in text_of(refused.text)
    post(client, "/account/language", {"language": "fr"})
    refused = post(client, f"{base}/languages/undo", {"language": "de"})
    assert "Quelque chose est écrit dans cette langue" in text_of(refused.text)
    for path in ("ready", "undo"):
        assert post(client, f"{base}/languages/{path}", {"language": "fr"}).status_code == 403
    for action in (AuditAction.language_removed, AuditAction.texts_ready):
        assert audit.search(app.database, action, "Tarik", None)


@pytest.mark.usefixtures("coordinator")
def test_removed_stories_are_listed_with_their_texts(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    assert "No story was removed" in text_of(client.get(f"{base}/trash").text)
    story = plan.load_plan(app.database, app.urls, issue).planned_stories[0]
    post(client, f"{base}/stories/{story.id}/remove", {})
    assert f"{base}/trash" in client.get(base).text
    shown = client.get(f"{base}/trash").text
    words = text_of(shown)
    for part in (story.headline, "removed by Amina", "English", "Français", "Text in English"):
        assert part in words
    assert post(client, undo_path(shown), {}).status_code == 303
    assert story.headline in text_of(client.get(base).text)


@pytest.mark.usefixtures("coordinator")
def test_a_story_is_found_and_used_again(client: TestClient, app: Container, issue: int) -> None:
    stories = "/desk/newsletters/lumen-basin/stories"
    assert stories in client.get("/desk").text
    assert stories in client.get(f"/desk/issues/{issue}").text
    shown = client.get(f"{stories}?q=flooding&language=en&picture=1").text
    assert "<mark>floods</mark>" in shown
    assert "No story matches." in text_of(client.get(f"{stories}?q=zzzz").text)
    assert client.get(f"{stories}?page=999999").status_code in (404, 422)
    story = re.search(r'id="story-(\d+)"', shown)
    assert story
    use = f"{stories}/{story[1]}/use"
    before = len(headlines(app, issue))
    answer = post(client, use, {"target": issue, "section": "", "status": "draft"})
    shown = client.get(answer.headers["location"]).text
    assert "The story is used again" in text_of(shown)
    assert len(headlines(app, issue)) == before + 1
    undo = re.search(r'action="([^"]+/remove)"', shown)
    assert undo
    assert post(client, undo[1], {}).status_code == 303
    assert len(headlines(app, issue)) == before
    refused = post(client, use, {"target": issue, "section": "nowhere", "q": "flooding"})
    assert (refused.status_code, 'value="flooding"' in refused.text) == (409, True)
    assert post(client, use, {"target": "x"}).status_code == 400


@pytest.mark.usefixtures("coordinator")
def test_a_search_that_takes_too_long_says_what_to_do(
    client: TestClient, app: Container, make_app: Callable[..., Container], issue: int
) -> None:
    impatient = Database(app.database.url, public_timeout_seconds=0.05)
    hurried = make_app({"public_url": "https://news.example.org"}, database=impatient, clock=StoppedClock())
    other = TestClient(create_app(hurried), base_url="https://testserver", cookies=client.cookies)
    with app.database.transaction() as session:
        session.execute(text("LOCK TABLE story_translation IN ACCESS EXCLUSIVE MODE"))
        answer = other.get("/desk/newsletters/lumen-basin/stories?q=flooding")
    assert answer.status_code == 400
    assert "That takes too long over all stories." in text_of(answer.text)
    assert "No story matches." not in text_of(answer.text)
    assert 'value="flooding"' in answer.text
    impatient.close()


def test_who_may_begin_add_and_use_again(client: TestClient, app: Container, issue: int) -> None:
    add_account(app, "tarik@example.org", RoleGrant(Role.translator, languages=("fr",)))
    sign_in(client, "tarik@example.org")
    base, newsletter = f"/desk/issues/{issue}", "/desk/newsletters/lumen-basin"
    assert client.get(f"{newsletter}/stories").status_code == 200
    assert "/use" not in client.get(f"{newsletter}/stories").text
    assert client.get(f"{newsletter}/new-issue").status_code == 403
    for path in (
        f"{base}/stories",
        f"{base}/sections/move",
        f"{base}/stories/1/hold-over",
        f"{newsletter}/stories/1/use",
    ):
        assert post(client, path, {"revision": "1", "section": "x", "target": issue}).status_code == 403
    assert post(client, f"{base}/languages", {"language": "de"}).status_code == 403
