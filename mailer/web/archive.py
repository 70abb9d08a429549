"""What is open to everybody: the archive, what one has the address of, the start page."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mailer.adapters.links import EXTENSIONS
from mailer.adapters.markup import line_text
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import TEMPLATES, Mailer
from mailer.services import archive, search
from mailer.services.archive import Shelf
from mailer.web.addresses import Addresses
from mailer.web.archive_pages import ArchivePages
from mailer.web.feeds import feed_router
from mailer.web.negotiation import wanted
from mailer.web.pages import PRIVATE, Pages
from mailer.web.share import news_article, summary
from mailer.web.sitemap import sitemap_router

_EDITION_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_PICTURE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_LAST_PAGE = 100_000


def archive_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    to = Addresses(parts.settings.public_url)
    open_pages = ArchivePages(TEMPLATES, to, urlsplit(parts.settings.public_url).path)
    # Their addresses end in .atom and .xml, which the routes of pages would take for a language or an issue.
    router.include_router(feed_router(parts, open_pages, to))
    router.include_router(sitemap_router(parts, open_pages, to))
    router.include_router(_archive_router(parts, open_pages, to))
    router.include_router(_address_router(parts, pages, to))
    return router


def _archive_router(parts: Mailer, pages: ArchivePages, to: Addresses) -> APIRouter:
    router = APIRouter(prefix="/archive/{slug}")
    database, links = parts.database, parts.links
    Page = Annotated[int, Query(ge=1, le=_LAST_PAGE)]

    @router.api_route("", methods=["GET", "HEAD"])
    def negotiate(slug: str, speak: Annotated[list[str], Depends(wanted)]) -> Response:
        language = archive.language_for(database, slug, speak)
        if language is None:
            raise HTTPException(404)
        headers = {"Vary": "Accept-Language", "Cache-Control": "no-cache"}
        return RedirectResponse(to.shelf(slug, language), 302, headers)

    def found(request: Request, shelf: Shelf, typed: str, page: int) -> Response:
        imprint = shelf.imprint
        results = search.search(database, line_text, imprint.slug, imprint.language, typed, page)
        if results is None:
            raise HTTPException(404)
        return pages.show(
            request,
            "search",
            imprint,
            {tag: to.shelf(imprint.slug, tag, query=results.query) for tag in imprint.languages},
            {"results": results},
            canonical=to.shelf(imprint.slug, imprint.language, page, results.query),
            indexed=False,
        )

    @router.api_route("/{language}", methods=["GET", "HEAD"])
    def shelf(
        request: Request, slug: str, language: str, page: Page = 1, q: Annotated[str | None, Query()] = None
    ) -> Response:
        typed = (q or "").strip()
        shelf = archive.shelf(database, links, slug, language, 1 if typed else page)
        if shelf is None:
            raise HTTPException(404)
        if typed:
            return found(request, shelf, typed, page)
        return pages.show(
            request,
            "shelf",
            shelf.imprint,
            {tag: to.shelf(slug, tag, page) for tag in shelf.imprint.languages},
            {"shelf": shelf},
            canonical=to.shelf(slug, language, page),
            anywhere=to.archive(slug) if page == 1 else "",
        )

    @router.api_route("/{language}/{issue}", methods=["GET", "HEAD"])
    def edition(
        request: Request,
        slug: str,
        language: str,
        issue: str,
        section: Annotated[list[str], Query(default_factory=list, max_length=62)],
    ) -> Response:
        edition = archive.edition(database, links, slug, language, issue, section)
        if edition is None:
            raise HTTPException(404)
        card = edition.card
        if card.title.language != language:
            return RedirectResponse(to.edition(slug, card.title.language, issue), 302)
        shown = [choice.key for choice in edition.choices if choice.shown]
        partly = shown if len(shown) < len(edition.choices) else []
        return pages.show(
            request,
            "edition",
            edition.imprint,
            {tag: to.edition(slug, tag, issue, partly) for tag in card.languages},
            {"edition": edition, "content": edition.content, "card": card},
            canonical=to.edition(slug, language, issue),
        )

    @router.api_route("/{language}/{issue}/{story}", methods=["GET", "HEAD"])
    def story(request: Request, slug: str, language: str, issue: str, story: str) -> Response:
        told = archive.story(database, links, slug, language, issue, story)
        if told is None:
            raise HTTPException(404)
        # A story that fell back is at home in the language of its text.
        home = language if language in told.languages else next(iter(told.languages), language)
        if told.story.language in told.languages:
            home = told.story.language
        canonical = to.story(slug, home, issue, story)
        return pages.show(
            request,
            "story",
            told.imprint,
            {tag: to.story(slug, tag, issue, story) for tag in told.languages},
            {
                "told": told,
                "story": told.story,
                "card": told.card,
                "summary": summary(told.story.body),
                "article": news_article(
                    told.imprint, told.card, told.story, told.section.title, canonical, to
                ),
            },
            canonical=canonical,
        )

    return router


def _address_router(parts: Mailer, pages: Pages, to: Addresses) -> APIRouter:
    """What is found by its address alone."""
    router = APIRouter()
    database, tokens = parts.database, parts.tokens
    public = urlsplit(parts.settings.public_url)
    policy = _EDITION_POLICY.format(origin=f"{public.scheme}://{public.netloc}")

    @router.api_route("/", methods=["GET", "HEAD"])
    def home(speak: Annotated[list[str], Depends(wanted)]) -> HTMLResponse:
        found = archive.publications(database, speak)
        values = {"publications": found.publications, "languages": found.page_languages, "to": to}
        return pages.page("home", found.language, values)

    @router.api_route("/e/{token}", methods=["GET", "HEAD"])
    def edition(token: str) -> HTMLResponse:
        pair = tokens.open_link(Purpose.web_view, token)
        found = archive.edition_page(database, *pair) if pair else None
        if found is None:
            raise HTTPException(404)
        headers = PRIVATE | {"Content-Security-Policy": policy, "Content-Language": found.language}
        return HTMLResponse(found.html, headers=headers)

    @router.api_route("/pictures/{name}.{extension}", methods=["GET", "HEAD"])
    def picture(name: str, extension: str) -> Response:
        known = len(name) == 32 and set(name) <= set("0123456789abcdef")
        found = archive.picture(database, name) if known else None
        if found is None or EXTENSIONS.get(found.media_type) != extension:
            raise HTTPException(404)
        return Response(found.data, media_type=found.media_type, headers=_PICTURE_HEADERS)

    return router
