"""The preview of an issue: any edition, the one of a reader, all of them at a glance, and tests by mail."""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.domain.audience import Audience
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, IssueState
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import expand, subscriber_edition
from mailer.services.delivery.subscriber_edition import SubscriberEdition
from mailer.services.issues import compile, plan, report, send_test
from mailer.services.issues.compile import EditionNotFound
from mailer.services.issues.plan import IssuePlan
from mailer.services.issues.send_test import Recipient
from mailer.web.desk.issue import ISSUE, AddressViewer, Viewer, Visit, VisitOf
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)
Sections = Annotated[list[str] | None, Query(max_length=62)]
Sources = Annotated[int, Query(ge=0, lt=2**62)]
EDITION_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""The sandbox also applies when an edition is opened outside its frame."""
EDITIONS_PER_PAGE = 12
MAX_PAGE = 10_000
MAX_RECIPIENTS = 10
MAX_ADDRESSES_CHARS = 2000
_EDITION = re.compile(r"([A-Za-z0-9-]{2,35})\.([0-9]{1,19})")
"""An edition in a form: its language and section mask."""


@router.get("/preview")
def preview_page(
    visit: VisitOf,
    staff: Viewer,
    language: str = "",
    section: Sections = None,
    width: str = "desktop",
    scheme: str = "light",
    show: str = "html",
    done: str = "",
) -> Response:
    return _page(visit, staff, language, section, width=width, scheme=scheme, show=show, done=done)


@router.get("/preview/reader")
def subscriber_page(visit: VisitOf, staff: AddressViewer, address: str = "") -> Response:
    """Show the edition that a reader gets, or say why they get nothing. That is recorded as opening their page."""
    app, address = visit.app, address.strip()[: MAX_ADDRESS_OCTETS + 1]
    try:
        address_hash = app.tokens.address_hash(read_address(address)[1])
    except InvalidValue as problem:
        return _page(visit, staff, "", None, address=address, error=message_of(problem), status=400)
    found = subscriber_edition.find_edition(app.database, visit.issue, address_hash, visit.now)
    visit.record_opened(staff, address_hash)
    keys = _keys(plan.load_plan(app.database, app.urls, visit.issue), found.sections)
    return _page(visit, staff, found.language, keys, address=address, found=found)


@router.get("/editions")
def editions_page(visit: VisitOf, staff: Viewer, page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1) -> Response:
    """Show all editions at a glance, those with most readers first."""
    app = visit.app
    loaded = plan.load_plan(app.database, app.urls, visit.issue)
    if loaded.head.state in (*EDITABLE_STATES, IssueState.approved, IssueState.scheduled):
        counted = Audience.of(expand.count_audience(app.database, visit.issue)).editions
    else:
        counted = report.count_by_edition(app.database, visit.issue)
    ranked = counted.most_common()
    first = (page - 1) * EDITIONS_PER_PAGE
    editions = [
        {
            "value": f"{language}.{mask}",
            "language": language,
            "keys": (keys := _keys(loaded, mask)),
            "titles": [loaded.section_titles[key] for key in keys],
            "query": urlencode({"language": language, "section": keys}, doseq=True),
            "subscribers": subscribers,
        }
        for (language, mask), subscribers in ranked[first : first + EDITIONS_PER_PAGE]
    ]
    return visit.page(
        "desk/editions",
        staff,
        head=loaded.head,
        editions=editions,
        all_sections=len(loaded.sections),
        total=len(ranked),
        page=page,
        pages=-(-len(ranked) // EDITIONS_PER_PAGE),
        default_address=staff.address,
    )


@router.post("/test")
def send(visit: VisitOf, staff: Viewer, form: StaffForm) -> Response:
    """Send tests of the chosen editions to some addresses."""
    app = visit.app
    written = str(form.get("addresses", ""))[:MAX_ADDRESSES_CHARS]
    chosen = [match for value in form.getlist("edition") if (match := _EDITION.fullmatch(str(value)))]
    editions = list(dict.fromkeys((match[1], int(match[2]) & ALL_SECTIONS) for match in chosen))
    error = ""
    recipients: dict[str, Recipient] = {}
    try:
        for one in re.split(r"[\s,;]+", written.strip()):
            if one:
                address, key = read_address(one)
                recipients.setdefault(key, Recipient(address, app.tokens.address_hash(key)))
        if not recipients:
            error = "no_address"
        elif len(recipients) > MAX_RECIPIENTS:
            error = "many_addresses"
        elif not editions:
            error = "no_edition"
        else:
            source = compile.load_issue(app.database, app.urls, visit.issue)
            compiler = compile.EditionCompiler(
                source, app.renderer, app.urls, app.settings.bounce_domain, send_test.SUBJECT_PREFIX
            )
            send_test.send_tests(
                app.database, source, compiler, app.urls, editions, [*recipients.values()], staff, visit.now
            )
    except (UserError, ValueError) as problem:
        error = message_of(problem)
    if not error:
        return visit.go_to("/preview", "tested")
    language, mask = editions[0] if editions else ("", ALL_SECTIONS)
    keys = _keys(plan.load_plan(app.database, app.urls, visit.issue), mask)
    return _page(visit, staff, language, keys, error=error, form=form, editions=editions, status=400)


@router.get("/edition")
def edition(visit: VisitOf, staff: Viewer, language: str, section: Sections = None, sources: Sources = 0) -> Response:
    """Return the HTML of an edition, for the frame of the preview."""
    app = visit.app
    query = urlencode({"language": language, "section": section or [], "sources": sources}, doseq=True)
    own_url = app.urls.absolute(visit.page.urls.path(f"{ISSUE}/edition", issue=visit.issue))
    try:
        mask = compile.section_mask(app.database, visit.issue, section or [])
        _, rendered = compile.preview(
            app.database,
            app.renderer,
            app.urls,
            visit.issue,
            language,
            mask,
            sources=sources,
            web_view=f"{own_url}?{query}",
        )
    except EditionNotFound:
        raise HTTPException(404) from None
    return HTMLResponse(rendered.html, headers=EDITION_HEADERS)


def _keys(loaded: IssuePlan, mask: int) -> list[str]:
    """Return the keys of the sections of a mask that have a story."""
    used = {section.key for section in loaded.sections}
    return [one.key for one in loaded.source.sections if one.key in used and mask >> one.bit & 1]


def _page(
    visit: Visit,
    staff: Staff,
    language: str,
    section: Sequence[str] | None,
    *,
    width: str = "desktop",
    scheme: str = "light",
    show: str = "html",
    address: str = "",
    found: SubscriberEdition | None = None,
    editions: Sequence[tuple[str, int]] = (),
    form: FormData | None = None,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    app = visit.app
    loaded = plan.load_plan(app.database, app.urls, visit.issue)
    head = loaded.head
    languages = [mark.language for mark in loaded.front_matter if mark.mark == "ready"]
    if not languages:
        return visit.page("desk/preview_empty", staff, plan=loaded, head=head)
    chosen = language if language in languages else languages[0]
    known = [planned.key for planned in loaded.sections]
    sections = [key for key in known if key in (section or known)]
    sources = found.sources if found else 0
    mask = compile.section_mask(app.database, visit.issue, sections)
    _, rendered = compile.preview(app.database, app.renderer, app.urls, visit.issue, chosen, mask, sources=sources)
    return visit.page(
        "desk/preview",
        staff,
        status,
        plan=loaded,
        head=head,
        languages=languages,
        chosen=chosen,
        sections=sections,
        query=urlencode({"language": chosen, "section": sections, "sources": sources}, doseq=True),
        width="phone" if width == "phone" else "desktop",
        scheme="dark" if scheme == "dark" else "light",
        show=show if show in ("text", "source") else "html",
        subject=rendered.subject,
        preheader=rendered.preheader,
        text=rendered.text,
        source=rendered.html,
        size=len(rendered.html.encode()),
        address=address,
        found=found,
        editions=editions or [(chosen, ALL_SECTIONS if mask is None else mask)],
        addresses=str(form.get("addresses", "")) if form else staff.address,
        may_read_addresses=staff.may(Permission.read_addresses, head.newsletter),
        may_change_newsletter=staff.may(Permission.change_newsletter, head.newsletter),
        done=done,
        error=error,
    )
