"""Atom feeds, checked against RFC 4287."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from xml.etree.ElementTree import Element, fromstring

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text as sql

from mailer.bootstrap import Container
from mailer.settings import Settings
from mailer.web.app import create_app
from mailer.web.public.document_cache import DocumentCache
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
    add_issue("2026/4", date(2026, 12, 30), "Winter", "A \x0bheadline\x1f", "]]> &amp; <w:t> \x02 \ufffe text")
    (entry, *_) = entries(feed(visitor, f"{ARCHIVE_PATH}/en/news-and-events.atom"))
    assert text(entry, "title") == "A headline"
    assert "]]>" in text(entry, "summary")
    assert "&lt;w:t&gt;" in text(entry, "content")


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


@pytest.mark.parametrize("path", [*FEEDS, "/sitemap.xml", f"{ARCHIVE_PATH}.sitemap.xml"])
def test_a_document_is_rendered_once_until_an_issue_is_sent(
    app: Container, sample: int, visitor: TestClient, add_issue: Callable[..., int], path: str
) -> None:
    first = visitor.get(path)
    assert first.status_code == 200
    with app.database.transaction() as session:  # in no version's digest, but in every document
        session.execute(sql("UPDATE issue SET number = 'changed'"))
        session.execute(sql("UPDATE issue_translation SET subject = 'Changed'"))
        session.execute(sql("UPDATE story_translation SET headline = 'Changed'"))
    assert visitor.get(path).text == first.text
    assert visitor.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    for language in ("en", "ar", "sl"):
        add_issue(f"2026/4 {language}", date(2026, 10, 30), language=language)
    assert visitor.get(path).text != first.text


def test_documents_are_kept_within_limits() -> None:
    cache, rendered = DocumentCache(max_chars=100), []

    def get(path: str, version: str = "1", minutes: float = 0, length: int = 40) -> None:
        now = datetime(2026, 9, 30, tzinfo=UTC) + timedelta(minutes=minutes)
        document = cache.get(path, version, now, lambda: rendered.append(path) or path * length)  # type: ignore[func-returns-value]
        assert set(document) == {path}

    for path in ("a", "b", "a", "c", "a", "b"):
        get(path)
    assert rendered == ["a", "b", "c", "b"]  # the least recently used one goes first
    get("b", version="2")
    get("b", version="2", minutes=4.9)
    get("b", version="2", minutes=5)
    assert rendered[4:] == ["b", "b"]
    get("d", length=101)
    get("d", length=101)
    assert rendered[6:] == ["d", "d"]  # one that is larger than the cache is not kept
    get("a")
    assert rendered[8:] == ["a"]
