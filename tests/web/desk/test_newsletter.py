"""The pages of a newsletter's settings: each form saves by itself, and loses nothing that was filled in."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.newsletter import NewsletterSettings
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.newsletters.settings import load_settings
from mailer.web.desk.newsletter import GENERAL, LANGUAGES, SENDING
from tests.conftest import SAMPLE
from tests.support.staff import SAME_ORIGIN, add_account, sign_in, text_of, words

SLUG = "lumen-basin"
PATH = f"/desk/newsletters/{SLUG}/settings"


@pytest.fixture(autouse=True)
def coordinator(app: Container, client: TestClient) -> None:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")


def form_of(client: TestClient, path: str) -> dict[str, list[str]]:
    """Return what the first form with a save button on a page holds."""
    html = client.get(path).text
    form = next(part for part in html.split("<form ")[1:] if 'name="shown"' in part and ">Save<" in part)
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form.split("</form>")[0]):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and (' type="checkbox"' not in tag or " checked" in tag):
            fields.setdefault(name[1], []).append(unescape(value[1]) if value else "")
    for name, content in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>([^<]*)<', form):
        fields[name] = [unescape(content)]
    for name, options in re.findall(r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)"[^>]* selected', options)
        fields.setdefault(name, []).append(chosen[1] if chosen else "")
    return fields


def save(client: TestClient, path: str, fields: dict[str, list[str]], **changes: str) -> tuple[int, str]:
    """Send a form with changes; return the status and the text of the page that follows."""
    data = fields | {name.replace("__", "."): [value] for name, value in changes.items()}
    answer = client.post(path, data=data, headers=SAME_ORIGIN)
    if answer.status_code == 303:
        return 303, text_of(client.get(answer.headers["location"]).text)
    return answer.status_code, answer.text


@pytest.mark.parametrize("tab", ["", "/languages", "/sending", "/sections/water-and-rivers", "/colours"])
def test_a_form_sent_as_it_is_changes_nothing(client: TestClient, app: Container, tab: str) -> None:
    before = load_settings(app.database, SLUG)
    status, text = save(client, PATH + tab, form_of(client, PATH + tab))
    assert (status, load_settings(app.database, SLUG)) == (303, before)
    assert "Nothing was different" in text


def test_every_setting_of_the_file_has_a_form() -> None:
    elsewhere = {"slug", "list_id", "revision", "theme", "sections", "text_overrides", "seed_list"}
    assert NewsletterSettings.model_fields.keys() - {*GENERAL, *LANGUAGES, *SENDING} <= elsewhere


def test_general_settings(client: TestClient, app: Container) -> None:
    fields = form_of(client, PATH)
    del fields["public"]
    status, text = save(client, PATH, fields, names__fr="Le Lumen", website="", names__ar="")
    assert status == 303
    assert "Name (Français) : Le Trimestriel du bassin du Lumen → Le Lumen" in text
    settings = load_settings(app.database, SLUG)
    assert (settings.names["fr"], settings.website, settings.public) == ("Le Lumen", "", False)
    assert "ar" not in settings.names


def test_problems_stand_at_their_fields_and_nothing_is_lost(client: TestClient, app: Container) -> None:
    before = load_settings(app.database, SLUG)
    status, html = save(
        client, PATH, form_of(client, PATH), sender_address="nobody", names__en="x" * 1001, website="ftp:"
    )
    assert (status, load_settings(app.database, SLUG)) == (409, before)
    for name in ("sender_address", "website"):
        assert f'id="{name}-error"' in html and f'aria-describedby="{name}-help {name}-error"' in html
    assert 'value="nobody"' in html and "must have at most 1000 characters" in html


def test_of_two_people_at_one_form_the_second_is_told_and_can_save_then(client: TestClient, app: Container) -> None:
    theirs, mine = form_of(client, PATH), form_of(client, PATH)
    save(client, PATH, theirs, sender_name="Theirs")
    status, html = save(client, PATH, mine, sender_name="Mine")
    assert status == 409 and load_settings(app.database, SLUG).sender_name == "Theirs"
    text = text_of(html)
    assert "changed while you had them open" in text and "The latest change is by Amina" in text
    assert "Sender’s name Theirs Mine" in text and 'value="Mine"' in html
    shown = re.search(r'name="shown" value="(\w+)"', html)
    assert shown and save(client, PATH, mine, sender_name="Mine", shown=shown[1])[0] == 303
    assert load_settings(app.database, SLUG).sender_name == "Mine"


def test_a_page_says_which_approvals_a_change_withdraws(
    client: TestClient, app: Container, import_issue: Callable[..., int]
) -> None:
    import_issue("en")
    with app.database.transaction() as session:
        (number,) = session.scalars(text("UPDATE issue SET state = 'approved' RETURNING number"))
    warning = f"withdraws the approval of: {number}"
    assert warning in words(client, PATH) and warning not in words(client, f"{PATH}/sending")
    assert save(client, PATH, form_of(client, PATH), sender_name="Other")[0] == 303
    assert warning not in words(client, PATH)


def test_languages_are_ordered_added_taken_out_and_explained(client: TestClient, app: Container) -> None:
    path = f"{PATH}/languages"
    fields = form_of(client, path)
    fields["fallback.fr"] = ["es", "en", ""]
    status, text = save(client, path, fields, place__fr="0", add="pt-br", remove__ar="1")
    settings = load_settings(app.database, SLUG)
    assert status == 303 and "Français → Español → English" in text
    assert settings.languages[:2] == ["fr", "en"] and settings.languages[-1] == "pt-BR"
    assert "ar" not in settings.languages and settings.fallbacks["fr"] == ["es", "en"]
    example = text_of(client.get(f"{path}?example=pt").text)
    assert "gets a complete issue in: " in example and "in: pt-BR → English" in example
    assert "is not a language" in text_of(client.get(f"{path}?example=klingonish").text)
    status, html = save(client, path, form_of(client, path), add="klingonish", remove__en="1")
    assert status == 409 and "is not among languages" in html and "klingonish" in html
    assert 'name="remove.en" value="1" checked' in html


def test_sending_settings(client: TestClient, app: Container) -> None:
    path = f"{PATH}/sending"
    changes = {
        "quiet_from": "21:00",
        "quiet_until": "07:00",
        "time_zone": "Europe/Belgrade",
        "tracking": "none",
        "four_eyes": "True",
    }
    assert save(client, path, form_of(client, path), **changes)[0] == 303
    settings = load_settings(app.database, SLUG)
    assert str(settings.quiet_from) == "21:00:00" and settings.time_zone == "Europe/Belgrade"
    assert settings.four_eyes
    assert 'min="1" max="168"' in client.get(path).text
    status, html = save(client, path, form_of(client, path), quiet_until="", max_late_hours="many")
    assert status == 409 and 'id="quiet_from-error"' in html and 'id="max_late_hours-error"' in html


def test_sections(client: TestClient, app: Container) -> None:
    path = f"{PATH}/sections"

    def keys() -> list[str]:
        return [section.key for section in load_settings(app.database, SLUG).sections]

    def send(to: str = path, **data: str) -> tuple[int, str]:
        html = client.get(path if to == path else to).text
        hidden = dict(re.findall(r'name="(form_token|shown)" value="(\w+)"', html))
        return save(client, to, {name: [value] for name, value in (hidden | data).items()})

    first, second = keys()[:2]
    assert send(action="down", key=first)[0] == 303 and keys()[:2] == [second, first]
    assert send(action="up", key=first)[0] == 303 and keys()[:2] == [first, second]
    assert send(action="add", key="sport", titles__en="Sport")[0] == 409  # the title is not under its name
    assert send(action="add", key="sport", **{"titles.en": "Sport"})[0] == 303
    status, html = send(action="add", key="sport", **{"titles.en": "Games"})
    assert status == 409 and "two sections have the key sport" in html and 'value="Games"' in html
    fields = form_of(client, f"{path}/sport")
    status, _ = save(client, f"{path}/sport", fields, titles__fr="Sports", colour="#123456", always_included="True")
    section = load_settings(app.database, SLUG).sections[-1]
    assert (section.titles, section.colour, section.always_included) == (
        {"en": "Sport", "fr": "Sports"},
        "#123456",
        True,
    )
    status, html = save(client, f"{path}/sport", form_of(client, f"{path}/sport"), colour="blue")
    assert status == 409 and 'id="sections-6-colour-error"' in html and 'value="blue"' in html
    status, html = send(f"{path}/sport", action="retire", shown="outdated")
    assert status == 409 and 'value="Sports"' in html and 'value="#123456"' in html, "the form is as stored"
    status, html = send(action="up", key="sport", shown="outdated")
    assert status == 409 and 'value="sport" pattern' not in html, "nobody adds a section"
    open_elsewhere = form_of(client, f"{path}/sport")
    assert send(f"{path}/sport", action="retire")[0] == 303 and "sport" not in keys()
    status, html = save(client, f"{path}/sport", open_elsewhere, titles__fr="Jeux")
    assert status == 409 and 'value="Jeux"' in html and "was retired while you had it open" in text_of(html)
    assert client.get(f"{path}/sport").status_code == 404
    assert send(action="offer", key="sport")[0] == 303 and keys()[-1] == "sport"


def test_colours_are_shown_before_they_are_saved(client: TestClient, app: Container) -> None:
    path = f"{PATH}/colours"
    faint = text_of(client.get(path, params={"text": "#cccccc", "accent": "red"}).text)
    assert "Text : 1.6 to 1 – emails show #" in faint
    sample = client.get(f"{path}/sample", params={"accent": "#aa0000"})
    assert (
        sample.status_code == 200
        and "#aa0000" in sample.text
        and "sandbox" in sample.headers["content-security-policy"]
    )
    assert load_settings(app.database, SLUG).theme.accent != "#aa0000"
    assert save(client, path, form_of(client, path), accent="#aa0000")[0] == 303
    assert load_settings(app.database, SLUG).theme.accent == "#aa0000"
    status, html = save(client, path, form_of(client, path), accent="red")
    assert status == 409 and 'value="red"' in html


def test_texts(client: TestClient, app: Container) -> None:
    path = f"{PATH}/texts"
    one = f"{path}?language=fr&text=Unsubscribe"
    assert save(client, path, form_of(client, one), words="Je pars")[0] == 303
    assert load_settings(app.database, SLUG).text_overrides == {"fr": {"Unsubscribe": "Je pars"}}
    assert "Je pars" in text_of(client.get(f"{path}?language=fr").text)
    status, html = save(client, path, form_of(client, one), words="Je pars à 100 %")
    assert status == 409 and "write a percent sign as %%" in html and "Je pars à 100 %" in html
    assert save(client, path, form_of(client, one), action="remove")[0] == 303
    assert load_settings(app.database, SLUG).text_overrides == {}
    assert client.post(path, data=form_of(client, one) | {"language": "{x}"}, headers=SAME_ORIGIN).status_code == 400
    assert "There is no text with exactly this wording" in text_of(client.get(f"{path}?text=Nonsense").text)


def test_the_file_can_be_downloaded_and_is_the_newsletter(client: TestClient, app: Container) -> None:
    answer = client.get(f"{PATH}/file.toml")
    assert read_newsletter(answer.text) == load_settings(app.database, SLUG)
    assert client.get("/desk/newsletters").headers["location"] == PATH
