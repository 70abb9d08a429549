"""Orders to real workers."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.metrics import host_of
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState
from mailer.services.delivery import bulk, worker_orders
from mailer.services.delivery.bulk import DeliveryFilter
from mailer.services.issues import schedule
from mailer.services.issues.report import IssueStatus
from tests.support.sending import count_sending
from tests.workers.conftest import SinkProcess
from tests.workers.test_pipeline import READERS, issue, nothing_lost_or_doubled

__all__ = ["issue"]


class Rest:
    """Whether nothing has been sent for a while."""

    SECONDS = 1.5

    def __init__(self) -> None:
        self._sent, self._since = -1, 0.0

    def __call__(self, status: IssueStatus) -> bool:
        if status.counts.sent != self._sent:
            self._sent, self._since = status.counts.sent, time.monotonic()
        return time.monotonic() - self._since > self.SECONDS


def is_finished(app: Container, order: int) -> bool:
    found = bulk.find_order(app.database, order)
    return found is not None and found.finished_at is not None


def test_a_drained_worker_finishes_its_batches_takes_no_more_and_stays_drained_when_it_starts_again(
    app: Container,
    issue: int,
    processes: Supervisor,
    relay: SinkProcess,
    wait_for_status: Callable[..., IssueStatus],
) -> None:
    processes.start_worker("prepare", "scheduler,transactional,expand,compose", 3)
    processes.start_worker("send", "send,retry", 2)
    processes.start_beat()
    schedule.schedule(app.database, issue, datetime.now(UTC), "tests")
    wait_for_status(issue, lambda status: status.counts.sent >= 20)
    (name,) = (worker.name for worker in app.metrics.live_workers() if "send" in worker.queues)

    worker_orders.drain(app.database, name, "tests", "an update", datetime.now(UTC))
    idle = wait_for_status(issue, Rest())
    assert 0 < idle.counts.pending < READERS
    assert count_sending(app, issue) == 0
    processes.stop(15, "send")
    processes.start_worker("send", "send,retry", 2)
    wait_for_status(issue, lambda status: any(worker.name == name for worker in app.metrics.live_workers()))
    wait_for_status(issue, lambda status: app.metrics.queue_lengths(["send"])["send"] > 0)

    # The scheduler, which is not drained, carries on with an order that a page has left.
    failed = DeliveryFilter(state=DeliveryState.failed)
    now = datetime.now(UTC)
    placed = bulk.place_order(app.database, failed, Resolution.retry, 0, "tests", "none", now, described={})
    wait_for_status(issue, lambda status: is_finished(app, placed), seconds=10)

    worker_orders.drain(app.database, host_of(name), "tests", "all of them", datetime.now(UTC))
    assert worker_orders.release(app.database, name)
    assert worker_orders.is_drained(app.database, name), "by the order to its host"
    assert wait_for_status(issue, lambda status: True).counts == idle.counts, "it has taken nothing"
    worker_orders.release(app.database, host_of(name))
    wait_for_status(issue, lambda status: status.state == "sent")
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)
