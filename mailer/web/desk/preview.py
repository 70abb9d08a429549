"""The preview of any edition of an issue."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import HTMLResponse

from mailer.services.issues import compile, plan
from mailer.services.issues.compile import EditionNotFound
from mailer.web.desk.issue import ISSUE, Viewer, VisitOf

router = APIRouter(prefix=ISSUE, include_in_schema=False)
Sections = Annotated[list[str] | None, Query(max_length=62)]
EDITION_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""The sandbox also applies when an edition is opened outside its frame."""


@router.get("/preview")
def preview_page(
    visit: VisitOf,
    staff: Viewer,
    language: str = "",
    section: Sections = None,
    width: str = "desktop",
    scheme: str = "light",
    show: str = "html",
) -> Response:
    app = visit.app
    loaded = plan.load_plan(app.database, app.urls, visit.issue)
    languages = [mark.language for mark in loaded.front_matter if mark.mark == "ready"]
    if not languages:
        return visit.page("desk/preview_empty", staff, plan=loaded, head=loaded.head)
    chosen = language if language in languages else languages[0]
    known = [planned.key for planned in loaded.sections]
    sections = [key for key in known if key in (section or known)]
    mask = compile.section_mask(app.database, visit.issue, sections)
    _, rendered = compile.preview(app.database, app.renderer, app.urls, visit.issue, chosen, mask)
    return visit.page(
        "desk/preview",
        staff,
        plan=loaded,
        head=loaded.head,
        languages=languages,
        chosen=chosen,
        sections=sections,
        query=urlencode({"language": chosen, "section": sections}, doseq=True),
        width="phone" if width == "phone" else "desktop",
        scheme="dark" if scheme == "dark" else "light",
        show=show if show in ("text", "source") else "html",
        subject=rendered.subject,
        preheader=rendered.preheader,
        text=rendered.text,
        source=rendered.html,
        size=len(rendered.html.encode()),
    )


@router.get("/edition")
def edition(visit: VisitOf, staff: Viewer, language: str, section: Sections = None) -> Response:
    """Return the HTML of an edition, for the frame of the preview."""
    app = visit.app
    try:
        mask = compile.section_mask(app.database, visit.issue, section or [])
        _, rendered = compile.preview(app.database, app.renderer, app.urls, visit.issue, language, mask)
    except EditionNotFound:
        raise HTTPException(404) from None
    headers = {"Content-Security-Policy": EDITION_CSP, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(rendered.html, headers=headers)
