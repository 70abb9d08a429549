"""Sitemaps and robots.txt."""

from collections.abc import Callable
from datetime import date
from urllib.robotparser import RobotFileParser
from xml.etree.ElementTree import fromstring

from fastapi.testclient import TestClient

from tests.support.html_page import ARCHIVE_PATH, SITE_URL, get_page

MAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
LINK = "{http://www.w3.org/1999/xhtml}link"


def listed(client: TestClient) -> dict[str, dict[str, str]]:
    """Every address in the site maps, with its languages."""
    index = client.get("/sitemap.xml")
    assert index.headers["Content-Type"] == "application/xml"
    root = fromstring(index.content)
    assert root.tag == f"{MAP}sitemapindex"
    found: dict[str, dict[str, str]] = {}
    for place in root.iter(f"{MAP}loc"):
        part = fromstring(client.get(str(place.text).removeprefix(SITE_URL)).content)
        assert part.tag == f"{MAP}urlset"
        for url in part:
            languages = {str(link.get("hreflang")): str(link.get("href")) for link in url.iter(LINK)}
            address = str(url.findtext(f"{MAP}loc"))
            assert address not in found
            found[address] = languages
    return found


def test_sitemaps_list_every_page_with_its_languages(
    sample: int, add_issue: Callable[..., int], visitor: TestClient
) -> None:
    add_issue("2026/4", date(2026, 12, 30))
    found = listed(visitor)
    stories = [address for address in found if address.count("/") == 7]
    assert len(found) == 18 + 3 + 1 + len(stories)
    assert f"{SITE_URL}{ARCHIVE_PATH}/en/2026-4" in found
    assert len([address for address in stories if "/en/" in address]) == 17
    assert len([address for address in stories if "/sl/" in address]) < 16
    for address, languages in found.items():
        assert address in languages.values()
        for tag, other in languages.items():
            assert tag == "x-default" or found[other] == languages
    for address in [*list(found)[:3], *stories[:20]]:
        page = get_page(visitor, address.removeprefix(SITE_URL))
        assert page.canonical == address
        assert page.alternates() == found[address]


def test_robots_txt_allows_only_public_pages(sample: int, visitor: TestClient) -> None:
    robots = RobotFileParser()
    text = visitor.get("/robots.txt").text
    robots.parse(text.splitlines())
    assert robots.site_maps() == [f"{SITE_URL}/sitemap.xml"]
    for path in (
        "/archive/lumen-basin/en",
        "/pictures/x.jpg",
        "/static/base.css",
        "/theme/x.css",
        "/subscribe/x",
    ):
        assert robots.can_fetch("Googlebot", path), path
    for path in ("/u/x", "/p/x", "/e/x", "/k/x/y", "/a/x", "/c/x", "/health", "/something-new"):
        assert not robots.can_fetch("Googlebot", path), path
    assert "Allow: /$\n" in text


def test_sitemap_without_newsletters_is_empty(visitor: TestClient) -> None:
    assert listed(visitor) == {}
