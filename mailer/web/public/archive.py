"""The public pages: the start page, the archive, web views of emails, and pictures."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mailer.adapters.markdown import inline_text
from mailer.adapters.tokens import Purpose
from mailer.adapters.urls import PICTURE_EXTENSIONS
from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.services.archive import mail_files, search
from mailer.services.archive import pages as pages_service
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
    listing = pages_service.publications(app.database, languages)
    values = {"publications": listing.publications, "languages": listing.ui_languages}
    return pages.render("home", listing.language, values)


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
    issues = pages_service.issue_list(app.database, app.urls, slug, language, 1 if query else page)
    if issues is None:
        raise HTTPException(404)
    if query:
        return _search_results(request, app, pages, issues, query, page)
    return pages.html(
        request,
        "issue_list",
        issues.newsletter,
        {tag: app.urls.issue_list(slug, tag, page) for tag in issues.newsletter.languages},
        {"shelf": issues},
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
    issue_page = pages_service.issue_page(app.database, app.urls, slug, language, issue, section)
    if issue_page is None:
        raise HTTPException(404)
    summary = issue_page.issue
    if summary.title.language != language:
        return RedirectResponse(app.urls.edition(slug, summary.title.language, issue), 302)
    shown_keys = [option.key for option in issue_page.sections if option.shown]
    chosen = shown_keys if len(shown_keys) < len(issue_page.sections) else []
    return pages.html(
        request,
        "edition",
        issue_page.newsletter,
        {tag: app.urls.edition(slug, tag, issue, chosen) for tag in summary.languages},
        {"edition": issue_page, "content": issue_page.content, "summary": summary},
        canonical=app.urls.edition(slug, language, issue),
    )


@router.api_route(urls.STORY, methods=["GET", "HEAD"])
def story(request: Request, app: App, pages: OpenPages, slug: str, language: str, issue: str, story: str) -> Response:
    story_page = pages_service.story_page(app.database, app.urls, slug, language, issue, story)
    if story_page is None:
        raise HTTPException(404)
    # The canonical page of a fallback story is the one in the language of its text.
    canonical_language = language if language in story_page.languages else next(iter(story_page.languages), language)
    if story_page.story.language in story_page.languages:
        canonical_language = story_page.story.language
    canonical = app.urls.story(slug, canonical_language, issue, story)
    return pages.html(
        request,
        "story",
        story_page.newsletter,
        {tag: app.urls.story(slug, tag, issue, story) for tag in story_page.languages},
        {
            "story_page": story_page,
            "story": story_page.story,
            "summary": story_page.issue,
            "description": description(story_page.story.body),
            "article": news_article(
                story_page.newsletter, story_page.issue, story_page.story, story_page.section.title, canonical, app.urls
            ),
        },
        canonical=canonical,
    )


@router.api_route(urls.WEB_VIEW, methods=["GET", "HEAD"])
def web_view(app: App, token: str) -> HTMLResponse:
    token_values = app.tokens.read_link_token(Purpose.web_view, token)
    edition_page = mail_files.edition_page(app.database, *token_values) if token_values else None
    if test := app.tokens.read_link_token(Purpose.test_view, token):
        edition_page = mail_files.test_page(app.database, *test)
    if edition_page is None:
        raise HTTPException(404)
    headers = PRIVATE_HEADERS | {
        "Content-Security-Policy": _EDITION_CSP.format(origin=app.urls.origin),
        "Content-Language": edition_page.language,
    }
    return HTMLResponse(edition_page.html, headers=headers)


@router.api_route(urls.PICTURE, methods=["GET", "HEAD"])
def picture(app: App, name: str, extension: str) -> Response:
    valid = len(name) == 32 and set(name) <= set("0123456789abcdef")
    file = mail_files.picture(app.database, app.picture_store, name) if valid else None
    if file is None or PICTURE_EXTENSIONS.get(file.media_type) != extension:
        raise HTTPException(404)
    return Response(file.data, media_type=file.media_type, headers=_PICTURE_HEADERS)
