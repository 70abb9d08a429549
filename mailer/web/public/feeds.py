"""Atom feeds (RFC 4287): of a newsletter's issues, and of each section's stories, in each language."""

from fastapi import APIRouter, HTTPException, Request, Response

from mailer.bootstrap import Container
from mailer.services.archive import pages as pages_service
from mailer.services.archive.pages import IssueSummary, NewsletterPage
from mailer.web.public.archive_pages import ArchivePages
from mailer.web.public.structured_data import description, iso_time
from mailer.web.urls import PageUrls

_ATOM = "application/atom+xml"
_NEVER_UPDATED = "1970-01-01T00:00:00Z"


def feed_router(app: Container, pages: ArchivePages, urls: PageUrls) -> APIRouter:
    router = APIRouter(prefix="/archive/{slug}")
    database, links = app.database, app.urls

    @router.api_route("/{language}.atom", methods=["GET", "HEAD"])
    def issues(request: Request, slug: str, language: str) -> Response:
        shelf = pages_service.latest_issues(database, links, slug, language)
        if shelf is None:
            raise HTTPException(404)
        newest = max((card.published_at for card in shelf.issues), default=None)
        values = {
            "imprint": shelf.newsletter,
            "cards": shelf.issues,
            "updated": iso_time(newest) if newest else _NEVER_UPDATED,
            "moment": iso_time,
            "id": tag_uri(shelf.newsletter),
            "issue_id": lambda card: _issue_tag_uri(shelf.newsletter, card),
        }
        return pages.xml(request, "issues", _ATOM, values)

    @router.api_route("/{language}/{section}.atom", methods=["GET", "HEAD"])
    def stories(request: Request, slug: str, language: str, section: str) -> Response:
        found = pages_service.section_feed(database, links, slug, language, section)
        if found is None:
            raise HTTPException(404)
        imprint, topic, chapters = found
        newest = max((chapter.issue.published_at for chapter in chapters), default=None)
        values = {
            "imprint": imprint,
            "topic": topic,
            "chapters": chapters,
            "updated": iso_time(newest) if newest else _NEVER_UPDATED,
            "moment": iso_time,
            "summary": description,
            "id": tag_uri(imprint, "section", topic.key),
            "story_id": lambda card, story: f"{_issue_tag_uri(imprint, card)}/{story.key}",
        }
        return pages.xml(request, "stories", _ATOM, values)

    return router


def tag_uri(newsletter: NewsletterPage, *app: str) -> str:
    """A name that stays the same when the service moves to another address: a tag URI (RFC 4151) under the
    newsletter's List-ID."""
    return f"tag:{newsletter.list_id.lower()},2000:" + "/".join(("archive", newsletter.language, *app))


def _issue_tag_uri(newsletter: NewsletterPage, issue: IssueSummary) -> str:
    return tag_uri(newsletter, "issue", issue.slug)
