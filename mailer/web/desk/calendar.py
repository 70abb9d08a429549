"""The calendar of issues."""

from calendar import Calendar
from datetime import date

from fastapi import APIRouter, HTTPException, Response

from mailer.domain.permissions import Permission
from mailer.services.issues import calendar
from mailer.services.issues.calendar import FIRST_MONTH, LAST_MONTH
from mailer.web.dependencies import App, Now
from mailer.web.desk.issue import Viewer
from mailer.web.staff import PageOf

router = APIRouter(include_in_schema=False)


@router.get("/desk/calendar")
def calendar_page(app: App, page: PageOf, staff: Viewer, now: Now, month: str = "") -> Response:
    """Show a month, such as ``2026-11``; without one, the present one."""
    try:
        first = date.fromisoformat(f"{month}-01") if month else now.date().replace(day=1)
    except ValueError:
        raise HTTPException(404) from None
    if not FIRST_MONTH <= first <= LAST_MONTH:
        raise HTTPException(404)
    return page(
        "desk/calendar",
        staff,
        first=first,
        weeks=Calendar().monthdatescalendar(first.year, first.month),
        entries=calendar.month(app.database, staff.newsletters(Permission.read_issues), first),
        earlier=calendar.previous_month(first) if first > FIRST_MONTH else None,
        later=calendar.next_month(first) if first < LAST_MONTH else None,
        today=now.date(),
    )
