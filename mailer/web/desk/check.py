"""The check of an issue, and its approval."""

from fastapi import APIRouter, Response

from mailer.domain.issue_check import Severity
from mailer.domain.permissions import Permission
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import expand
from mailer.services.issues import approve, check, compile, schedule
from mailer.web.desk.issue import ISSUE, Approver, Viewer, Visit, VisitOf
from mailer.web.staff import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)
MAX_EDITIONS = 100
"""On one page, those with most readers first."""


@router.get("/check")
def check_page(visit: VisitOf, staff: Viewer, done: str = "") -> Response:
    return _page(visit, staff, done=done)


@router.post("/approve")
def approve_issue(visit: VisitOf, staff: Approver, form: StaffForm) -> Response:
    app = visit.app
    source = compile.load_issue(app.database, app.urls, visit.issue)
    if str(source.revision) != form.get("revision"):
        return _page(visit, staff, error="changed", status=409)

    def order() -> None:
        errors = compile.render_errors(source, app.renderer, app.urls, app.settings.bounce_domain)
        approve.approve(app.database, source, staff, errors)

    return visit.carry_out(staff, order, refused=_page, then="/send", done="approved")


@router.post("/reopen")
def reopen(visit: VisitOf, staff: Approver, _: StaffForm) -> Response:
    def order() -> None:
        schedule.reopen(visit.app.database, visit.issue, staff)

    return visit.carry_out(staff, order, refused=_page, then="", done="reopened")


def _page(visit: Visit, staff: Staff, /, *, done: str = "", error: str = "", status: int = 200) -> Response:
    app, head = visit.app, visit.head()
    source = compile.load_issue(app.database, app.urls, visit.issue)
    compiler = compile.EditionCompiler(source, app.renderer, app.urls, app.settings.bounce_domain)
    result = check.check(source, compiler, expand.count_audience(app.database, visit.issue))
    return visit.page(
        "desk/check",
        staff,
        status,
        head=head,
        by_severity={level: [one for one in result.findings if one.severity is level] for level in Severity},
        section_keys={section.bit: section.key for section in source.sections},
        languages=result.languages,
        editions=result.editions[:MAX_EDITIONS],
        more_editions=max(0, len(result.editions) - MAX_EDITIONS),
        audience=result.audience,
        may_approve=staff.may(Permission.approve, head.newsletter),
        looked_at=visit.now,
        done=done,
        error=error,
    )
