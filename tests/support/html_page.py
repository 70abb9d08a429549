"""A parsed page, with the data that search engines read."""

import json
from html.parser import HTMLParser
from typing import Any

from fastapi.testclient import TestClient

SITE_URL = "http://news.example.org"
ARCHIVE_PATH = "/archive/lumen-basin"


class Page(HTMLParser):
    """The elements and texts of a document, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        """(element, text) pairs."""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.append((self._open[-1], data.strip()))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    def meta(self) -> dict[str, str]:
        return {tag.get("property") or tag.get("name", ""): tag.get("content", "") for tag in self.all("meta")}

    @property
    def canonical(self) -> str:
        (link,) = self.all("link", rel="canonical")
        return link["href"]

    def alternates(self) -> dict[str, str]:
        """Return language → URL."""
        return {link["hreflang"]: link["href"] for link in self.all("link", rel="alternate") if "hreflang" in link}

    def json_ld(self) -> Any:
        """Return the page's JSON-LD."""
        (text,) = [text for tag, text in self.texts if tag == "script"]
        return json.loads(text)


def get_page(client: TestClient, path: str) -> Page:
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return Page(response.text)
