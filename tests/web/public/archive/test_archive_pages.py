"""The archive's pages: content, access, caching and metadata."""

import re
import shutil
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.states import IssueState
from mailer.services.newsletters.apply import apply_newsletter
from mailer.store import issues, newsletters
from tests.conftest import SAMPLE
from tests.support.html_page import ARCHIVE_PATH, SITE_URL, Page, get_page


def story_paths(client: TestClient, language: str = "en") -> list[str]:
    page = get_page(client, f"{ARCHIVE_PATH}/{language}/2026-3")
    found = [link["href"] for link in page.all("a") if re.fullmatch(rf"{ARCHIVE_PATH}/\w+/2026-3/\d+", link["href"])]
    return list(dict.fromkeys(found))


def test_list_shows_sent_issues_newest_first(
    app: Container,
    sample: int,
    add_issue: Callable[..., int],
    mark_state: Callable[..., None],
    visitor: TestClient,
) -> None:
    add_issue("2026/1", date(2026, 3, 31), "Spring")
    add_issue("2026/2", date(2026, 6, 30), "Summer – The Lumen Basin Quarterly 2026/2")
    add_issue("2026/4", date(2026, 12, 30), "A draft", state=IssueState.draft)
    add_issue("2026/5", date(2027, 1, 1), "On its way", state=IssueState.sending)
    add_issue("2026/6", date(2027, 2, 1), "Stopped", state=IssueState.cancelled)
    mark_state(add_issue("2026/7", date(2025, 1, 1), "Once more to some"), IssueState.sending, went_out=True)
    mark_state(add_issue("2026/8", date(2025, 1, 2), "Not once more"), IssueState.cancelled, went_out=True)
    digest = add_issue("digest", date(2027, 3, 1), "The month")
    with app.database.transaction() as session:
        row = issues.by_id(session, digest)
        assert row
        row.digest_month = date(2027, 2, 1)
    page = get_page(visitor, f"{ARCHIVE_PATH}/en")
    titles = [text for tag, text in page.texts if tag == "a"]
    shown = [title for title in titles if title in {"Nine countries, one river charter", "Spring", "Summer"}]
    assert shown == ["Nine countries, one river charter", "Summer", "Spring"]
    assert {"Once more to some", "Not once more"} <= set(titles)
    assert not {"A draft", "On its way", "Stopped", "The month"} & set(titles)
    for number in ("2026-4", "2026-5", "2026-6", "digest", "1999-1"):
        assert visitor.get(f"{ARCHIVE_PATH}/en/{number}").status_code == 404


def test_a_story_shows_tables_deleted_text_and_pictures(
    sample: int, add_issue: Callable[..., int], visitor: TestClient, tmp_path: Path
) -> None:
    shutil.copy(SAMPLE / "pictures" / "01-charter.jpg", tmp_path / "charter.jpg")
    body = (
        "A ~~1 May~~ <b>b</b>, www.example.org ![A charter](charter.jpg).\n\n"
        "| a | b |\n|---|--:|\n| c | d |\n\n<!-- hidden -->"
    )
    add_issue("2026/4", date(2026, 12, 30), body=body)
    issue = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-4")
    (path,) = {link["href"] for link in issue.all("a") if re.fullmatch(rf"{ARCHIVE_PATH}/en/2026-4/\d+", link["href"])}
    for page in (visitor.get(path).text, visitor.get(f"{ARCHIVE_PATH}/en/2026-4").text):
        assert '<s>1 May</s> <strong>b</strong>, <a href="https://www.example.org">www.example.org</a>' in page
        assert re.search(r'<img src="http[^"]+/[0-9a-f]{32}\.\w+" alt="A charter" width="\d+" height="\d+">', page)
        assert '<td>c</td>\n<td align="right">d</td>' in page
        assert "hidden" not in page.replace("visually-hidden", "").replace('aria-hidden="true"', "")
    assert get_page(visitor, path).meta()["description"] == "A ~1 May~ b, www.example.org . a b c d"


def test_a_private_newsletter_stays_private(app: Container, sample: int, visitor: TestClient) -> None:
    paths = [
        ARCHIVE_PATH,
        f"{ARCHIVE_PATH}/en",
        f"{ARCHIVE_PATH}/en?q=river",
        f"{ARCHIVE_PATH}/en/2026-3",
        story_paths(visitor)[0],
        f"{ARCHIVE_PATH}/en.atom",
        f"{ARCHIVE_PATH}/en/water-and-rivers.atom",
        f"{ARCHIVE_PATH}.sitemap.xml",
        f"{ARCHIVE_PATH}/2026-3.sitemap.xml",
    ]
    assert {visitor.get(path).status_code for path in paths} == {200, 302}
    with app.database.transaction() as session:
        row = newsletters.by_slug(session, "lumen-basin")
        assert row
        row.public = False
    for path in paths:
        answer = visitor.get(path)
        assert answer.status_code == 404, path
        assert "Lumen" not in answer.text
    for path in ("/sitemap.xml", "/"):
        assert "umen" not in visitor.get(path).text


def test_visitors_are_redirected_to_their_language(sample: int, visitor: TestClient) -> None:
    def place(path: str = ARCHIVE_PATH, accepted: str = "") -> str:
        answer = visitor.get(path, headers={"Accept-Language": accepted})
        assert answer.status_code == 302
        assert answer.headers["Vary"] == "Accept-Language"
        return str(answer.headers["Location"])

    assert place() == f"{ARCHIVE_PATH}/en"
    assert place(accepted="ja, ar-EG;q=0.5, en;q=0.1") == f"{ARCHIVE_PATH}/ar"
    assert place(f"{ARCHIVE_PATH}?lang=sr", "ar") == f"{ARCHIVE_PATH}/sr-Cyrl"
    assert visitor.get("/archive/nothing").status_code == 404


def test_missing_language_redirects_to_the_fallback(sample: int, visitor: TestClient) -> None:
    page = get_page(visitor, f"{ARCHIVE_PATH}/de")
    (link,) = {link["href"]: link for link in page.all("a", hreflang="en") if "2026-3" in link["href"]}.values()
    assert (link["href"], link["lang"], link["dir"]) == (f"{ARCHIVE_PATH}/en/2026-3", "en", "ltr")
    answer = visitor.get(f"{ARCHIVE_PATH}/de/2026-3")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{ARCHIVE_PATH}/en/2026-3")
    assert visitor.get(f"{ARCHIVE_PATH}/ja").status_code == 404


def test_edition_shows_the_chosen_sections(app: Container, sample: int, visitor: TestClient) -> None:
    def titles(query: str) -> list[str]:
        page = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-3{query}")
        assert page.canonical == f"{SITE_URL}{ARCHIVE_PATH}/en/2026-3"
        return [heading["id"].removeprefix("section-") for heading in page.all("h2") if heading["id"] != "contents"]

    page = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-3")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= set(ids)
    everything = titles("")
    assert len(everything) == 6
    assert titles("?section=health-and-care&section=water-and-rivers") == [
        "water-and-rivers",
        "health-and-care",
    ]
    for nonsense in ("?section=", "?section=%00&section='", "?section=nothing", "?other=1"):
        assert titles(nonsense) == everything
    assert titles("?section=nothing&section=health-and-care") == ["health-and-care"]
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.sections[0].always_included = True
    apply_newsletter(app.database, settings)
    assert titles("?section=health-and-care") == ["news-and-events", "health-and-care"]
    page = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-3?section=health-and-care")
    boxes = {box["value"]: box for box in page.all("input", type="checkbox")}
    assert {key for key, box in boxes.items() if "checked" in box} == {"news-and-events", "health-and-care"}
    assert {key for key, box in boxes.items() if "disabled" in box} == {"news-and-events"}
    assert page.all("a", hreflang="ar")[0]["href"] == (
        f"{ARCHIVE_PATH}/ar/2026-3?section=news-and-events&section=health-and-care"
    )


def test_fallback_story_is_labelled_with_canonical_in_its_language(sample: int, visitor: TestClient) -> None:
    page = get_page(visitor, f"{ARCHIVE_PATH}/sl/2026-3")
    foreign = [story for story in page.all("article") if story.get("lang") == "en"]
    assert 0 < len(foreign) < len(page.all("article")) == 16
    assert {story["dir"] for story in foreign} == {"ltr"}
    assert visitor.get(f"{ARCHIVE_PATH}/sl/2026-3").text.count('class="note"') == len(foreign)
    path = f"{ARCHIVE_PATH}/sl/2026-3/" + foreign[0]["id"].removeprefix("story-")
    story = get_page(visitor, path)
    assert story.canonical == SITE_URL + path.replace("/sl/", "/en/")
    assert set(story.alternates()) == {"en", "ar", "x-default"}
    assert story.all("h1", lang="en")
    arabic = get_page(visitor, path.replace("/sl/", "/ar/"))
    assert arabic.all("html", lang="ar", dir="rtl")
    assert not [story for story in arabic.all("article") if "lang" in story]


def test_dates_are_formatted_for_the_language(sample: int, visitor: TestClient) -> None:
    for language, written in (
        ("en", "30 September 2026"),
        ("ar", "30 سبتمبر 2026"),
        ("sl", "30. september 2026"),
    ):
        page = get_page(visitor, f"{ARCHIVE_PATH}/{language}/2026-3")
        assert ("time", written) in page.texts
        assert page.all("time")[0]["datetime"] == "2026-09-30"


def test_credit_of_a_picture_is_below_it(app: Container, sample: int, visitor: TestClient) -> None:
    path = story_paths(visitor)[0]
    assert "creditText" not in get_page(visitor, path).json_ld()["image"]
    with app.database.transaction() as session:
        session.execute(text("UPDATE story_translation SET picture_credit = 'Photo: Amina Demir'"))
    page = get_page(visitor, path)
    assert ("figcaption", "Photo: Amina Demir") in page.texts
    assert page.json_ld()["image"]["creditText"] == "Photo: Amina Demir"
    assert ("figcaption", "Photo: Amina Demir") in get_page(visitor, f"{ARCHIVE_PATH}/en/2026-3").texts


def test_story_has_structured_data(sample: int, visitor: TestClient) -> None:
    path = story_paths(visitor)[0]
    page = get_page(visitor, path)
    meta, said = page.meta(), page.json_ld()
    assert meta["og:type"] == "article"
    assert meta["og:title"] == said["headline"] == "Nine countries sign the Lumen river charter"
    assert meta["og:url"] == said["mainEntityOfPage"] == page.canonical == SITE_URL + path
    assert meta["og:image"] == said["image"]["url"]
    assert meta["og:image"].startswith(f"{SITE_URL}/pictures/")
    assert (meta["og:image:width"], meta["og:image:height"]) == ("888", "500")
    assert meta["og:image:alt"] == said["image"]["caption"] == page.all("img")[0]["alt"] != ""
    assert meta["twitter:card"] == "summary_large_image"
    assert said["@type"] == "NewsArticle"
    assert said["inLanguage"] == "en"
    assert said["datePublished"] == "2026-09-30T00:00:00Z"
    assert said["articleSection"] == "News and events"
    assert len(meta["description"]) <= 202
    issue = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-3").meta()
    assert issue["og:title"] == "Nine countries, one river charter"
    assert issue["og:image"].startswith(f"{SITE_URL}/pictures/")


def test_hostile_text_is_escaped(sample: int, add_issue: Callable[..., int], visitor: TestClient) -> None:
    evil = "</script><script>alert(1)</script> & \\\"quotes' <b>"
    add_issue("2026/4", date(2026, 12, 1), evil, evil.replace("\\", ""), f"{evil} river", "en")
    for path in (
        f"{ARCHIVE_PATH}/en",
        f"{ARCHIVE_PATH}/en/2026-4",
        f"{ARCHIVE_PATH}/en?q=alert",
        f"{ARCHIVE_PATH}/en?q={evil}",
    ):
        assert not get_page(visitor, path).all("script"), path
    link = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-4").all("article")[0]["id"].removeprefix("story-")
    page = get_page(visitor, f"{ARCHIVE_PATH}/en/2026-4/{link}")
    assert [script["type"] for script in page.all("script")] == ["application/ld+json"]
    assert "</script><script>alert(1)</script>" in page.json_ld()["headline"]
    assert "alert(1)" in page.meta()["og:title"]


@pytest.mark.parametrize("path", ["", "/2026-3", "/2026-3/story"])
def test_each_page_links_to_its_other_languages(sample: int, visitor: TestClient, path: str) -> None:
    path = path.replace("story", story_paths(visitor)[0].rpartition("/")[2])
    first = get_page(visitor, f"{ARCHIVE_PATH}/en{path}").alternates()
    assert {"en", "ar", "x-default"} <= set(first)
    for tag, address in first.items():
        if tag == "x-default":
            continue
        page = get_page(visitor, address.removeprefix(SITE_URL))
        assert page.alternates() == first
        assert page.canonical == address
    assert first["x-default"] == (f"{SITE_URL}{ARCHIVE_PATH}" if not path else first["en"])


def test_pages_are_cacheable_and_revalidated(sample: int, visitor: TestClient) -> None:
    for path in (
        f"{ARCHIVE_PATH}/en",
        f"{ARCHIVE_PATH}/en/2026-3",
        story_paths(visitor)[0],
        f"{ARCHIVE_PATH}/en.atom",
        "/sitemap.xml",
    ):
        answer = visitor.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert "Set-Cookie" not in answer.headers
        tag = answer.headers["ETag"]
        for known in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            again = visitor.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert visitor.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
        assert visitor.head(path).headers["ETag"] == tag


def test_pages_load_no_external_resources_and_no_scripts(sample: int, visitor: TestClient) -> None:
    for path in (
        f"{ARCHIVE_PATH}/en",
        f"{ARCHIVE_PATH}/ar/2026-3",
        story_paths(visitor)[0],
        f"{ARCHIVE_PATH}/en?q=river",
    ):
        answer = visitor.get(path)
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
            " frame-ancestors 'none'"
        )
        page = Page(answer.text)
        assert {script.get("type") for script in page.all("script")} <= {"application/ld+json"}
        assert not [tag for tag, attributes in page.elements if "style" in attributes or tag == "style"]
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        loaded = [image["src"] for image in page.all("img")]
        loaded += [link["href"] for link in page.all("link") if link["rel"] in ("stylesheet", "icon")]
        assert loaded
        assert all(address.startswith("/") and visitor.get(address).status_code == 200 for address in set(loaded))
        assert all(image["width"] and image["height"] and "alt" in image for image in page.all("img"))


def test_page_weight_is_limited_in_every_language(
    import_issue: Callable[..., int], mark_state: Callable[..., None], visitor: TestClient
) -> None:
    languages = [file.stem.partition(".")[2] for file in SAMPLE.glob("2026-3.*.md")]
    languages.sort(key=lambda tag: tag != "en")
    mark_state(import_issue(*languages))
    weights: dict[str, int] = {}
    for language in languages:
        for path in (
            f"{ARCHIVE_PATH}/{language}",
            f"{ARCHIVE_PATH}/{language}/2026-3",
            f"{ARCHIVE_PATH}/{language}?q=lumen",
        ):
            page = visitor.get(path, headers={"Accept-Encoding": "gzip"})
            files = {link["href"] for link in Page(page.text).all("link") if link["rel"] in ("stylesheet", "icon")}
            assert len(files) == 4
            weights |= {file: int(visitor.get(file).headers["Content-Length"]) for file in files - weights.keys()}
            assert len(page.content) < 50_000
            assert int(page.headers["Content-Length"]) + sum(weights[file] for file in files) < 40_000, path


def test_pages_are_compressed_only_for_clients_that_accept_gzip(sample: int, visitor: TestClient) -> None:
    path = f"{ARCHIVE_PATH}/en/2026-3"
    plain = visitor.get(path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    for accepted in ("br, gzip", "gzip;q=0.5", "GZIP"):
        packed = visitor.get(path, headers={"Accept-Encoding": accepted})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.text == plain.text
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    for refused in ("gzip;q=0", "br", "gzip; q=0.000, br"):
        assert "Content-Encoding" not in visitor.get(path, headers={"Accept-Encoding": refused}).headers


def test_headings_form_an_outline(sample: int, visitor: TestClient) -> None:
    for path in (
        f"{ARCHIVE_PATH}/en",
        f"{ARCHIVE_PATH}/en/2026-3",
        story_paths(visitor)[0],
        f"{ARCHIVE_PATH}/en?q=river",
    ):
        levels = [int(tag[1]) for tag, _ in get_page(visitor, path).elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels)), levels


def test_a_long_list_has_pages(sample: int, add_issue: Callable[..., int], visitor: TestClient) -> None:
    for number in range(1, 14):
        add_issue(f"2025/{number}", date(2025, 1, number), f"Number {number}")
    seen = []
    path = f"{ARCHIVE_PATH}/en"
    for at in (1, 2):
        page = get_page(visitor, path)
        seen += [text for tag, text in page.texts if tag == "a" and text.startswith("Number ")]
        assert page.canonical == SITE_URL + path
        following = page.all("a", rel="next")
        assert bool(following) is (at == 1)
        path = following[0]["href"] if following else path
    assert seen == [f"Number {number}" for number in range(13, 0, -1)]
    for wrong in ("3", "0", "x", "99999999999999999999"):
        assert visitor.get(f"{ARCHIVE_PATH}/en?page={wrong}").status_code == 404


def test_text_overrides_are_used_on_pages(app: Container, sample: int, visitor: TestClient) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.text_overrides = {"en": {"Latest issue": "Fresh from the <press>"}}
    apply_newsletter(app.database, settings)
    assert "Fresh from the &lt;press&gt;" in visitor.get(f"{ARCHIVE_PATH}/en").text
    assert "Latest issue" not in visitor.get(f"{ARCHIVE_PATH}/en").text
    assert "أحدث عدد" in visitor.get(f"{ARCHIVE_PATH}/ar").text


def test_empty_archive_has_a_message(import_issue: Callable[..., int], visitor: TestClient) -> None:
    import_issue("en")
    assert ("p", "There is nothing to read here yet.") in get_page(visitor, f"{ARCHIVE_PATH}/en").texts
