"""Atom feeds, checked against RFC 4287."""

import re
from collections.abc import Callable
from datetime import date, datetime
from xml.etree.ElementTree import Element, fromstring

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.settings import Settings
from mailer.web.app import create_app
from tests.support.html_page import ARCHIVE_PATH, SITE_URL

ATOM = "{http://www.w3.org/2005/Atom}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
FEEDS = [f"{ARCHIVE_PATH}/en.atom", f"{ARCHIVE_PATH}/ar.atom", f"{ARCHIVE_PATH}/sl/news-and-events.atom"]


def feed(client: TestClient, path: str) -> Element:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/atom+xml"
    return fromstring(answer.content)


def text(element: Element, name: str) -> str:
    (found,) = element.findall(ATOM + name)
    assert found.text
    return found.text


def entries(root: Element) -> list[Element]:
    return root.findall(f"{ATOM}entry")


@pytest.mark.parametrize("path", FEEDS)
def test_a_feed_is_valid(sample: int, visitor: TestClient, path: str) -> None:
    root = feed(visitor, path)
    assert root.tag == f"{ATOM}feed"
    assert root.get(LANGUAGE) == path.removeprefix(ARCHIVE_PATH)[1:3]
    assert text(root, "title")
    assert root.find(f"{ATOM}author/{ATOM}name") is not None
    (own,) = root.findall(f"{ATOM}link[@rel='self']")
    assert (own.get("href"), own.get("type")) == (SITE_URL + path, "application/atom+xml")
    every = [root, *entries(root)]
    assert len(every) > 1
    assert len({text(part, "id") for part in every}) == len(every)
    for part in every:
        assert re.fullmatch(r"tag:[a-z0-9.-]+,\d{4}(-\d\d){0,2}:\S+", text(part, "id"))
        assert datetime.fromisoformat(text(part, "updated")).tzinfo
        (page,) = part.findall(f"{ATOM}link[@rel='alternate']")
        assert str(page.get("href")).startswith(SITE_URL)
        assert visitor.get(str(page.get("href")).removeprefix(SITE_URL)).status_code == 200
    assert text(root, "updated") == max(text(entry, "updated") for entry in entries(root))
    for entry in entries(root):
        assert text(entry, "title")
        assert text(entry, "summary")


def test_a_newsletters_feed_has_its_issues(sample: int, add_issue: Callable[..., int], visitor: TestClient) -> None:
    add_issue("2026/4", date(2026, 12, 30), "Winter & <b>snow</b>")
    found = [(text(entry, "title"), entry.get(LANGUAGE)) for entry in entries(feed(visitor, f"{ARCHIVE_PATH}/ar.atom"))]
    assert found == [("Winter & <b>snow</b>", "en"), ("تسعة بلدان وميثاق نهر واحد", "ar")]


def test_a_sections_feed_has_its_stories_in_full(sample: int, visitor: TestClient) -> None:
    root = feed(visitor, f"{ARCHIVE_PATH}/sl/culture-and-heritage.atom")
    languages = [entry.get(LANGUAGE) for entry in entries(root)]
    assert len(languages) == 2
    whole = text(entries(feed(visitor, f"{ARCHIVE_PATH}/en/culture-and-heritage.atom"))[0], "content")
    assert entries(root)[0].find(f"{ATOM}content").get("type") == "html"  # type: ignore[union-attr]
    assert '<img src="http://news.example.org/pictures/' in whole
    assert "<em>Long Sentence</em>" in whole
    assert '<a href="https://example.org/library">' in whole


def test_entry_ids_do_not_depend_on_the_service_url(
    app: Container, sample: int, visitor: TestClient, settings: Settings
) -> None:
    def names(client: TestClient) -> list[list[str]]:
        roots = [feed(client, path) for path in FEEDS]
        return [[text(part, "id") for part in [root, *entries(root)]] for root in roots]

    elsewhere = settings.model_copy(update={"public_url": "https://other.example.net/news"})
    with Container(elsewhere) as moved, TestClient(create_app(moved)) as client:
        assert names(client) == names(visitor)


def test_characters_invalid_in_xml_are_removed(sample: int, add_issue: Callable[..., int], visitor: TestClient) -> None:
    add_issue("2026/4", date(2026, 12, 30), "Winter", "A \x0bheadline\x1f", "]]> &amp; <!-- \x02 \ufffe --> text")
    (entry, *_) = entries(feed(visitor, f"{ARCHIVE_PATH}/en/news-and-events.atom"))
    assert text(entry, "title") == "A headline"
    assert "]]>" in text(entry, "summary")
    assert "&lt;!--" in text(entry, "content")


def test_a_feed_without_issues_is_valid_too(import_issue: Callable[..., int], visitor: TestClient) -> None:
    import_issue("en")
    for path in (f"{ARCHIVE_PATH}/en.atom", f"{ARCHIVE_PATH}/en/news-and-events.atom"):
        root = feed(visitor, path)
        assert not entries(root)
        assert datetime.fromisoformat(text(root, "updated")).year == 1970


def test_unknown_feeds_are_not_found(sample: int, visitor: TestClient) -> None:
    for path in (
        f"{ARCHIVE_PATH}/ja.atom",
        f"{ARCHIVE_PATH}/en/nothing.atom",
        "/archive/nothing/en.atom",
        f"{ARCHIVE_PATH}.atom",
    ):
        assert visitor.get(path).status_code == 404, path
