"""Atom feeds (RFC 4287): of a newsletter's issues, and of each section's stories, in each language."""

from fastapi import APIRouter, HTTPException, Request, Response

from mailer.bootstrap import Mailer
from mailer.services import archive
from mailer.services.archive import Card, Imprint
from mailer.web.addresses import Addresses
from mailer.web.archive_pages import ArchivePages
from mailer.web.share import moment, summary

_ATOM = "application/atom+xml"
_NOTHING_YET = "1970-01-01T00:00:00Z"


def feed_router(parts: Mailer, pages: ArchivePages, to: Addresses) -> APIRouter:
    router = APIRouter(prefix="/archive/{slug}")
    database, links = parts.database, parts.links

    @router.api_route("/{language}.atom", methods=["GET", "HEAD"])
    def issues(request: Request, slug: str, language: str) -> Response:
        shelf = archive.newest(database, links, slug, language)
        if shelf is None:
            raise HTTPException(404)
        newest = max((card.published for card in shelf.cards), default=None)
        values = {
            "imprint": shelf.imprint,
            "cards": shelf.cards,
            "updated": moment(newest) if newest else _NOTHING_YET,
            "moment": moment,
            "id": identity(shelf.imprint),
            "issue_id": lambda card: _of_issue(shelf.imprint, card),
        }
        return pages.xml(request, "issues", _ATOM, values)

    @router.api_route("/{language}/{section}.atom", methods=["GET", "HEAD"])
    def stories(request: Request, slug: str, language: str, section: str) -> Response:
        found = archive.section_feed(database, links, slug, language, section)
        if found is None:
            raise HTTPException(404)
        imprint, topic, chapters = found
        newest = max((chapter.card.published for chapter in chapters), default=None)
        values = {
            "imprint": imprint,
            "topic": topic,
            "chapters": chapters,
            "updated": moment(newest) if newest else _NOTHING_YET,
            "moment": moment,
            "summary": summary,
            "id": identity(imprint, "section", topic.key),
            "story_id": lambda card, story: f"{_of_issue(imprint, card)}/{story.key}",
        }
        return pages.xml(request, "stories", _ATOM, values)

    return router


def identity(imprint: Imprint, *parts: str) -> str:
    """A name that stays the same when the service moves to another address: a tag URI (RFC 4151) under the
    newsletter's List-ID."""
    return f"tag:{imprint.list_id.lower()},2000:" + "/".join(("archive", imprint.language, *parts))


def _of_issue(imprint: Imprint, card: Card) -> str:
    return identity(imprint, "issue", card.address)
