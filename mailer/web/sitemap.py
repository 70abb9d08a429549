"""For search engines: what there is (sitemaps.org, with their languages), and what they may read.

One site map lists the others: a file has an end at 50,000 addresses, and each address names all its languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response

from mailer.bootstrap import Mailer
from mailer.services import archive
from mailer.web.addresses import Addresses
from mailer.web.archive_pages import ArchivePages
from mailer.web.share import moment

_XML = "application/xml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to read."""

    languages: Mapping[str, str]
    """Each language it is in, with its path."""
    default: str
    """Path for people of any other language."""
    changed: str = ""


def sitemap_router(parts: Mailer, pages: ArchivePages, to: Addresses) -> APIRouter:
    router = APIRouter()
    database, links = parts.database, parts.links

    @router.api_route("/robots.txt", methods=["GET", "HEAD"])
    def robots() -> Response:
        """Pages for everybody are named, so that a new page with a token in its address is closed at once."""
        allowed = [
            to.home() + path
            for path in ("archive/", "subscribe/", "pictures/", "static/", "theme/", "sitemap.xml")
        ]
        lines = [
            "User-agent: *",
            *(f"Allow: {path}" for path in allowed),
            f"Allow: {to.home()}$",
            f"Disallow: {to.home()}",
            "",
            f"Sitemap: {to.absolute(to.sitemap())}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    @router.api_route("/sitemap.xml", methods=["GET", "HEAD"])
    def index(request: Request) -> Response:
        paths = []
        for imprint, cards in archive.public_issues(database, links):
            paths.append(to.sitemap(imprint.slug))
            paths += [to.sitemap(imprint.slug, card.address) for card in cards]
        return pages.xml(request, "sitemaps", _XML, {"paths": paths})

    @router.api_route("/archive/{slug}.sitemap.xml", methods=["GET", "HEAD"])
    def issues(request: Request, slug: str) -> Response:
        every = archive.public_issues(database, links)
        found = next(((imprint, cards) for imprint, cards in every if imprint.slug == slug), None)
        if found is None:
            raise HTTPException(404)
        imprint, cards = found
        shelves = {tag: to.shelf(slug, tag) for tag in imprint.languages}
        entries = [Entry(shelves, to.archive(slug))]
        for card in cards:
            paths = {tag: to.edition(slug, tag, card.address) for tag in card.languages}
            entries.append(_entry(paths, imprint.default_language, moment(card.published)))
        return pages.xml(request, "sitemap", _XML, {"entries": entries})

    @router.api_route("/archive/{slug}/{issue}.sitemap.xml", methods=["GET", "HEAD"])
    def stories(request: Request, slug: str, issue: str) -> Response:
        found = archive.contents(database, links, slug, issue)
        if found is None:
            raise HTTPException(404)
        imprint, contents = found
        changed = moment(contents.card.published)
        entries = [
            _entry({tag: to.story(slug, tag, issue, key) for tag in tags}, imprint.default_language, changed)
            for key, tags in contents.stories
        ]
        return pages.xml(request, "sitemap", _XML, {"entries": entries})

    return router


def _entry(paths: Mapping[str, str], default: str, changed: str) -> Entry:
    return Entry(paths, paths.get(default) or next(iter(paths.values())), changed)
