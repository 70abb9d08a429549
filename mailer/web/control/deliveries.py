"""Deliveries of an issue by state: retrying failed ones, and resolving uncertain ones."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response

from mailer.domain import urls
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import UserError
from mailer.domain.outcomes import redact_addresses
from mailer.domain.permissions import Permission
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState
from mailer.services.accounts import audit
from mailer.services.delivery import resolve
from mailer.services.issues import plan, report
from mailer.web.control.forms import read_reason
from mailer.web.control.snapshots import Operator
from mailer.web.dependencies import App, Now
from mailer.web.staff import PageOf, StaffForm

router = APIRouter(include_in_schema=False)
RETRY = f"{urls.DELIVERIES_OF_ISSUE}/retry"
RESOLVE = f"{urls.DELIVERIES_OF_ISSUE}/resolve"
ROWS = 100
ISSUES_OFFERED = 30
STATES = (DeliveryState.uncertain, DeliveryState.failed, DeliveryState.pending, DeliveryState.skipped)
OUTCOMES = (Resolution.sent, Resolution.failed, Resolution.resend)
Codes = Annotated[list[str] | None, Query(max_length=40)]


@router.get(urls.DELIVERIES)
def newest(app: App, page: PageOf, staff: Operator, issue: str = "") -> Response:
    """Go to the deliveries of an issue: the one asked for, or the newest that has any."""
    heads = plan.list_heads(app.database, None, limit=ISSUES_OFFERED)
    offered = [str(head.id) for head in heads if head.counts.candidates]
    wanted = issue if issue.isascii() and issue.isdigit() and len(issue) < 10 else "".join(offered[:1])
    if not wanted:
        return page("control/no_deliveries", staff)
    return page.redirect(page.urls.path(urls.DELIVERIES_OF_ISSUE, issue=wanted))


@router.get(urls.DELIVERIES_OF_ISSUE)
def deliveries(
    app: App, page: PageOf, staff: Operator, issue: int, state: str = "", done: str = "", number: int = 0
) -> Response:
    chosen = next((known for known in STATES if known == state), DeliveryState.uncertain)
    total, rows = resolve.list_deliveries(app.database, chosen, issue, ROWS)
    return page(
        "control/deliveries",
        staff,
        head=plan.load_head(app.database, issue),
        state=chosen,
        states=STATES,
        total=total,
        rows=rows,
        failures=report.failures(app.database, issue) if chosen is DeliveryState.failed else [],
        may_read=staff.may(Permission.read_addresses),
        redact=redact_addresses,
        done=done,
        number=number,
    )


@router.get(RETRY)
def ask_to_retry(app: App, page: PageOf, now: Now, staff: Operator, issue: int, code: Codes = None) -> Response:
    return _ask_to_retry(app, page, now, staff, issue, [each[:20] for each in code or []])


@router.post(RETRY)
def retry(app: App, page: PageOf, now: Now, staff: Operator, issue: int, form: StaffForm) -> Response:
    codes = [str(code)[:20] for code in form.getlist("code")][:40]
    reason = read_reason(form)
    try:
        planned = resolve.plan_retry(app.database, issue, codes, now)
        if not reason or str(planned.retried) != form.get("number"):
            error = "changed" if reason else "no_reason"
            return _ask_to_retry(app, page, now, staff, issue, codes, error=error, status=409)
        result = resolve.retry(app.database, issue, codes, staff, now)
    except UserError as error:
        return _ask_to_retry(app, page, now, staff, issue, [], error=str(error), status=409)
    detail = {"deliveries": result.retried, "codes": ", ".join(codes), "reason": reason}
    audit.record(app.database, staff, now, AuditAction.deliveries_retried, "issue", issue, detail)
    to = page.urls.path(urls.DELIVERIES_OF_ISSUE, issue=issue)
    return page.redirect(f"{to}?state=failed&number={result.retried}", "retried")


def _ask_to_retry(
    app: App,
    page: PageOf,
    now: Now,
    staff: Operator,
    issue: int,
    codes: list[str],
    *,
    error: str = "",
    status: int = 200,
) -> Response:
    planned = None
    try:
        planned = resolve.plan_retry(app.database, issue, codes, now)
    except UserError as refusal:
        error, status = error or str(refusal), max(status, 409)
    head = plan.load_head(app.database, issue)
    return page("control/retry", staff, status, head=head, plan=planned, codes=codes, error=error)


@router.post(RESOLVE)
def resolve_uncertain(app: App, page: PageOf, now: Now, staff: Operator, issue: int, form: StaffForm) -> Response:
    """Resolve uncertain deliveries: the first form chooses them, the second has their number and a reason."""
    outcome = next((known for known in OUTCOMES if known == form.get("outcome")), None)
    if outcome is None:
        raise HTTPException(400)
    uncertain = [row.subscriber for row in resolve.preview(app.database, issue, None)]
    asked_for = {str(one) for one in form.getlist("subscriber")}
    chosen = uncertain if form.get("all") else [one for one in uncertain if str(one) in asked_for]
    reason = read_reason(form)
    error = ""
    if form.get("sure"):
        if str(len(chosen)) == form.get("number") and reason:
            try:
                number = resolve.resolve(app.database, issue, chosen, outcome, staff, reason, now)
            except UserError as refusal:
                error = str(refusal)
            else:
                detail = {"deliveries": number, "outcome": outcome.value, "reason": reason}
                audit.record(app.database, staff, now, AuditAction.deliveries_resolved, "issue", issue, detail)
                to = page.urls.path(urls.DELIVERIES_OF_ISSUE, issue=issue)
                return page.redirect(f"{to}?number={number}", "resolved")
        else:
            error = "changed" if reason else "no_reason"
    return page(
        "control/resolve",
        staff,
        409 if error else 200,
        head=plan.load_head(app.database, issue),
        chosen=chosen,
        every=bool(form.get("all")),
        outcome=outcome,
        error=error,
    )
