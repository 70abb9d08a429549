"""Scheduling an issue, and taking it off the schedule."""

from datetime import datetime, timedelta

from fastapi import APIRouter, Response
from starlette.datastructures import FormData

from mailer.domain.audience import Audience
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, IssueState
from mailer.domain.time_zones import COMMON_TIME_ZONES, clock_change, time_zone, to_utc
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import expand
from mailer.services.issues import approve, schedule
from mailer.web.desk.issue import ISSUE, Scheduler, Viewer, Visit, VisitOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=ISSUE, include_in_schema=False)


@router.get("/send")
def send_page(visit: VisitOf, staff: Viewer, done: str = "") -> Response:
    return _page(visit, staff, done=done)


@router.post("/schedule")
def schedule_issue(visit: VisitOf, staff: Scheduler, form: StaffForm) -> Response:
    audience = _audience(visit)
    try:
        if not audience.subscribers:
            raise ScheduleRefused("nobody")
        if str(visit.head().revision) != form.get("revision"):
            raise ScheduleRefused("changed")
        if str(audience.subscribers) != form.get("subscribers"):
            raise ScheduleRefused("count")
        clocks_change = _schedule(visit, staff, form)
    except (ScheduleRefused, UserError) as refusal:
        return _page(visit, staff, error=str(refusal), form=form, status=409)
    return visit.go_to("/report", "clocks" if clocks_change else "scheduled")


@router.post("/unschedule")
def unschedule(visit: VisitOf, staff: Scheduler, _: StaffForm) -> Response:
    def order() -> None:
        schedule.unschedule(visit.app.database, visit.issue, staff)

    return visit.carry_out(staff, order, refused=_page, then="/send", done="unscheduled")


class ScheduleRefused(Exception):
    """The issue is not scheduled. The argument names the message on the page."""


def _schedule(visit: Visit, staff: Staff, form: FormData) -> bool:
    """Schedule the issue as the form says. Return whether clocks change at that time. Raises ScheduleRefused."""
    database, issue, now = visit.app.database, visit.issue, visit.now
    when = form.get("when")
    if when == "now":
        schedule.schedule(database, issue, now, staff)
        return False
    try:
        at = datetime.fromisoformat(str(form.get("at", ""))).replace(tzinfo=None)
    except ValueError:
        raise ScheduleRefused("no_time") from None
    if when == "local":
        if schedule.has_passed_everywhere(at, now):
            raise ScheduleRefused("past")
        schedule.schedule_local_time(database, issue, at, staff)
        return bool(schedule.clock_changes(database, issue, at))
    zone = str(form.get("zone", "UTC"))
    if zone not in (*COMMON_TIME_ZONES, visit.head().time_zone):
        raise ScheduleRefused("no_time")
    try:
        moment = to_utc(at, time_zone(zone)).astimezone(time_zone(zone))
        change = clock_change(at, time_zone(zone))
    except (ValueError, OverflowError):  # at the end of all dates
        raise ScheduleRefused("no_time") from None
    if moment < now - timedelta(minutes=1):
        raise ScheduleRefused("past")
    schedule.schedule(database, issue, moment, staff)
    return change is not None


def _audience(visit: Visit) -> Audience:
    return Audience.of(expand.count_audience(visit.app.database, visit.issue))


def _page(
    visit: Visit,
    staff: Staff,
    /,
    *,
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    head = visit.head()
    is_open = head.state in (*EDITABLE_STATES, IssueState.approved)
    return visit.page(
        "desk/send",
        staff,
        status,
        head=head,
        audience=_audience(visit) if is_open else None,
        may_schedule=staff.may(Permission.schedule, head.newsletter),
        approvals=approve.load(visit.app.database, visit.issue, staff),
        zones=sorted({*COMMON_TIME_ZONES, head.time_zone}),
        form=form or FormData(),
        done=done,
        error=error,
    )
