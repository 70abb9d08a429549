"""The calendar of issues."""

from collections.abc import Callable
from datetime import UTC, date, datetime

from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.states import IssueState
from mailer.services.issues import approve, calendar, compile, schedule


def test_an_issue_is_on_its_day_in_the_newsletters_time_zone(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "ann")
    with app.database.transaction() as session:
        session.execute(text("UPDATE newsletter SET time_zone = 'Pacific/Auckland'"))
    november, december = date(2026, 11, 1), date(2026, 12, 1)
    assert calendar.month(app.database, None, november) == {}
    schedule.schedule(app.database, issue, datetime(2026, 11, 30, 12, tzinfo=UTC), "ann")
    assert calendar.month(app.database, None, november) == {}
    ((day, (entry,)),) = calendar.month(app.database, None, december).items()
    assert (day, entry.at.hour, entry.state, entry.each_own_time) == (december, 1, IssueState.scheduled, False)
    assert calendar.month(app.database, frozenset(), december) == {}
    schedule.schedule_local_time(app.database, issue, datetime(2026, 11, 30, 23, 30), "ann")
    ((day, (entry,)),) = calendar.month(app.database, None, november).items()
    assert (day.day, entry.at.hour, entry.each_own_time) == (30, 23, True)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'sent', ready_at = '2026-12-31 11:00Z'"))
    ((day, (entry,)),) = calendar.month(app.database, None, date(2027, 1, 1)).items()
    assert (day.day, entry.state, entry.each_own_time) == (1, IssueState.sent, False)


def test_months_follow_each_other() -> None:
    assert calendar.next_month(date(2026, 12, 1)) == date(2027, 1, 1)
    assert calendar.next_month(date(2027, 1, 1)) == date(2027, 2, 1)
    assert calendar.previous_month(date(2027, 1, 1)) == date(2026, 12, 1)
