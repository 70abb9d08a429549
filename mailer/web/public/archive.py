"""What is open to everybody: the archive, what one has the address of, the start page."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mailer.adapters.markdown import inline_text
from mailer.adapters.tokens import Purpose
from mailer.adapters.urls import PICTURE_EXTENSIONS
from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.services.archive import pages as pages_service
from mailer.services.archive import search
from mailer.services.archive.pages import IssueList
from mailer.web.dependencies import AcceptedLanguages, App, OpenPages, PublicPages
from mailer.web.pages import PRIVATE_HEADERS
from mailer.web.public.archive_pages import ArchivePages
from mailer.web.public.structured_data import description, news_article

router = APIRouter(include_in_schema=False)
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


@router.api_route(urls.HOME, methods=["GET", "HEAD"])
def home(app: App, pages: PublicPages, languages: AcceptedLanguages) -> HTMLResponse:
    found = pages_service.publications(app.database, languages)
    values = {"publications": found.publications, "languages": found.ui_languages}
    return pages.render("home", found.language, values)


@router.api_route(urls.ARCHIVE, methods=["GET", "HEAD"])
def negotiate_language(app: App, slug: str, languages: AcceptedLanguages) -> Response:
    language = pages_service.language_for(app.database, slug, languages)
    if language is None:
        raise HTTPException(404)
    headers = {"Vary": "Accept-Language", "Cache-Control": "no-cache"}
    return RedirectResponse(app.urls.issue_list(slug, language), 302, headers)


@router.api_route(urls.ISSUE_LIST, methods=["GET", "HEAD"])
def issue_list(
    request: Request,
    app: App,
    pages: OpenPages,
    slug: str,
    language: str,
    page: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 1,
    q: Annotated[str, Query()] = "",
) -> Response:
    query = q.strip()
    found = pages_service.issue_list(app.database, app.urls, slug, language, 1 if query else page)
    if found is None:
        raise HTTPException(404)
    if query:
        return _search_results(request, app, pages, found, query, page)
    return pages.html(
        request,
        "issue_list",
        found.newsletter,
        {tag: app.urls.issue_list(slug, tag, page) for tag in found.newsletter.languages},
        {"shelf": found},
        canonical=app.urls.issue_list(slug, language, page),
        default_path=app.urls.archive(slug) if page == 1 else "",
    )


def _search_results(
    request: Request, app: Container, pages: ArchivePages, issues: IssueList, query: str, page: int
) -> Response:
    newsletter, urls = issues.newsletter, app.urls
    results = search.search(app.database, inline_text, newsletter.slug, newsletter.language, query, page)
    if results is None:
        raise HTTPException(404)
    return pages.html(
        request,
        "search",
        newsletter,
        {tag: urls.issue_list(newsletter.slug, tag, query=results.query) for tag in newsletter.languages},
        {"results": results},
        canonical=urls.issue_list(newsletter.slug, newsletter.language, page, results.query),
        indexed=False,
    )


@router.api_route(urls.EDITION, methods=["GET", "HEAD"])
def edition(
    request: Request,
    app: App,
    pages: OpenPages,
    slug: str,
    language: str,
    issue: str,
    section: Annotated[list[str], Query(default_factory=list, max_length=62)],
) -> Response:
    found = pages_service.issue_page(app.database, app.urls, slug, language, issue, section)
    if found is None:
        raise HTTPException(404)
    summary = found.issue
    if summary.title.language != language:
        return RedirectResponse(app.urls.edition(slug, summary.title.language, issue), 302)
    shown = [option.key for option in found.sections if option.shown]
    some = shown if len(shown) < len(found.sections) else []
    return pages.html(
        request,
        "edition",
        found.newsletter,
        {tag: app.urls.edition(slug, tag, issue, some) for tag in summary.languages},
        {"edition": found, "content": found.content, "card": summary},
        canonical=app.urls.edition(slug, language, issue),
    )


@router.api_route(urls.STORY, methods=["GET", "HEAD"])
def story(request: Request, app: App, pages: OpenPages, slug: str, language: str, issue: str, story: str) -> Response:
    found = pages_service.story_page(app.database, app.urls, slug, language, issue, story)
    if found is None:
        raise HTTPException(404)
    # The canonical page of a story that fell back is in the language of its text.
    home = language if language in found.languages else next(iter(found.languages), language)
    if found.story.language in found.languages:
        home = found.story.language
    canonical = app.urls.story(slug, home, issue, story)
    return pages.html(
        request,
        "story",
        found.newsletter,
        {tag: app.urls.story(slug, tag, issue, story) for tag in found.languages},
        {
            "story_page": found,
            "story": found.story,
            "card": found.issue,
            "summary": description(found.story.body),
            "article": news_article(
                found.newsletter, found.issue, found.story, found.section.title, canonical, app.urls
            ),
        },
        canonical=canonical,
    )


@router.api_route(urls.WEB_VIEW, methods=["GET", "HEAD"])
def web_view(app: App, token: str) -> HTMLResponse:
    pair = app.tokens.read_link_token(Purpose.web_view, token)
    found = pages_service.edition_page(app.database, *pair) if pair else None
    if found is None:
        raise HTTPException(404)
    headers = PRIVATE_HEADERS | {
        "Content-Security-Policy": _EDITION_CSP.format(origin=app.urls.origin),
        "Content-Language": found.language,
    }
    return HTMLResponse(found.html, headers=headers)


@router.api_route(urls.PICTURE, methods=["GET", "HEAD"])
def picture(app: App, name: str, extension: str) -> Response:
    known = len(name) == 32 and set(name) <= set("0123456789abcdef")
    found = pages_service.picture(app.database, name) if known else None
    if found is None or PICTURE_EXTENSIONS.get(found.media_type) != extension:
        raise HTTPException(404)
    return Response(found.data, media_type=found.media_type, headers=_PICTURE_HEADERS)
