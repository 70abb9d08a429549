"""The whole pipeline with beat and workers, with and without faults."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.consents import ConsentChannel
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.services.issues import approve, compile, report, schedule
from mailer.services.issues.report import IssueStatus
from mailer.services.subscribers import unsubscribe
from mailer.store import subscribers
from tests.support.sending import count_sending
from tests.workers.conftest import SinkProcess
from workers import pipeline

Until = Callable[..., IssueStatus]
READERS = 400


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    """The sample issue in two languages, approved, with readers of both."""
    made = import_issue("en", "sr-Cyrl")
    languages = ("en", "sr-Latn-BA", "de")
    add_subscribers("\n".join(f"r{n}@d{n % 7}.example.org;{languages[n % 3]};" for n in range(READERS)))
    approve.approve(app.database, compile.load_issue(app.database, app.urls, made), "tests")
    return made


def sending(app: Container, issue: int) -> None:
    schedule.schedule(app.database, issue, datetime.now(UTC), "tests")


def nothing_lost_or_doubled(app: Container, issue: int, relay: SinkProcess, uncertain: int) -> None:
    """The relay's record against the ledger."""
    accepted = relay.accepted()
    counts = report.status(app.database, issue, datetime.now(UTC)).counts
    assert report.audit(app.database, issue) == []
    assert [message for message, times in accepted.items() if times > 1] == []
    assert counts.sent + counts.uncertain == READERS
    assert counts.uncertain <= uncertain
    assert counts.sent <= len(accepted) <= counts.sent + counts.uncertain


def test_scheduled_issue_is_sent_automatically(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: status.state == "sent")
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)
    assert not list((app.settings.state_dir / "journal").glob("*.log"))
    assert app.metrics.live_workers()
    processes.stop(30)
    assert app.metrics.live_workers() == [], "who ends says so"


def test_two_schedulers_and_more_workers_send_each_mail_once(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    processes.start_worker("prepare2", "scheduler,expand,compose,transactional", 2)
    processes.start_worker("send2", "send,retry", 2)
    processes.start_beat("beat2")
    sending(app, issue)
    wait_for_status(issue, lambda status: status.state == "sent")
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)


def test_repeatedly_killed_workers_lose_and_duplicate_nothing(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    kills = 0
    for enough in (20, 150, 280):
        wait_for_status(issue, lambda status, enough=enough: status.counts.sent >= enough)
        os.kill(processes.pid("send"), signal.SIGKILL)
        kills += 1
        processes.start_worker("send", "send,retry", 2)
    wait_for_status(issue, lambda status: status.counts.pending == 0)
    nothing_lost_or_doubled(app, issue, relay, uncertain=kills * app.settings.smtp_connections)


def test_flushed_broker_is_refilled(
    app: Container,
    issue: int,
    processes: Supervisor,
    relay: SinkProcess,
    wait_for_status: Until,
    redis_url: str,
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: status.counts.sent >= 20)
    redis.Redis.from_url(redis_url).flushall()
    wait_for_status(issue, lambda status: status.state == "sent")
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)


def test_sigterm_releases_claims(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: status.counts.sent >= 20)
    began = datetime.now(UTC)
    processes.stop()
    assert (datetime.now(UTC) - began).total_seconds() < 10
    left = report.status(app.database, issue, datetime.now(UTC)).counts
    assert left.sent == len(relay.accepted())
    assert left.pending == READERS - left.sent > 0
    processes.start_all(web=False)
    wait_for_status(issue, lambda status: status.state == "sent", seconds=30)
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)


@pytest.mark.parametrize("relay", [["--stall", "1", "--stall-seconds", "60"]], indirect=True)
def test_sigterm_does_not_wait_for_a_relay_that_is_silent(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: len(relay.accepted()) >= 4)
    began = datetime.now(UTC)
    processes.stop(30)
    assert (datetime.now(UTC) - began).total_seconds() < 10
    left = report.status(app.database, issue, datetime.now(UTC)).counts
    assert report.audit(app.database, issue) == []
    assert left.uncertain == len(relay.accepted()) == 4, "one for each connection"
    assert left.pending == READERS - 4
    assert count_sending(app, issue) == 0, "claims go back"


def test_pause_and_resume(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: status.counts.sent >= 20)
    schedule.pause(app.database, issue, "tests")
    wait_for_status(issue, lambda status: count_sending(app, issue) == 0, seconds=2)
    held = report.status(app.database, issue, datetime.now(UTC)).counts
    assert held.pending > 0
    assert len(relay.accepted()) == held.sent
    schedule.resume(app.database, issue, "tests")
    wait_for_status(issue, lambda status: status.state == "sent")
    nothing_lost_or_doubled(app, issue, relay, uncertain=0)


def test_unsubscribing_stops_queued_mail(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    processes.start_all(web=False)
    sending(app, issue)
    wait_for_status(issue, lambda status: status.counts.sent >= 20)
    with app.database.transaction() as session:
        last = subscribers.by_hash(session, app.tokens.address_hash(f"r{READERS - 1}@d{(READERS - 1) % 7}.example.org"))
        assert last is not None
    assert unsubscribe.unsubscribe(
        app.database, SubscriptionRef(last.id, issue), ConsentChannel.one_click, datetime.now(UTC)
    )
    gone = app.urls.subscriber_slots(issue, [last.id])
    message = f"<{next(iter(gone)).message}@lumen-basin.example.org>"
    before = relay.accepted()[message]
    done = wait_for_status(issue, lambda status: status.state == "sent")
    assert relay.accepted()[message] == before
    assert done.counts.skipped == 1 - before


def test_every_queue_is_consumed_and_every_task_has_one() -> None:
    import inspect

    from workers import maintenance
    from workers.app import QUEUES, celery_app

    started = inspect.getsource(Supervisor.start_all)
    for queue in QUEUES:
        assert queue in started, queue
    for module in (pipeline, maintenance):
        for task in vars(module).values():
            if str(getattr(task, "name", "")).startswith(f"{module.__name__}."):
                assert celery_app.conf.task_routes[task.name]["queue"] in QUEUES
