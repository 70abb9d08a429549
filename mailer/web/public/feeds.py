"""Atom feeds (RFC 4287) of a newsletter's issues and of each section's stories, in every language."""

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
    def load() -> dict[str, object]:
        issue_list = pages_service.latest_issues(app.database, app.urls, slug, language)
        if issue_list is None:
            raise HTTPException(404)
        newest = max((issue.published_at for issue in issue_list.issues), default=None)
        return {
            "newsletter": issue_list.newsletter,
            "issues": issue_list.issues,
            "updated": iso_time(newest) if newest else _NEVER_UPDATED,
            "moment": iso_time,
            "id": tag_uri(issue_list.newsletter),
            "issue_id": lambda issue: _issue_tag_uri(issue_list.newsletter, issue),
        }

    return pages.xml(request, app, "issues", _ATOM, load)


@router.api_route(urls.SECTION_FEED, methods=["GET", "HEAD"])
def section_feed(request: Request, app: App, pages: OpenPages, slug: str, language: str, section: str) -> Response:
    def load() -> dict[str, object]:
        feed = pages_service.section_feed(app.database, app.urls, slug, language, section)
        if feed is None:
            raise HTTPException(404)
        newsletter, section_info, section_stories = feed
        newest = max((stories.issue.published_at for stories in section_stories), default=None)
        return {
            "newsletter": newsletter,
            "topic": section_info,
            "chapters": section_stories,
            "updated": iso_time(newest) if newest else _NEVER_UPDATED,
            "moment": iso_time,
            "description": description,
            "id": tag_uri(newsletter, "section", section_info.key),
            "story_id": lambda issue, story: f"{_issue_tag_uri(newsletter, issue)}/{story.key}",
        }

    return pages.xml(request, app, "stories", _ATOM, load)


def tag_uri(newsletter: NewsletterPage, *parts: str) -> str:
    """Return a tag URI (RFC 4151) under the newsletter's List-ID. It does not change with the service's URL."""
    return f"tag:{newsletter.list_id.lower()},2000:" + "/".join(("archive", newsletter.language, *parts))


def _issue_tag_uri(newsletter: NewsletterPage, issue: IssueSummary) -> str:
    return tag_uri(newsletter, "issue", issue.slug)
