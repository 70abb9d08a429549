"""Pause, resume, cancel and retry take effect within two seconds."""

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.states import IssueState
from mailer.services.delivery import resolve
from mailer.services.issues import approve, compile, report, schedule
from mailer.services.issues.report import IssueStatus
from mailer.settings import Settings
from tests.workers.conftest import SinkProcess

Until = Callable[..., IssueStatus]
READERS = 4000
SOON = 2.0
"""Seconds."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"batch_size": 500, "lease_seconds": 60})


@pytest.fixture
def issue(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    processes: Supervisor,
    wait_for_status: Until,
    relay: SinkProcess,
) -> int:
    """An issue that is going out."""
    made = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;trade-and-crossings" for n in range(READERS)))
    approve.approve(app.database, compile.load_issue(app.database, app.urls, made), "tests")
    processes.start_all(web=False)
    schedule.schedule(app.database, made, datetime.now(UTC), "tests")
    wait_for_status(made, lambda status: status.counts.sent >= 40, seconds=120)
    return made


def accepted(relay: SinkProcess) -> int:
    return sum(relay.accepted().values())


def grows_until(relay: SinkProcess, seconds: float = 6) -> float:
    """Watch the relay's record; returns when it last grew, in seconds from now."""
    began, last, count = time.monotonic(), 0.0, accepted(relay)
    while (now := time.monotonic() - began) < seconds:
        if (found := accepted(relay)) != count:
            last, count = now, found
        time.sleep(0.02)
    return last


def grows_again_after(relay: SinkProcess) -> float:
    """Seconds until the relay's record grows."""
    began, count = time.monotonic(), accepted(relay)
    while accepted(relay) == count and time.monotonic() - began < 20:
        time.sleep(0.02)
    return time.monotonic() - began


SPEEDS = {"fast": ["--latency", "0.005"], "slow": ["--latency", "0.3"]}


@pytest.mark.parametrize("relay", SPEEDS.values(), ids=SPEEDS.keys(), indirect=True)
def test_orders_take_effect_soon(
    app: Container, issue: int, processes: Supervisor, relay: SinkProcess, wait_for_status: Until
) -> None:
    took = {}
    schedule.pause(app.database, issue, "tests")
    took["pause"] = grows_until(relay)
    held = accepted(relay)
    assert report.status(app.database, issue, datetime.now(UTC)).counts.pending > 0
    # Hints that come while it is paused do nothing, and must not be waited for afterwards.
    schedule.resume(app.database, issue, "tests")
    schedule.pause(app.database, issue, "tests")
    time.sleep(3)
    assert accepted(relay) - held < 100
    schedule.resume(app.database, issue, "tests")
    took["resume"] = grows_again_after(relay)
    time.sleep(1)
    schedule.cancel(app.database, issue, "tests", datetime.now(UTC))
    took["cancel"] = grows_until(relay)
    assert max(took.values()) < SOON, took
    assert report.audit(app.database, issue) == []
    assert [message for message, times in relay.accepted().items() if times > 1] == []


@pytest.mark.parametrize("relay", [["--reply", "554=1.0"]], indirect=True)
def test_retry_takes_effect_soon(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    processes: Supervisor,
    wait_for_status: Until,
) -> None:
    readers = 15  # so few that the issue is not paused because the first ones are all refused
    issue = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;trade-and-crossings" for n in range(readers)))
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    processes.start_all(web=False)
    schedule.schedule(app.database, issue, datetime.now(UTC), "tests")
    first = wait_for_status(issue, lambda status: status.state is IssueState.sent)
    assert first.counts.failed == readers
    took = []
    for _ in range(3):  # the machine may be busy with something else
        assert resolve.retry(app.database, issue, [], "tests", datetime.now(UTC)).retried == readers
        began = time.monotonic()
        wait_for_status(issue, lambda status: status.counts.failed > 0)
        took.append(time.monotonic() - began)
        wait_for_status(issue, lambda status: status.state is IssueState.sent)
    assert min(took) < SOON, took
    assert report.audit(app.database, issue) == []


def test_sigterm_stops_mailer_run(processes: Supervisor, settings: Settings, app: Container) -> None:
    """``mailer run``, as a service manager stops it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    processes.start("run", "mailer", "run", environment={"MAILER_WEB_PORT": port})
    log = settings.state_dir / "logs" / "run.log"
    until = time.monotonic() + 60
    while "workers are running" not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    os.kill(processes.pid("run"), signal.SIGTERM)
    until = time.monotonic() + 30
    while processes.exited() != ["run"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert log.read_text().endswith("Stopping. Messages in flight are finished first.\n")
