"""The pages of pictures: uploads, what is refused, crops, and the pictures of stories."""

from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role
from mailer.services.accounts import audit
from mailer.services.issues import plan
from mailer.services.newsletters import picture_library
from tests.support.pictures import jpeg
from tests.support.staff import SAME_ORIGIN, add_account, form_token_for, post, sign_in, text_of

LIBRARY = "/desk/newsletters/lumen-basin/pictures"


def upload(client: TestClient, path: str, files: list[tuple[str, bytes]], accept: str = "text/html", **fields: str):  # type: ignore[no-untyped-def]
    token = form_token_for(client)
    parts = [("pictures", (name, data, "image/jpeg")) for name, data in files] or [("pictures", ("", b"", ""))]
    headers = {**SAME_ORIGIN, "Accept": accept}
    return client.post(path, data={"form_token": token, **fields}, files=parts, headers=headers)


@pytest.mark.usefixtures("coordinator")
def test_pictures_are_added_and_each_refused_one_is_named(client: TestClient) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(50)
    answer = upload(client, LIBRARY, [("a.jpg", jpeg()), ("b.heic", heic), ("c.jpg", jpeg()[:300]), ("d.txt", b"x")])
    assert answer.status_code == 400
    shown = text_of(answer.text)
    assert "1 picture is in the library." in shown
    assert "b.heic is a HEIC picture" in shown
    assert "c.jpg is damaged and cannot be read." in shown
    assert "d.txt is not a JPEG, PNG, GIF, WebP or AVIF picture" in shown
    answer = upload(client, LIBRARY, [("e.jpg", jpeg(colour="blue"))])
    picture = client.get(answer.headers["location"])
    assert "The picture is in the library." in text_of(picture.text)
    assert "e.jpg" in text_of(client.get(f"{LIBRARY}?q=e.jpg").text)
    assert "No picture has these words." in text_of(client.get(f"{LIBRARY}?q=nowhere").text)


@pytest.mark.usefixtures("coordinator")
@pytest.mark.settings(max_picture_bytes=10_000)
def test_a_file_that_is_too_large_is_refused(client: TestClient) -> None:
    out = BytesIO()
    Image.effect_noise((300, 300), 100).save(out, "PNG")
    answer = upload(client, LIBRARY, [("a.png", out.getvalue())])
    assert "a.png is larger than 0 MB" in text_of(answer.text)


@pytest.mark.usefixtures("coordinator")
def test_a_picture_is_described_cropped_deleted_and_put_back(client: TestClient, app: Container, issue: int) -> None:
    newsletter = plan.load_head(app.database, issue).newsletter
    path = upload(client, LIBRARY, [("a.jpg", jpeg())]).headers["location"].partition("?")[0]
    post(client, path, {"name": "Boats", "alt.en": "Two boats", "alt.xx": "no", "credit": "Photo: Ann"})
    answer = post(client, f"{path}/crop", {"format": "square", "x": "100", "y": "50", "save": "same"})
    assert answer.headers["location"] == f"{path}?done=cropped"
    item = picture_library.load_picture(app.database, newsletter, int(path.rpartition("/")[2]))
    assert (item.name, item.alt, item.credit) == ("Boats", {"en": "Two boats"}, "Photo: Ann")
    assert (item.picture.width, item.picture.height, item.crop.x) == (600, 600, 100)
    for wrong in ({"format": "round"}, {"format": "square", "x": "-1"}, {"format": "square", "y": "1000"}):
        assert post(client, f"{path}/crop", wrong).status_code == 400
    assert post(client, f"{path}/delete", {}).status_code == 303
    assert "This picture is deleted." in text_of(client.get(path).text)
    assert "Boats" not in text_of(client.get(LIBRARY).text)
    (event,) = audit.search(app.database, AuditAction.picture_deleted, "Amina", None)
    assert event.detail == {"picture": "Boats"}
    assert post(client, f"{path}/restore", {}).status_code == 303
    assert "Boats" in text_of(client.get(LIBRARY).text)
    used = next(item.id for item in picture_library.load_library(app.database, newsletter).items if item.uses)
    assert post(client, f"{LIBRARY}/{used}/delete", {}).status_code == 409
    assert client.get(f"{LIBRARY}/999999").status_code == 404


@pytest.mark.usefixtures("coordinator")
def test_a_story_gets_a_picture_by_form_and_by_json(client: TestClient, app: Container, issue: int, story: int) -> None:
    path = f"/desk/issues/{issue}/stories/{story}/picture"
    missing = upload(client, path, [("a.jpg", jpeg())], language="en", alt=" ", credit="Photo: Ann")
    assert missing.status_code == 400
    assert "its alternative text is missing" in text_of(missing.text)
    assert "Photo: Ann" in missing.text
    answer = upload(client, path, [("a.jpg", jpeg())], language="en", alt="Red", credit="Photo: Ann")
    assert answer.headers["location"] == f"{path}?language=en&done=set"
    page = client.get(answer.headers["location"])
    assert "The story shows this picture." in text_of(page.text)
    (event,) = audit.search(app.database, AuditAction.story_picture_changed, "Amina", None)
    assert event.detail["headline"] == "Nine countries sign the Lumen river charter"
    json = "application/json"
    set_ = upload(client, path, [("b.jpg", jpeg(colour="blue"))], json, language="en", alt="Blue").json()
    assert (set_["width"], set_["height"], set_["alt"], set_["picture_credit"]) == (800, 600, "Blue", "")
    assert client.get(set_["url"].replace("https://news.example.org", "")).status_code == 200
    assert set_["base"]
    refused = upload(client, path, [("c.txt", b"x")], json, language="en", alt="Blue")
    assert refused.status_code == 422
    assert "is not a JPEG" in refused.json()["message"]
    library = picture_library.load_library(app.database, plan.load_head(app.database, issue).newsletter, "Red").items[0]
    chosen = upload(client, path, [], json, language="en", alt="Red again", library=str(library.id)).json()
    assert (chosen["picture"], chosen["alt"]) == (library.picture.id, "Red again")
    removed = upload(client, path, [], language="en").headers["location"]
    undo = client.get(removed).text.partition(f"/desk/issues/{issue}/changes/")[2].partition("/")[0]
    undone = post(client, f"/desk/issues/{issue}/changes/{undo}/undo", {})
    assert "The picture is as it was before." in text_of(client.get(undone.headers["location"]).text)
    assert "Red again" in client.get(path).text
    assert upload(client, path, [], json, language="en").json()["picture"] is None
    assert upload(client, path, [], json, language="xx").status_code == 400
    assert client.get(f"/desk/issues/{issue}/stories/999999/picture").status_code == 404


@pytest.mark.usefixtures("coordinator")
def test_the_header_image_is_uploaded_chosen_and_removed(client: TestClient, app: Container, issue: int) -> None:
    path = f"/desk/issues/{issue}/header-image"
    assert "This issue has no header image." in text_of(client.get(path).text)
    done = upload(client, path, [("top.jpg", jpeg(1280, 400))])
    assert "The header image is set." in text_of(client.get(done.headers["location"]).text)
    assert "top.jpg" in text_of(client.get(LIBRARY).text)
    library = picture_library.load_library(app.database, plan.load_head(app.database, issue).newsletter).items[-1]
    assert upload(client, path, [], library=str(library.id)).status_code == 303
    assert plan.load_plan(app.database, app.urls, issue).source.header_image is not None
    assert "The header image is removed." in text_of(client.get(upload(client, path, []).headers["location"]).text)
    wrong = upload(client, path, [("x.svg", b"<svg/>")])
    assert wrong.status_code == 400
    assert "x.svg is not a JPEG" in text_of(wrong.text)


def test_translators_see_pictures_and_change_none(client: TestClient, app: Container, issue: int, story: int) -> None:
    add_account(app, "tara@example.org", Role.translator)
    sign_in(client, "tara@example.org")
    assert "Add pictures" not in text_of(client.get(LIBRARY).text)
    path = f"/desk/issues/{issue}/stories/{story}/picture"
    assert "only while the issue is a draft" in text_of(client.get(path).text)
    assert upload(client, LIBRARY, [("a.jpg", jpeg())]).status_code == 403
    assert upload(client, path, [], language="en").status_code == 403
