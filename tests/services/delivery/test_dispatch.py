"""Jobs are enqueued for due work, and do not accumulate without a consumer."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.states import IssueState
from mailer.services.delivery import dispatch
from mailer.services.delivery.dispatch import Dispatcher, DispatchLimits
from mailer.services.issues import approve, compile, report, schedule
from mailer.services.issues.report import DeliveryCounts

LIMITS = DispatchLimits(max_enqueued=3)
LATER = 2 * LIMITS.reenqueue_after
READERS = 400


class Broker:
    """Queues that no worker takes jobs from."""

    def __init__(self) -> None:
        self.jobs: Counter[str] = Counter()

    def enqueue(self, queue: str, id: int) -> None:
        self.jobs[queue] += 1

    def lengths(self, queues: list[str]) -> dict[str, int]:
        return {queue: self.jobs[queue] for queue in queues}


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def dispatcher(app: Container, broker: Broker) -> Dispatcher:
    return Dispatcher(
        app.database, app.traffic_shaper, broker.lengths, app.tokens.address_hash, broker.enqueue, timedelta(0), LIMITS
    )


@pytest.fixture
def issue(import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    made = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;" for n in range(READERS)))
    return made


def test_unconsumed_jobs_do_not_accumulate(
    app: Container, dispatcher: Dispatcher, broker: Broker, issue: int, prepare: Callable[[int], None]
) -> None:
    """As where a relay is slow for hours."""
    prepare(issue)
    now = datetime.now(UTC)
    for turn in range(1, 4):
        dispatcher.enqueue_batches(now + turn * LATER)
        assert broker.jobs == {"send": 3}
    with app.database.transaction() as session:
        session.execute(text("UPDATE batch SET is_retry = true WHERE id > (SELECT min(id) + 3 FROM batch)"))
    for turn in range(4, 7):
        dispatcher.enqueue_batches(now + turn * LATER)
        assert broker.jobs == {"send": 3, "retry": 3}, "each has room of its own"
    broker.jobs.clear()
    dispatcher.enqueue_batches(now + 8 * LATER)
    assert broker.jobs.total() == 3, "and what was lost is enqueued again"


def test_unprepared_issue_does_not_fill_the_broker(
    app: Container, dispatcher: Dispatcher, broker: Broker, issue: int
) -> None:
    now = datetime.now(UTC)
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.schedule(app.database, issue, now, "tests")
    for turn in range(5):
        dispatcher.tick(now + timedelta(seconds=turn), app.settings.batch_size)
    assert broker.jobs == {"expand": 3, "compose": 3}


def approved(app: Container, issue: int, max_late_hours: int = 3) -> None:
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    with app.database.transaction() as session:
        session.execute(text("UPDATE newsletter SET max_late_hours = :hours"), {"hours": max_late_hours})


def last_event(app: Container, issue: int) -> tuple[str, str]:
    _, _, kind, detail = report.events(app.database, issue)[-1]
    return kind, detail


@pytest.mark.parametrize("max_late_hours", [3, 48])
def test_an_issue_that_is_too_late_waits_until_it_is_sent(
    app: Container, dispatcher: Dispatcher, issue: int, max_late_hours: int
) -> None:
    """As after a night without beat."""
    approved(app, issue, max_late_hours)
    now = datetime.now(UTC)
    limit = timedelta(hours=max_late_hours)
    at = now - limit - timedelta(minutes=12)
    schedule.schedule(app.database, issue, at, "tests")
    for _ in range(3):
        dispatcher.tick(now, app.settings.batch_size)
    events = report.events(app.database, issue)
    assert events[-1][2:] == ("late", f"{max_late_hours} h 12 min late: it waits to be sent")
    assert events[-2][2] == "scheduled", "it is said once"
    assert report.list_issues(app.database)[0][3:7] == (IssueState.scheduled, DeliveryCounts(), at, True)
    assert report.status(app.database, issue, now).waiting
    schedule.schedule(app.database, issue, now, "tests")
    assert not report.status(app.database, issue, now).waiting
    assert dispatch.start_due(app.database, now + limit, 100) == [issue]
    assert last_event(app, issue) == ("sending", f"4 batches, {max_late_hours} h 0 min late")


def test_a_waiting_issue_can_be_given_another_time(app: Container, issue: int) -> None:
    approved(app, issue)
    now = datetime.now(UTC)
    schedule.schedule(app.database, issue, now - timedelta(days=2), "tests")
    assert dispatch.start_due(app.database, now, 100) == []
    schedule.schedule(app.database, issue, now + timedelta(hours=1), "tests")
    assert dispatch.start_due(app.database, now, 100) == []
    assert dispatch.start_due(app.database, now + timedelta(hours=1, seconds=50), 100) == [issue]
    assert last_event(app, issue) == ("sending", "4 batches"), "a minute is not late"


def test_a_local_time_that_has_passed_in_the_east_when_it_is_chosen_is_not_late(app: Container, issue: int) -> None:
    approved(app, issue)
    now = datetime.now(UTC)
    schedule.schedule_local_time(app.database, issue, now.replace(tzinfo=None), "tests")
    assert dispatch.start_due(app.database, now + timedelta(hours=2), 100) == [issue]


def test_an_issue_is_paused_if_nothing_was_sent_for_hours(
    app: Container, dispatcher: Dispatcher, issue: int, prepare: Callable[[int], None], send: Callable[[], int]
) -> None:
    """As after a night without workers."""
    prepare(issue)
    now = datetime.now(UTC)
    dispatcher.tick(now + timedelta(hours=2), 100)
    assert report.status(app.database, issue, now).state is IssueState.sending
    dispatcher.tick(now + timedelta(hours=30), 100)
    assert report.status(app.database, issue, now).state is IssueState.paused
    assert last_event(app, issue) == ("paused", "30 h 0 min late: it waits to be sent")
    assert send() == 0
    schedule.resume(app.database, issue, "tests")
    dispatcher.tick(now + timedelta(hours=60), 100)
    assert report.status(app.database, issue, now).state is IssueState.sending, "somebody has decided"
    assert send() == READERS


def test_an_issue_that_is_prepared_late_is_paused(app: Container, dispatcher: Dispatcher, issue: int) -> None:
    approved(app, issue)
    now = datetime.now(UTC)
    schedule.schedule(app.database, issue, now, "tests")
    dispatcher.tick(now, 100)
    dispatcher.tick(now + timedelta(hours=4), 100)
    assert last_event(app, issue) == ("paused", "4 h 0 min late: it waits to be sent")


def test_an_issue_of_which_some_was_sent_goes_on(
    app: Container, dispatcher: Dispatcher, issue: int, prepare: Callable[[int], None]
) -> None:
    prepare(issue)
    now = datetime.now(UTC)
    with app.database.transaction() as session:
        session.execute(text("UPDATE batch SET sent = 1 WHERE id = (SELECT min(id) FROM batch)"))
    dispatcher.tick(now + timedelta(hours=30), 100)
    assert report.status(app.database, issue, now).state is IssueState.sending
