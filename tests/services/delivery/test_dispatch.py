"""Jobs are enqueued for due work, and do not accumulate without a consumer."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.services.delivery.dispatch import Dispatcher, DispatchLimits
from mailer.services.issues import approve, compile, schedule

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
    return Dispatcher(app.database, app.traffic_shaper, broker.lengths, broker.enqueue, timedelta(0), LIMITS)


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
