"""Sitemaps (sitemaps.org) and robots.txt for search engines.

There is one sitemap per newsletter and per issue, because a file may have 50,000 URLs at most and every URL lists all
its languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response

from mailer.domain import urls
from mailer.services.archive import pages as pages_service
from mailer.web.dependencies import App, OpenPages
from mailer.web.public.structured_data import iso_time

router = APIRouter()
_XML = "application/xml"


@dataclass(frozen=True, slots=True)
class SitemapUrl:
    """A page with its translations."""

    paths: Mapping[str, str]
    """Language → path."""
    default_path: str
    """The path for all other languages."""
    modified: str = ""


@router.api_route(urls.ROBOTS, methods=["GET", "HEAD"])
def robots(app: App) -> Response:
    """Return robots.txt. It allows only listed prefixes, so that new pages with tokens are excluded by default."""
    to = app.urls
    lines = [
        "User-agent: *",
        *(f"Allow: {to.path(prefix)}" for prefix in urls.INDEXED_PREFIXES),
        f"Allow: {to.home()}$",
        f"Disallow: {to.home()}",
        "",
        f"Sitemap: {to.absolute(to.sitemap())}",
    ]
    return PlainTextResponse("\n".join(lines) + "\n")


@router.api_route(urls.SITEMAP_INDEX, methods=["GET", "HEAD"])
def sitemap_index(request: Request, app: App, pages: OpenPages) -> Response:
    def load() -> dict[str, object]:
        paths = []
        for newsletter, issues in pages_service.public_issues(app.database, app.urls):
            paths.append(app.urls.sitemap(newsletter.slug))
            paths += [app.urls.sitemap(newsletter.slug, issue.slug) for issue in issues]
        return {"paths": paths}

    return pages.xml(request, app, "sitemap_index", _XML, load)


@router.api_route(urls.NEWSLETTER_SITEMAP, methods=["GET", "HEAD"])
def newsletter_sitemap(request: Request, app: App, pages: OpenPages, slug: str) -> Response:
    def load() -> dict[str, object]:
        public = pages_service.public_issues(app.database, app.urls)
        match = next(((newsletter, issues) for newsletter, issues in public if newsletter.slug == slug), None)
        if match is None:
            raise HTTPException(404)
        newsletter, issues = match
        lists = {tag: app.urls.issue_list(slug, tag) for tag in newsletter.languages}
        entries = [SitemapUrl(lists, app.urls.archive(slug))]
        for issue in issues:
            paths = {tag: app.urls.edition(slug, tag, issue.slug) for tag in issue.languages}
            entries.append(_sitemap_url(paths, newsletter.default_language, iso_time(issue.published_at)))
        return {"entries": entries}

    return pages.xml(request, app, "sitemap", _XML, load)


@router.api_route(urls.ISSUE_SITEMAP, methods=["GET", "HEAD"])
def issue_sitemap(request: Request, app: App, pages: OpenPages, slug: str, issue: str) -> Response:
    def load() -> dict[str, object]:
        match = pages_service.sitemap_entries(app.database, app.urls, slug, issue)
        if match is None:
            raise HTTPException(404)
        newsletter, contents = match
        modified = iso_time(contents.issue.published_at)
        entries = [
            _sitemap_url(
                {tag: app.urls.story(slug, tag, issue, key) for tag in tags}, newsletter.default_language, modified
            )
            for key, tags in contents.stories
        ]
        return {"entries": entries}

    return pages.xml(request, app, "sitemap", _XML, load)


def _sitemap_url(paths: Mapping[str, str], default_language: str, modified: str) -> SitemapUrl:
    return SitemapUrl(paths, paths.get(default_language) or next(iter(paths.values())), modified)
