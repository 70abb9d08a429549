"""Atom feeds (RFC 4287): of a newsletter's issues, and of each section's stories, in each language."""

from fastapi import APIRouter, HTTPException, Request, Response

from mailer.domain import urls
from mailer.services.archive import pages as pages_service
from mailer.services.archive.pages import IssueSummary, NewsletterPage
from mailer.web.dependencies import App, OpenPages
from mailer.web.public.structured_data import description, iso_time

router = APIRouter()
_ATOM = "application/atom+xml"
_NEVER_UPDATED = "1970-01-01T00:00:00Z"


@router.api_route(urls.NEWSLETTER_FEED, methods=["GET", "HEAD"])
def newsletter_feed(request: Request, app: App, pages: OpenPages, slug: str, language: str) -> Response:
    found = pages_service.latest_issues(app.database, app.urls, slug, language)
    if found is None:
        raise HTTPException(404)
    newest = max((issue.published_at for issue in found.issues), default=None)
    values = {
        "imprint": found.newsletter,
        "cards": found.issues,
        "updated": iso_time(newest) if newest else _NEVER_UPDATED,
        "moment": iso_time,
        "id": tag_uri(found.newsletter),
        "issue_id": lambda issue: _issue_tag_uri(found.newsletter, issue),
    }
    return pages.xml(request, "issues", _ATOM, values)


@router.api_route(urls.SECTION_FEED, methods=["GET", "HEAD"])
def section_feed(request: Request, app: App, pages: OpenPages, slug: str, language: str, section: str) -> Response:
    found = pages_service.section_feed(app.database, app.urls, slug, language, section)
    if found is None:
        raise HTTPException(404)
    newsletter, topic, chapters = found
    newest = max((chapter.issue.published_at for chapter in chapters), default=None)
    values = {
        "imprint": newsletter,
        "topic": topic,
        "chapters": chapters,
        "updated": iso_time(newest) if newest else _NEVER_UPDATED,
        "moment": iso_time,
        "summary": description,
        "id": tag_uri(newsletter, "section", topic.key),
        "story_id": lambda issue, story: f"{_issue_tag_uri(newsletter, issue)}/{story.key}",
    }
    return pages.xml(request, "stories", _ATOM, values)


def tag_uri(newsletter: NewsletterPage, *parts: str) -> str:
    """A name that stays the same when the service moves to another address: a tag URI (RFC 4151) under the
    newsletter's List-ID."""
    return f"tag:{newsletter.list_id.lower()},2000:" + "/".join(("archive", newsletter.language, *parts))


def _issue_tag_uri(newsletter: NewsletterPage, issue: IssueSummary) -> str:
    return tag_uri(newsletter, "issue", issue.slug)
