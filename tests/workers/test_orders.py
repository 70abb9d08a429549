"""Orders to real workers."""

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.metrics import host_of
from mailer.domain.network_checks import LookupKind, LookupOutcome
from mailer.domain.permissions import Role
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState, ImportState
from mailer.services.delivery import bulk, worker_orders
from mailer.services.delivery.bulk import DeliveryFilter
from mailer.services.issues import compile, network_checks, schedule
from mailer.services.issues.report import IssueStatus
from mailer.services.newsletters.catalogue import find_newsletter
from mailer.services.subscribers import import_jobs
from mailer.settings import Settings
from tests.support.name_server import NameServer
from tests.support.sending import count_sending
from tests.support.staff import add_account, staff_of
from tests.workers.conftest import SinkProcess
from tests.workers.test_pipeline import READERS, issue, nothing_lost_or_doubled

__all__ = ["issue"]


@pytest.fixture
def settings(settings: Settings, name_server: NameServer) -> Settings:
    return settings.model_copy(update={"dns_servers": ":".join(map(str, name_server.address))})


class Rest:
    """Whether nothing has been sent for a while."""

    SECONDS = 2.5
    """An order takes hold within two."""

    def __init__(self) -> None:
        self._sent, self._since = -1, 0.0

    def __call__(self, status: IssueStatus) -> bool:
        if status.counts.sent != self._sent:
            self._sent, self._since = status.counts.sent, time.monotonic()
        return time.monotonic() - self._since > self.SECONDS


def is_finished(app: Container, order: int) -> bool:
    found = bulk.find_order(app.database, order)
    return found is not None and found.finished_at is not None


@pytest.fixture
def uploaded(app: Container, issue: int) -> tuple[int, int]:
    """Return a newsletter, and a list that staff uploaded to it."""
    newsletter = find_newsletter(app.database, "lumen-basin")
    assert newsletter
    staff = staff_of(add_account(app, "amina@example.org", Role.coordinator), Role.coordinator)
    file = io.BytesIO(b"address,consent_source,consent_date\nnew@example.org,letter,2024-01-01\n")
    return newsletter.id, import_jobs.keep(app.database, newsletter.id, staff, "readers.csv", file, datetime.now(UTC))


@pytest.mark.parametrize("relay", [["--latency", "0.03"]], indirect=True)
def test_a_drained_worker_finishes_its_batches_takes_no_more_and_stays_drained_when_it_starts_again(
    app: Container,
    issue: int,
    uploaded: tuple[int, int],
    processes: Supervisor,
    relay: SinkProcess,
    wait_for_status: Callable[..., IssueStatus],
) -> None:
    source = compile.load_issue(app.database, app.urls, issue)
    network_checks.request(app.database, issue, datetime.now(UTC))
    processes.start_worker("prepare", "scheduler,transactional,expand,compose,maintenance", 3)
    processes.start_worker("send", "send,retry", 2)
    processes.start_beat()

    def is_looked_over(_: IssueStatus) -> bool:
        job = import_jobs.find(app.database, *uploaded)
        return job is not None and job.state is ImportState.ready

    # Beat and the scheduler have what pages ordered carried out.
    wait_for_status(issue, is_looked_over)
    wait_for_status(issue, lambda _: network_checks.load(app.database, source, "").finished_at is not None)
    links = network_checks.load(app.database, source, "").count(LookupKind.link)
    assert links.keys() == {LookupOutcome.broken}, "the tests' own name server knows no host"

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
