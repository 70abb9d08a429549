"""The check of an issue, and its approval."""

from fastapi import APIRouter, HTTPException, Response

from mailer.domain.errors import UserError
from mailer.domain.findings import Severity
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import expand
from mailer.services.issues import approve, check, compile, network_checks, schedule
from mailer.services.issues.approve import TextChanged
from mailer.services.subscribers.staff_changes import section_titles
from mailer.web.desk.issue import ISSUE, Approver, Viewer, Visit, VisitOf
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)
MAX_EDITIONS = 100
"""On one page, those with most readers first."""


@router.get("/check")
def check_page(visit: VisitOf, staff: Viewer, done: str = "") -> Response:
    return _page(visit, staff, done=done)


@router.post("/network-checks")
def check_network(visit: VisitOf, staff: Viewer, _: StaffForm) -> Response:
    """Order a worker to look up the issue's links and the DNS records of its sender."""
    if not visit.app.settings.network_checks:
        raise HTTPException(404)
    try:
        network_checks.request(visit.app.database, visit.issue, visit.now)
    except network_checks.TooSoon:
        return _page(visit, staff, error="too_soon", status=429)
    return visit.go_to("/check#network", "")


@router.post("/approve")
def approve_issue(visit: VisitOf, staff: Approver, form: StaffForm) -> Response:
    """Approve the chosen languages, or again an issue that was reopened and left as it was."""
    app, head = visit.app, visit.head()
    try:
        seen = {str(tag): bytes.fromhex(str(form.get(f"seen:{tag}"))) for tag in form.getlist("language")}
    except ValueError:
        raise HTTPException(400) from None
    if not all(staff.may(Permission.approve, head.newsletter, tag) for tag in seen):
        raise HTTPException(403)
    if not seen and not head.last_writers.keys() <= head.approved_languages:
        return _page(visit, staff, error="none_chosen", status=400)
    source = compile.load_issue(app.database, app.urls, visit.issue)
    errors = compile.render_errors(source, app.renderer, app.urls, app.settings.bounce_domain)
    try:
        approve.approve(app.database, source, staff, errors, seen)
    except TextChanged:
        return _page(visit, staff, error="changed", status=409)
    except UserError as error:
        return _page(visit, staff, error=message_of(error), status=409)
    if visit.head().state in EDITABLE_STATES:
        return visit.go_to("/check", "language_approved")
    return visit.go_to("/send", "approved")


@router.post("/reopen")
def reopen(visit: VisitOf, staff: Approver, _: StaffForm) -> Response:
    def order() -> None:
        schedule.reopen(visit.app.database, visit.issue, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="reopened")


def _page(visit: Visit, staff: Staff, /, *, done: str = "", error: str = "", status: int = 200) -> Response:
    app, head = visit.app, visit.head()
    approvals = approve.load(app.database, visit.issue, staff)
    source = compile.load_issue(app.database, app.urls, visit.issue)
    return_path = app.settings.bounce_domain or source.sender_domain
    network = network_checks.load(app.database, source, return_path)
    if network.running and visit.page.is_refresh:
        return visit.page("desk/check_running", staff, head=head, network=network)  # rendering editions takes time
    compiler = compile.EditionCompiler(source, app.renderer, app.urls, app.settings.bounce_domain)
    audience = expand.count_audience(app.database, visit.issue)
    result = check.check(source, compiler, audience, staff.language, network)
    return visit.page(
        "desk/check",
        staff,
        status,
        head=head,
        by_severity={level: [one for one in result.findings if one.severity is level] for level in Severity},
        section_keys={section.bit: section.key for section in source.sections},
        section_titles=dict(section_titles(app.database, head.slug)),
        languages=result.languages,
        editions=result.editions[:MAX_EDITIONS],
        more_editions=max(0, len(result.editions) - MAX_EDITIONS),
        audience=result.audience,
        network=network,
        may_check_network=app.settings.network_checks,
        may_approve=staff.may(Permission.approve, head.newsletter),
        approvals=approvals,
        may_approve_languages={
            row.language for row in approvals if staff.may(Permission.approve, head.newsletter, row.language)
        },
        blocked_languages={
            row.language
            for row in approvals
            for finding in result.findings
            if finding.blocks and (not finding.languages or row.language in finding.languages)
        },
        editable=head.state in EDITABLE_STATES,
        looked_at=visit.now,
        done=done,
        error=error,
    )
