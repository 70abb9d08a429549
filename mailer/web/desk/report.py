"""The progress and the report of an issue, what steers it, and what happened to one reader."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import FormData

from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import IssueState
from mailer.domain.subscriber_csv import escape_formula
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import explain
from mailer.services.issues import report, schedule
from mailer.services.subscribers.staff_changes import section_titles
from mailer.settings_values import read_rate
from mailer.web.desk.issue import ISSUE, AddressViewer, Reporter, Scheduler, Visit, VisitOf
from mailer.web.live import LiveStreams
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm, session_token

router = APIRouter(prefix=ISSUE, include_in_schema=False)
MAX_PER_MINUTE = 10_000_000
_ACTIONS = ("pause", "resume", "limit", "cancel")


@router.get("/report")
def report_page(visit: VisitOf, staff: Reporter, done: str = "") -> Response:
    return _page(visit, staff, done=done)


@router.get("/events")
def progress_events(visit: VisitOf, staff: Reporter) -> Response:
    """Tell a page of the issue when its state or counts have changed."""
    app, request, newsletter = visit.app, visit.page.request, visit.head().newsletter

    def allowed() -> bool:
        present = app.sign_in.load(session_token(request), "", app.clock.now(), in_use=False)
        return present is not None and present.may(Permission.read_reports, newsletter)

    streams: LiveStreams = request.app.state.live_streams
    return streams.respond(f"issue {visit.issue}", lambda: report.progress_version(app.database, visit.issue), allowed)


@router.get("/report.csv")
def report_csv(visit: VisitOf, staff: Reporter) -> Response:
    """Stream the report's figures, without addresses."""
    database, issue = visit.app.database, visit.issue
    head = visit.head()
    counts = head.counts

    def lines() -> Iterator[str]:
        line = CsvLines()
        yield line(["part", "name", "readers", "sent", "failed", "skipped", "bounced", "left"])
        yield line(["issue", head.number, counts.candidates, counts.sent, counts.failed, counts.skipped, "", ""])
        for reason, number in sorted(report.skipped_by_reason(database, issue).items()):
            yield line(["skipped because", reason.value, number, "", "", number, "", ""])
        for group in report.failures(database, issue):
            yield line(["refused with", group.code, group.deliveries, "", group.deliveries, "", "", ""])
        found = report.outcomes(database, issue)
        parts = {"language": found.languages, "section": found.sections, "domain": found.domains}
        for part, rows in (parts | {"previous issue": report.with_previous(database, issue)[1:]}).items():
            for row in rows:
                of = row.outcome
                yield line([part, row.name, of.sent + of.failed, of.sent, of.failed, "", of.bounced, of.left])

    name = re.sub(r"[^A-Za-z0-9-]+", "-", f"{head.slug}-{head.number}")
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


class CsvLines:
    """Writes lines of CSV that no spreadsheet takes for formulas."""

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer)

    def __call__(self, cells: Sequence[str | int]) -> str:
        self._writer.writerow([escape_formula(str(cell)) for cell in cells])
        line = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return line


@router.post("/progress")
def steer(visit: VisitOf, staff: Scheduler, form: StaffForm) -> Response:
    """Pause, resume, slow down or cancel."""
    action = str(form.get("action", ""))
    if action not in _ACTIONS:
        raise HTTPException(400)
    if action == "cancel" and not form.get("sure"):
        return _page(visit, staff, error="sure", status=400)
    try:
        rate = _rate(str(form.get("rate", ""))) if action == "limit" else None
    except ValueError:
        return _page(visit, staff, error="rate", status=400)

    def order() -> None:
        _steer(visit, staff, action, form, rate)

    return visit.carry_out(staff, order, refused=_page, then="/report", done=action)


def _steer(visit: Visit, staff: Staff, action: str, form: FormData, rate: float | None) -> None:
    database, issue = visit.app.database, visit.issue
    match action:
        case "pause":
            reason = " ".join(str(form.get("reason", "")).split())[:300]
            schedule.pause(database, issue, staff, reason)
        case "resume":
            schedule.resume(database, issue, staff)
        case "limit":
            schedule.set_max_rate(database, issue, rate, staff)
        case "cancel":
            schedule.cancel(database, issue, staff, visit.now)


def _rate(per_minute: str) -> float | None:
    """Return messages a second from a number a minute; None for an empty field. Raises ValueError."""
    if not per_minute.strip():
        return None
    rate = read_rate(f"{per_minute.strip().replace(',', '.')}/min")
    if not 1 <= rate * 60 <= MAX_PER_MINUTE:
        raise ValueError
    return rate


@router.get("/reader")
def explain_page(visit: VisitOf, staff: AddressViewer, address: str = "") -> Response:
    """Explain why a reader got this edition when they did, or why not."""
    app, sentences, error = visit.app, [], ""
    address = address.strip()[: MAX_ADDRESS_OCTETS + 1]
    if address:
        try:
            address_hash = app.tokens.address_hash(read_address(address)[1])
            context = explain.SendContext(
                visit.now, app.relay_routes, app.providers, app.urls, app.settings.bounce_domain
            )
            sentences = explain.explain(app.database, visit.issue, address, address_hash, context).sentences
            visit.record_opened(staff, address_hash)
        except (InvalidValue, UserError) as problem:
            error = message_of(problem)
    return visit.page(
        "desk/explain",
        staff,
        400 if error else 200,
        head=visit.head(),
        address=address,
        sentences=sentences,
        error=error,
    )


def _page(visit: Visit, staff: Staff, /, *, done: str = "", error: str = "", status: int = 200) -> Response:
    database, issue, head = visit.app.database, visit.issue, visit.head()
    progress = report.status(database, issue, visit.now)
    left = None
    if progress.state is IssueState.sending and progress.per_second > 0 and progress.counts.pending:
        left = timedelta(seconds=round(progress.counts.pending / progress.per_second))
    values: dict[str, Any] = {
        "head": head,
        "progress": progress,
        "left": left,
        "seeds": report.count_seeds(database, issue),
        "may_progress": head.state in (IssueState.scheduled, IssueState.sending, IssueState.paused),
    }
    if visit.page.is_refresh:
        return visit.page("desk/report_running", staff, **values)
    return visit.page(
        "desk/report",
        staff,
        status,
        **values,
        skipped=sorted(report.skipped_by_reason(database, issue).items()),
        languages=report.by_language(database, issue),
        failures=report.failures(database, issue),
        section_titles=dict(section_titles(database, head.slug)),
        outcomes=report.outcomes(database, issue) if progress.counts.candidates else None,
        issues=report.with_previous(database, issue),
        events=report.events(database, issue)[-30:],
        findings=report.findings(database, issue) if head.state in (IssueState.sent, IssueState.cancelled) else [],
        may_read_addresses=staff.may(Permission.read_addresses, head.newsletter),
        may_schedule=staff.may(Permission.schedule, head.newsletter),
        done=done,
        error=error,
    )
