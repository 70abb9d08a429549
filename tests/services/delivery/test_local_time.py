"""Sending at local time, and quiet hours."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.preferences import Preferences
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, report, schedule
from mailer.services.subscribers import preferences
from mailer.settings import ROOT
from mailer.store import newsletters

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
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    morning = now + timedelta(minutes=30)
    quiet(app, (now - timedelta(minutes=1)).time(), morning.time())
    assert send() == 4, "all but those in UTC and nowhere else"
    with app.database.transaction() as session:
        for waiting in ("delivery WHERE state = 'pending'", "batch WHERE state = 'ready'"):
            assert session.scalars(text(f"SELECT due_at FROM {waiting}")).all() == [morning] * 2
        session.execute(text("UPDATE delivery SET attempts = 1, due_at = now() WHERE state = 'pending'"))
        session.execute(text("UPDATE batch SET due_at = now() WHERE state = 'ready'"))
    assert send() == 2, "whom a relay deferred is tried again also at night"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subscription SET paused_until = now() + interval '1 hour'",
        "UPDATE subscription SET frequency = 'monthly'",
        "UPDATE subscription SET state = 'unsubscribed', changed_at = now() - interval '1 hour'",
        "INSERT INTO suppression (address_hash, reason, source) SELECT address_hash, 'manual', 'staff' FROM subscriber",
    ],
    ids=["paused", "monthly", "unsubscribed and still able to undo it", "suppressed"],
)
def test_what_can_be_undone_is_decided_when_the_time_has_come(
    app: Container, issue: int, send: Callable[[], int], change: str
) -> None:
    now = datetime.now(UTC)
    local = (now + timedelta(hours=2)).replace(tzinfo=None)
    schedule.schedule_local_time(app.database, issue, local, "tests")
    with app.database.transaction() as session:
        session.execute(text(change))
    found = due(app, issue, now)
    query = """
        SELECT r.time_zone, d.state FROM delivery d JOIN subscriber r ON r.id = d.subscriber_id ORDER BY d.state, 1
    """
    with app.database.transaction() as session:
        states = {row.time_zone: row.state for row in session.execute(text(query))}
    assert states == {name: "pending" if at > now else "skipped" for name, at in found.items()}
    assert {*states.values()} == {"pending", "skipped"}
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    with app.database.transaction() as session:  # the time has come, and the reader is as before
        session.execute(text("UPDATE issue SET local_time = local_time - interval '2 days'"))
        session.execute(text("UPDATE delivery SET due_at = now() WHERE state = 'pending'"))
        session.execute(text("UPDATE batch SET due_at = now() WHERE state = 'ready'"))
        session.execute(text("UPDATE subscription SET paused_until = NULL, frequency = 'each', state = 'active'"))
        session.execute(text("DELETE FROM suppression"))
    assert send() == [*states.values()].count("pending")
    assert report.audit(app.database, issue) == []


def test_a_new_time_zone_counts_at_once(app: Container, issue: int, send: Callable[[], int]) -> None:
    now = datetime.now(UTC)
    local = (now + timedelta(hours=2)).replace(tzinfo=None)
    schedule.schedule_local_time(app.database, issue, local, "tests")
    due(app, issue, now)
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    with app.database.transaction() as session:
        readers = {row.time_zone: row.id for row in session.execute(text("SELECT id, time_zone FROM subscriber"))}
    for old, new in (("UTC", "Asia/Kolkata"), ("Asia/Kolkata", "UTC")):
        ref = SubscriptionRef(readers[old], issue=issue)
        wanted = Preferences(languages=("en",), time_zone=new)
        assert preferences.save(app.database, ref, wanted, LinkKind.magic, app.clock.now())
    assert send() == 2, "Kiritimati, and now the other in Kolkata"
    with app.database.transaction() as session:
        query = text("SELECT due_at FROM delivery WHERE subscriber_id = :reader AND state = 'pending'")
        assert session.scalar(query, {"reader": readers["Asia/Kolkata"]}) == local.replace(tzinfo=UTC)


def test_a_local_time_that_comes_twice_is_the_first(app: Container, issue: int) -> None:
    """The clocks are set back in Europe."""
    schedule.schedule_local_time(app.database, issue, datetime(2026, 10, 25, 2, 30), "tests")
    found = due(app, issue, datetime(2026, 10, 24, 13, tzinfo=UTC))
    assert found["Europe/Belgrade"] == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_postgresql_reads_no_time_zones(app: Container, issue: int) -> None:
    """It takes CET for a fixed offset, and its data may be older than ours."""
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscriber SET time_zone = 'America/Vancouver' WHERE time_zone = 'UTC'"))
    schedule.schedule_local_time(app.database, issue, datetime(2026, 12, 1, 9), "tests")
    found = due(app, issue, datetime(2026, 11, 30, 19, tzinfo=UTC))
    assert found["America/Vancouver"] == datetime(2026, 12, 1, 16, tzinfo=UTC), "summer time all year, since March 2026"


def test_no_statement_reads_a_time_zone() -> None:
    for path in (ROOT / "mailer").rglob("*.py"):
        if "migrations" not in path.parts:
            assert not re.search(r"AT TIME ZONE|pg_timezone", path.read_text("utf-8")), path
