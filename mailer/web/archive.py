"""What is open to everybody: editions as web pages, their pictures, the start page."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse, Response

from mailer.adapters.links import EXTENSIONS
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.services import archive
from mailer.web.negotiation import wanted
from mailer.web.pages import PRIVATE, Pages

_EDITION_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_PICTURE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def archive_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = parts.database, parts.tokens
    public = urlsplit(parts.settings.public_url)
    policy = _EDITION_POLICY.format(origin=f"{public.scheme}://{public.netloc}")

    @router.api_route("/", methods=["GET", "HEAD"])
    def home(speak: Annotated[list[str], Depends(wanted)]) -> HTMLResponse:
        found = archive.publications(database, speak)
        values = {"publications": found.publications, "languages": found.page_languages}
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
