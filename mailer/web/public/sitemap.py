"""For search engines: what there is (sitemaps.org, with their languages), and what they may read.

One site map lists the others: a file has an end at 50,000 addresses, and each address names all its languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response

from mailer.bootstrap import Container
from mailer.services.archive import pages as pages_service
from mailer.web.public.archive_pages import ArchivePages
from mailer.web.public.structured_data import iso_time
from mailer.web.urls import PageUrls

_XML = "application/xml"


@dataclass(frozen=True, slots=True)
class SitemapUrl:
    """One thing to read."""

    paths: Mapping[str, str]
    """Each language it is in, with its path."""
    default_path: str
    """Path for people of any other language."""
    modified: str = ""


def sitemap_router(app: Container, pages: ArchivePages, urls: PageUrls) -> APIRouter:
    router = APIRouter()
    database, links = app.database, app.urls

    @router.api_route("/robots.txt", methods=["GET", "HEAD"])
    def robots() -> Response:
        """Pages for everybody are named, so that a new page with a token in its address is closed at once."""
        allowed = [
            urls.home() + path
            for path in ("archive/", "subscribe/", "pictures/", "static/", "theme/", "sitemap.xml")
        ]
        lines = [
            "User-agent: *",
            *(f"Allow: {path}" for path in allowed),
            f"Allow: {urls.home()}$",
            f"Disallow: {urls.home()}",
            "",
            f"Sitemap: {urls.absolute(urls.sitemap())}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    @router.api_route("/sitemap.xml", methods=["GET", "HEAD"])
    def index(request: Request) -> Response:
        paths = []
        for imprint, cards in pages_service.public_issues(database, links):
            paths.append(urls.sitemap(imprint.slug))
            paths += [urls.sitemap(imprint.slug, card.slug) for card in cards]
        return pages.xml(request, "sitemap_index", _XML, {"paths": paths})

    @router.api_route("/archive/{slug}.sitemap.xml", methods=["GET", "HEAD"])
    def issues(request: Request, slug: str) -> Response:
        every = pages_service.public_issues(database, links)
        found = next(((imprint, cards) for imprint, cards in every if imprint.slug == slug), None)
        if found is None:
            raise HTTPException(404)
        imprint, cards = found
        shelves = {tag: urls.issue_list(slug, tag) for tag in imprint.languages}
        entries = [SitemapUrl(shelves, urls.archive(slug))]
        for card in cards:
            paths = {tag: urls.edition(slug, tag, card.slug) for tag in card.languages}
            entries.append(_sitemap_url(paths, imprint.default_language, iso_time(card.published_at)))
        return pages.xml(request, "sitemap", _XML, {"entries": entries})

    @router.api_route("/archive/{slug}/{issue}.sitemap.xml", methods=["GET", "HEAD"])
    def stories(request: Request, slug: str, issue: str) -> Response:
        found = pages_service.sitemap_entries(database, links, slug, issue)
        if found is None:
            raise HTTPException(404)
        imprint, contents = found
        changed = iso_time(contents.issue.published_at)
        entries = [
            _sitemap_url(
                {tag: urls.story(slug, tag, issue, key) for tag in tags}, imprint.default_language, changed
            )
            for key, tags in contents.stories
        ]
        return pages.xml(request, "sitemap", _XML, {"entries": entries})

    return router


def _sitemap_url(paths: Mapping[str, str], default_language: str, modified: str) -> SitemapUrl:
    return SitemapUrl(paths, paths.get(default_language) or next(iter(paths.values())), modified)
