"""Sending at local time, and quiet hours."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, schedule
from mailer.store import newsletters
from mailer.store.audience import DUE_IN_TIME_ZONE
from mailer.store.database import Database

ZONES = ("Pacific/Kiritimati", "Asia/Kolkata", "Europe/Belgrade", "UTC", "America/New_York", "Nowhere/Else")


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    made = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;" for n in range(len(ZONES))))
    with app.database.transaction() as session:
        for number, zone in enumerate(ZONES):
            session.execute(
                text("UPDATE subscriber SET time_zone = :zone WHERE address = :address"),
                {"zone": zone, "address": f"r{number}@example.org"},
            )
    approve.approve(app.database, compile.load_issue(app.database, app.urls, made), "tests")
    return made


def quiet(app: Container, since: time, until: time) -> None:
    with app.database.transaction() as session:
        newsletter = newsletters.by_slug(session, "lumen-basin")
        assert newsletter is not None
        newsletter.quiet_from, newsletter.quiet_until = since, until


def due(app: Container, issue: int, now: datetime) -> dict[str, datetime]:
    """Time zone → when its reader's delivery is due."""
    assert dispatch.start_due(app.database, now, 2) == [issue]
    while expand.expand_next(app.database, issue, now):
        pass
    query = """
        SELECT r.time_zone, d.due_at FROM delivery d JOIN subscriber r ON r.id = d.subscriber_id
        WHERE d.issue_id = :issue
    """
    with app.database.transaction() as session:
        return {row.time_zone: row.due_at for row in session.execute(text(query), {"issue": issue})}


def zone(name: str) -> ZoneInfo:
    return ZoneInfo("UTC" if name == "Nowhere/Else" else name)


def test_sent_at_local_time(app: Container, issue: int) -> None:
    schedule.schedule_local_time(app.database, issue, datetime(2026, 10, 1, 9), "tests")
    first = datetime(2026, 9, 30, 19, tzinfo=UTC)  # nine in Kiritimati
    assert dispatch.start_due(app.database, first - timedelta(seconds=1), 2) == []
    found = due(app, issue, first)
    assert {name: at.astimezone(zone(name)).replace(tzinfo=None) for name, at in found.items()} == dict.fromkeys(
        ZONES, datetime(2026, 10, 1, 9)
    )


def test_sent_at_once_where_the_time_has_passed(app: Container, issue: int) -> None:
    schedule.schedule_local_time(app.database, issue, datetime(2026, 10, 1, 9), "tests")
    now = datetime(2026, 10, 1, 8, tzinfo=UTC)
    found = due(app, issue, now)
    assert found["Pacific/Kiritimati"] == found["Asia/Kolkata"] == found["Europe/Belgrade"] == now
    assert found["UTC"] == now + timedelta(hours=1)


def test_nothing_is_sent_in_quiet_hours(app: Container, issue: int) -> None:
    quiet(app, time(21), time(7))
    now = datetime(2026, 10, 1, 2, 30, tzinfo=UTC)
    schedule.schedule(app.database, issue, now, "tests")
    found = due(app, issue, now)
    assert found["Asia/Kolkata"] == now  # eight in the morning
    assert found["Europe/Belgrade"] == datetime(2026, 10, 1, 5, tzinfo=UTC)
    assert found["America/New_York"] == datetime(2026, 10, 1, 11, tzinfo=UTC)  # 22:30 there


def test_delivery_is_postponed_to_the_end_of_quiet_hours(app: Container, issue: int, send: Callable[[], int]) -> None:
    """It was due in the evening, but a pause, a limit or an outage kept it back."""
    now = datetime.now(UTC)
    schedule.schedule(app.database, issue, now, "tests")
    due(app, issue, now)
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now)
    morning = now + timedelta(minutes=30)
    quiet(app, (now - timedelta(minutes=1)).time(), morning.time())
    assert send() == 4, "all but those in UTC and nowhere else"
    with app.database.transaction() as session:
        for waiting in ("delivery WHERE state = 'pending'", "batch WHERE state = 'ready'"):
            assert session.scalars(text(f"SELECT due_at FROM {waiting}")).all() == [morning] * 2
        session.execute(text("UPDATE delivery SET attempts = 1, due_at = now() WHERE state = 'pending'"))
        session.execute(text("UPDATE batch SET due_at = now() WHERE state = 'ready'"))
    assert send() == 2, "whom a relay deferred is tried again also at night"


def in_quiet(clock: time, since: time, until: time) -> bool:
    return since <= clock < until if since < until else clock >= since or clock < until


@pytest.fixture(scope="module")
def parts_database(request: pytest.FixtureRequest) -> Database:
    return cast(Database, request.getfixturevalue("_database"))


HOURS = st.times().map(lambda at: at.replace(second=0, microsecond=0))


@given(since=HOURS, until=HOURS, minute=st.integers(0, 60 * 48))
def test_quiet_hours_use_local_time(parts_database: Database, since: time, until: time, minute: int) -> None:
    """The rule in SQL against the same rule in Python, over two days around the end of summer time."""
    if since == until:
        return
    now = datetime(2026, 10, 24, 12, tzinfo=UTC) + timedelta(minutes=minute)
    query = (
        "WITH zones AS (SELECT name FROM pg_timezone_names) SELECT (SELECT due_at FROM "
        f"({DUE_IN_TIME_ZONE}) d) FROM (SELECT 'Europe/Belgrade' AS time_zone) r"
    )
    with parts_database.transaction() as session:
        at = session.scalar(text(query), {"now": now, "local_time": None, "quiet_from": since, "quiet_until": until})
    assert at is not None
    local = now.astimezone(ZoneInfo("Europe/Belgrade"))
    if in_quiet(local.time(), since, until):
        assert at > now
        assert at.astimezone(ZoneInfo("Europe/Belgrade")).time() in (
            until,
            until.replace(hour=(until.hour + 1) % 24),
        )
        assert at - now <= timedelta(hours=25)
    else:
        assert at == now
