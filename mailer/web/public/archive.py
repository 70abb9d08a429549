"""What is open to everybody: the archive, what one has the address of, the start page."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mailer.adapters.markdown import inline_text
from mailer.adapters.tokens import Purpose
from mailer.adapters.urls import PICTURE_EXTENSIONS
from mailer.bootstrap import TEMPLATE_ROOT, Container
from mailer.services.archive import pages as pages_service
from mailer.services.archive import search
from mailer.services.archive.pages import IssueList
from mailer.web.negotiation import accepted_languages
from mailer.web.pages import PRIVATE_HEADERS, Pages
from mailer.web.public.archive_pages import ArchivePages
from mailer.web.public.feeds import feed_router
from mailer.web.public.sitemap import sitemap_router
from mailer.web.public.structured_data import description, news_article
from mailer.web.urls import PageUrls

_EDITION_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_PICTURE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_MAX_PAGE = 100_000


def archive_router(app: Container, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    to = PageUrls(app.settings.public_url)
    open_pages = ArchivePages(TEMPLATE_ROOT, to, urlsplit(app.settings.public_url).path)
    # Their addresses end in .atom and .xml, which the routes of pages would take for a language or an issue.
    router.include_router(feed_router(app, open_pages, to))
    router.include_router(sitemap_router(app, open_pages, to))
    router.include_router(_pages_router(app, open_pages, to))
    router.include_router(_permalink_router(app, pages, to))
    return router


def _pages_router(app: Container, pages: ArchivePages, urls: PageUrls) -> APIRouter:
    router = APIRouter(prefix="/archive/{slug}")
    database, links = app.database, app.urls
    Page = Annotated[int, Query(ge=1, le=_MAX_PAGE)]

    @router.api_route("", methods=["GET", "HEAD"])
    def negotiate(slug: str, speak: Annotated[list[str], Depends(accepted_languages)]) -> Response:
        language = pages_service.language_for(database, slug, speak)
        if language is None:
            raise HTTPException(404)
        headers = {"Vary": "Accept-Language", "Cache-Control": "no-cache"}
        return RedirectResponse(urls.issue_list(slug, language), 302, headers)

    def found(request: Request, shelf: IssueList, typed: str, page: int) -> Response:
        imprint = shelf.newsletter
        results = search.search(database, inline_text, imprint.slug, imprint.language, typed, page)
        if results is None:
            raise HTTPException(404)
        return pages.html(
            request,
            "search",
            imprint,
            {tag: urls.issue_list(imprint.slug, tag, query=results.query) for tag in imprint.languages},
            {"results": results},
            canonical=urls.issue_list(imprint.slug, imprint.language, page, results.query),
            indexed=False,
        )

    @router.api_route("/{language}", methods=["GET", "HEAD"])
    def shelf(
        request: Request, slug: str, language: str, page: Page = 1, q: Annotated[str | None, Query()] = None
    ) -> Response:
        typed = (q or "").strip()
        shelf = pages_service.issue_list(database, links, slug, language, 1 if typed else page)
        if shelf is None:
            raise HTTPException(404)
        if typed:
            return found(request, shelf, typed, page)
        return pages.html(
            request,
            "issue_list",
            shelf.newsletter,
            {tag: urls.issue_list(slug, tag, page) for tag in shelf.newsletter.languages},
            {"shelf": shelf},
            canonical=urls.issue_list(slug, language, page),
            default_path=urls.archive(slug) if page == 1 else "",
        )

    @router.api_route("/{language}/{issue}", methods=["GET", "HEAD"])
    def edition(
        request: Request,
        slug: str,
        language: str,
        issue: str,
        section: Annotated[list[str], Query(default_factory=list, max_length=62)],
    ) -> Response:
        edition = pages_service.issue_page(database, links, slug, language, issue, section)
        if edition is None:
            raise HTTPException(404)
        card = edition.issue
        if card.title.language != language:
            return RedirectResponse(urls.edition(slug, card.title.language, issue), 302)
        shown = [choice.key for choice in edition.sections if choice.shown]
        partly = shown if len(shown) < len(edition.sections) else []
        return pages.html(
            request,
            "edition",
            edition.newsletter,
            {tag: urls.edition(slug, tag, issue, partly) for tag in card.languages},
            {"edition": edition, "content": edition.content, "card": card},
            canonical=urls.edition(slug, language, issue),
        )

    @router.api_route("/{language}/{issue}/{story}", methods=["GET", "HEAD"])
    def story(request: Request, slug: str, language: str, issue: str, story: str) -> Response:
        told = pages_service.story_page(database, links, slug, language, issue, story)
        if told is None:
            raise HTTPException(404)
        # A story that fell back is at home in the language of its text.
        home = language if language in told.languages else next(iter(told.languages), language)
        if told.story.language in told.languages:
            home = told.story.language
        canonical = urls.story(slug, home, issue, story)
        return pages.html(
            request,
            "story",
            told.newsletter,
            {tag: urls.story(slug, tag, issue, story) for tag in told.languages},
            {
                "told": told,
                "story": told.story,
                "card": told.issue,
                "summary": description(told.story.body),
                "article": news_article(
                    told.newsletter, told.issue, told.story, told.section.title, canonical, urls
                ),
            },
            canonical=canonical,
        )

    return router


def _permalink_router(app: Container, pages: Pages, urls: PageUrls) -> APIRouter:
    """What is found by its address alone."""
    router = APIRouter()
    database, tokens = app.database, app.tokens
    public = urlsplit(app.settings.public_url)
    policy = _EDITION_CSP.format(origin=f"{public.scheme}://{public.netloc}")

    @router.api_route("/", methods=["GET", "HEAD"])
    def home(speak: Annotated[list[str], Depends(accepted_languages)]) -> HTMLResponse:
        found = pages_service.publications(database, speak)
        values = {"publications": found.publications, "languages": found.ui_languages, "to": urls}
        return pages.render("home", found.language, values)

    @router.api_route("/e/{token}", methods=["GET", "HEAD"])
    def edition(token: str) -> HTMLResponse:
        pair = tokens.read_link_token(Purpose.web_view, token)
        found = pages_service.edition_page(database, *pair) if pair else None
        if found is None:
            raise HTTPException(404)
        headers = PRIVATE_HEADERS | {"Content-Security-Policy": policy, "Content-Language": found.language}
        return HTMLResponse(found.html, headers=headers)

    @router.api_route("/pictures/{name}.{extension}", methods=["GET", "HEAD"])
    def picture(name: str, extension: str) -> Response:
        known = len(name) == 32 and set(name) <= set("0123456789abcdef")
        found = pages_service.picture(database, name) if known else None
        if found is None or PICTURE_EXTENSIONS.get(found.media_type) != extension:
            raise HTTPException(404)
        return Response(found.data, media_type=found.media_type, headers=_PICTURE_HEADERS)

    return router
