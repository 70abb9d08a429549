"""Send an issue while components fail, and compare the relay's log with the ledger.

The relay logs the Message-ID of each message before it replies 250, and a Message-ID identifies the delivery. Beat
and workers are separate processes; PostgreSQL and Redis are embedded. To run all scenarios, one after another:

    .venv/bin/python bench/faults.py [--readers 20000] [--only NAME]… [--json FILE]

=========== =======================================================================================================
lost        readers without a message whose delivery is "sent", unfinished or missing in the ledger; must be 0
twice       readers whose message the relay accepted more than once; must be 0
uncertain   readers whose delivery is uncertain in the ledger; at most ``connections``, or what a host had reserved that
            is lost together with its journals
connections connections that were open when their worker was killed or stopped or the relay dropped them, and
            messages that the relay dropped after their final dot
recovered   seconds from the end of the fault until mail is sent again and all earlier claims have ended
=========== =======================================================================================================

The exit status is 1 if a scenario has any problem.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import harness
import redis
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sink import Behaviour, Fault, SinkServer
from sqlalchemy import text

from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.states import IssueState
from mailer.services.issues import report, schedule
from mailer.settings import Settings

LEASE_SECONDS = 5
RECOVERY_SECONDS = 120.0
"""The longest time until mail is sent again after a fault."""
EXIT_SECONDS = 10.0
"""The longest time that a worker may take to end after SIGTERM."""
HOST_GRACE_SECONDS = 15
OUTAGE_SECONDS = 10.0
"""How long a server is down: longer than a lease."""


@dataclass(slots=True)
class ScenarioResult:
    """The result of one scenario."""

    fault: str
    lost: int = 0
    twice: int = 0
    uncertain: int = 0
    connections: int = 0
    reserved: int = 0
    """Deliveries that a host had reserved when it was lost with its journals."""
    recovered_seconds: float | None = None
    sent: int = 0
    failed: int = 0
    seconds: float = 0.0
    """From scheduling to the end of the issue."""
    problems: list[str] = field(default_factory=list)
    """Every violation, as a sentence."""
    skipped_reason: str = ""
    """Why the scenario was skipped; empty if it was run."""


class SkippedScenario(Exception):
    """The scenario cannot be run on this machine."""


@dataclass(slots=True)
class Scenario:
    """An issue that is being sent, and the components that can fail."""

    app: Container
    postgres: Postgres
    valkey: Valkey
    relay: SinkServer
    processes: Supervisor
    issue: int
    readers: int
    senders: tuple[str, ...]
    clock_file: Path
    """The offset of PostgreSQL's clock, read by libfaketime; used by the clock scenarios only."""
    result: ScenarioResult
    rng: random.Random

    def start(self, *names: str) -> None:
        """Start processes; the prefix of a name (beat, prepare) decides the kind."""
        for name in names:
            # The name in EHLO tells the relay whose connection it is.
            environment = {"MAILER_SMTP_EHLO_NAME": name}
            if name.startswith("other"):
                environment["MAILER_STATE_DIR"] = str(self.app.settings.state_dir / "other-host")
            if name.startswith("beat"):
                self.processes.start_beat(name, environment)
            elif name.startswith("prepare"):
                self.processes.start_worker(name, "scheduler,expand,compose", 2, environment)
            else:
                self.processes.start_worker(name, "send,retry", 2, environment)

    def signal(self, signum: signal.Signals, *names: str) -> None:
        """Send a signal to processes."""
        for name in names:
            os.kill(self.processes.pid(name), signum)

    def kill(self, *names: str) -> None:
        """Send SIGKILL to processes, and count their open connections."""
        self.result.connections += sum(map(self.relay.connections, names))
        self.signal(signal.SIGKILL, *names)

    def terminate(self, *names: str) -> None:
        """Send SIGTERM to processes, and check that they end in time and release their claims."""
        began = time.monotonic()
        self.processes.stop(30, *names)
        seconds = time.monotonic() - began
        if seconds > EXIT_SECONDS:
            self.result.problems.append(f"processes took {seconds:.1f} s to end after SIGTERM")
        if claims := self.claims():
            self.result.problems.append(f"{len(claims)} claims were not released after SIGTERM")

    @property
    def progress(self) -> float:
        """The share of readers whose message the relay has accepted or refused."""
        return (self.relay.counts.accepted + self.relay.counts.refused) / self.readers

    def wait_for_progress(self, progress: float) -> None:
        """Wait for this progress. Raises RuntimeError if a process ends or it takes too long."""

        def reached() -> bool:
            if exited := self.processes.exited():
                raise RuntimeError(f"{', '.join(exited)} ended")
            return self.progress >= progress

        harness.wait_for(reached, 300, 0.01)

    def query(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Return the rows of a query; ``:issue`` is bound to this issue."""
        with self.app.database.transaction() as session:
            return [tuple(row) for row in session.execute(text(statement), {"issue": self.issue, **values})]

    def claims(self, worker: str = "") -> dict[int, int]:
        """Return the epoch of each claimed batch, of one worker if it is named."""
        like = f"%:{self.processes.pid(worker)}" if worker else "%"
        query = "SELECT id, epoch FROM batch WHERE issue_id = :issue AND state = 'sending'"
        return dict(self.query(f"{query} AND worker LIKE :like", like=like))  # type: ignore[arg-type]

    def taken_over(self, claims: dict[int, int]) -> set[int]:
        """Return the batches whose claim has ended since, or was replaced by another one."""
        current = self.claims()
        return {batch for batch, epoch in claims.items() if current.get(batch) != epoch}

    @property
    def state(self) -> IssueState:
        """The state of the issue."""
        return report.status(self.app.database, self.issue, datetime.now(UTC)).state


# The faults. Each begins while mail is sent, and ends with all components running again.

FaultFunction = Callable[[Scenario], None]
FAULTS: dict[str, FaultFunction] = {}


def fault(function: FaultFunction) -> FaultFunction:
    """Register a fault. Its docstring is printed as the description."""
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


@fault
def none(scenario: Scenario) -> None:
    """No fault."""
    scenario.wait_for_progress(0.5)


@fault
def ten_workers(scenario: Scenario) -> None:
    """Two beats, two preparing workers and ten sending workers."""
    scenario.start("beat-2", "prepare-2", *(f"more{number}" for number in range(10 - len(scenario.senders))))
    scenario.wait_for_progress(0.9)


@fault
def workers(scenario: Scenario) -> None:
    """SIGKILL of a random worker every second."""
    scenario.wait_for_progress(0.1)
    ends = time.monotonic() + 240
    while scenario.progress < 0.8 and time.monotonic() < ends:
        _kill_random(scenario, "prepare")
        time.sleep(1)


def _kill_random(scenario: Scenario, *others: str) -> None:
    """Kill and restart a random process: a busy sender or one of ``others``."""
    busy = [name for name in scenario.senders if scenario.relay.connections(name)]
    name = scenario.rng.choice([*others, *(busy or scenario.senders)])
    scenario.kill(name)
    scenario.start(name)


@fault
def all_workers(scenario: Scenario) -> None:
    """SIGKILL of all workers at once, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        scenario.kill("prepare", *scenario.senders)
        scenario.start("prepare", *scenario.senders)


def _kill_other_host(scenario: Scenario) -> tuple[str, ...]:
    """Add the workers of another host, with a state folder of its own, and kill them; return their names."""
    names = ("other0", "other1")
    scenario.start(*names)
    harness.wait_for(lambda: all(map(scenario.relay.connections, names)), 60)
    scenario.wait_for_progress(scenario.progress + 0.2)
    scenario.kill(*names)
    return names


@fault
def other_host(scenario: Scenario) -> None:
    """SIGKILL of all workers of another host, which is back after the leases of its batches have ended."""
    names = _kill_other_host(scenario)
    time.sleep(LEASE_SECONDS + 2)
    scenario.start(*names)


@fault
def other_host_lost(scenario: Scenario) -> None:
    """SIGKILL of all workers of another host, which never comes back: nobody has its journals."""
    names = _kill_other_host(scenario)
    host = (scenario.app.settings.state_dir / "other-host" / "journal" / "place").read_text()
    ((scenario.result.reserved,),) = scenario.query(  # type: ignore[assignment]
        """
        SELECT count(*) FROM batch b JOIN delivery d ON d.issue_id = b.issue_id AND d.state = 'sending'
            AND d.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
        WHERE b.issue_id = :issue AND b.state = 'sending' AND starts_with(b.worker, :host)
        """,
        host=host,
    )
    scenario.processes.stop(1, *names)


@fault
def beat(scenario: Scenario) -> None:
    """SIGKILL of beat, four times; the last time it stays down for ten seconds."""
    scenario.wait_for_progress(0.2)
    for seconds in (1, 1, 1, OUTAGE_SECONDS):
        scenario.kill("beat")
        time.sleep(seconds)
        scenario.start("beat")


@fault
def parent(scenario: Scenario) -> None:
    """SIGKILL of `mailer run` only: its workers must end by themselves."""
    if sys.platform != "linux":
        raise SkippedScenario("only Linux notifies a process that its parent has ended")
    names = ("beat", "prepare", *scenario.senders)
    scenario.wait_for_progress(0.2)
    scenario.terminate(*names)
    scenario.processes.start("run", "mailer", "run")
    scenario.wait_for_progress(0.5)
    scenario.signal(signal.SIGKILL, "run")
    began = time.monotonic()
    harness.wait_for(lambda: not scenario.relay.connections(), 60)
    if (seconds := time.monotonic() - began) > EXIT_SECONDS:
        scenario.result.problems.append(f"workers ran for {seconds:.1f} s after their parent had ended")
    scenario.processes.stop(1, "run")
    scenario.start(*names)


@fault
def stalled_worker(scenario: Scenario) -> None:
    """All senders but one are stopped past their leases, until that one takes over a batch."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        _stop_past_lease(scenario)


def _stop_past_lease(scenario: Scenario, latency: float = 0.3) -> None:
    # With latency, so that they continue while the other sender works on one of their batches.
    usual_latency, scenario.relay.behaviour.latency = scenario.relay.behaviour.latency, latency
    stopped = scenario.senders[1:]
    harness.wait_for(lambda: all(scenario.claims(name) for name in stopped), 60, 0.01)
    scenario.signal(signal.SIGSTOP, *stopped)
    scenario.result.connections += sum(map(scenario.relay.connections, stopped))
    claims = {batch: epoch for name in stopped for batch, epoch in scenario.claims(name).items()}
    harness.wait_for(lambda: bool(scenario.taken_over(claims)), RECOVERY_SECONDS)
    scenario.signal(signal.SIGCONT, *stopped)
    time.sleep(1)
    scenario.relay.behaviour.latency = usual_latency


@fault
def sigterm(scenario: Scenario) -> None:
    """SIGTERM to all processes under load, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        scenario.terminate("beat", "prepare", *scenario.senders)
        scenario.start("beat", "prepare", *scenario.senders)


@fault
def sigterm_stalled(scenario: Scenario) -> None:
    """SIGTERM to all processes while the relay does not reply."""
    scenario.wait_for_progress(0.3)
    scenario.relay.behaviour.stall, scenario.relay.behaviour.stall_seconds = 1.0, 60.0
    time.sleep(2)
    scenario.result.connections += scenario.relay.connections()
    scenario.terminate("beat", "prepare", *scenario.senders)
    scenario.relay.behaviour.stall = 0.0
    scenario.start("beat", "prepare", *scenario.senders)


@fault
def redis_flushed(scenario: Scenario) -> None:
    """Redis is flushed, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        redis.Redis.from_url(scenario.valkey.url).flushall()


@fault
def redis_frozen(scenario: Scenario) -> None:
    """Redis does not reply for ten seconds."""
    scenario.wait_for_progress(0.3)
    os.kill(scenario.valkey.pid, signal.SIGSTOP)
    time.sleep(OUTAGE_SECONDS)
    os.kill(scenario.valkey.pid, signal.SIGCONT)


@fault
def redis_away(scenario: Scenario) -> None:
    """Redis is stopped for ten seconds."""
    scenario.wait_for_progress(0.3)
    scenario.valkey.close()
    time.sleep(OUTAGE_SECONDS)
    scenario.valkey.start()


@fault
def redis_killed(scenario: Scenario) -> None:
    """SIGKILL and immediate restart of Redis, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        os.kill(scenario.valkey.pid, signal.SIGKILL)
        scenario.valkey.close()
        scenario.valkey.start()


def _restart(scenario: Scenario, mode: str, seconds: float = 0.0) -> None:
    scenario.postgres.stop(mode)
    time.sleep(seconds)
    scenario.postgres.start()


@fault
def postgres_fast(scenario: Scenario) -> None:
    """PostgreSQL is restarted in mode "fast", three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        _restart(scenario, "fast")


@fault
def postgres_immediate(scenario: Scenario) -> None:
    """PostgreSQL is stopped in mode "immediate", like a crash, and started, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        _restart(scenario, "immediate")


@fault
def postgres_away(scenario: Scenario) -> None:
    """PostgreSQL is stopped for ten seconds, longer than a lease."""
    scenario.wait_for_progress(0.3)
    _restart(scenario, "fast", OUTAGE_SECONDS)


@fault
def relay_refusing(scenario: Scenario) -> None:
    """The relay drops its connections and refuses new ones for ten seconds."""
    scenario.wait_for_progress(0.3)
    scenario.result.connections += scenario.relay.connections()
    scenario.relay.refuse()
    time.sleep(OUTAGE_SECONDS)
    scenario.relay.listen()


@fault
def relay_stalling(scenario: Scenario) -> None:
    """For ten seconds the relay takes eight to reply to each final dot, longer than a lease."""
    scenario.wait_for_progress(0.3)
    scenario.relay.behaviour.stall, scenario.relay.behaviour.stall_seconds = 1.0, LEASE_SECONDS + 3
    time.sleep(OUTAGE_SECONDS)
    scenario.relay.behaviour.stall = 0.0


@fault
def cut_at_data(scenario: Scenario) -> None:
    """The relay drops connections instead of replying to DATA."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_data=0.02)


@fault
def cut_before_the_dot(scenario: Scenario) -> None:
    """The relay drops connections within a message, while the rest and its dot are in flight."""
    scenario.wait_for_progress(0.1)
    before = scenario.relay.counts.dropped
    _drop_until(scenario, 0.8, drop_before=0.01)
    scenario.result.connections += scenario.relay.counts.dropped - before


def _drop_until(scenario: Scenario, share: float, **probabilities: float) -> None:
    """Set drop probabilities until the progress reaches ``share``; count unanswered messages."""
    unanswered = scenario.relay.counts.unanswered
    for name, value in probabilities.items():
        setattr(scenario.relay.behaviour, name, value)
    scenario.wait_for_progress(share)
    for name in probabilities:
        setattr(scenario.relay.behaviour, name, 0.0)
    scenario.result.connections += scenario.relay.counts.unanswered - unanswered


@fault
def cut_after_the_dot(scenario: Scenario) -> None:
    """The relay accepts messages, and drops connections instead of replying."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_after=0.01)


@fault
def lost_after_the_dot(scenario: Scenario) -> None:
    """The relay drops the connection and the message after the final dot."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_lost=0.01)


@fault
def answers(scenario: Scenario) -> None:
    """The relay replies 421, 450, 452, 550, 552 and 554 at random, at every stage."""
    scenario.wait_for_progress(0.1)
    scenario.relay.behaviour.faults = [
        Fault("mail", "421 4.3.2 closing", 0.005),
        Fault("mail", "452 4.3.1 no room", 0.02),
        Fault("rcpt", "421 4.3.2 closing", 0.005),
        Fault("rcpt", "450 4.2.0 greylisted", 0.02),
        Fault("rcpt", "550 5.1.1 no such user", 0.02),
        Fault("rcpt", "552 mailbox full", 0.02),
        Fault("data", "421 4.3.2 closing", 0.005),
        Fault("data", "450 4.3.0 busy", 0.02),
        Fault("data", "554 no", 0.01),
        Fault("final", "421 4.3.2 closing", 0.005),
        Fault("final", "450 4.2.0 try later", 0.02),
        Fault("final", "452 4.3.1 no room", 0.02),
        Fault("final", "550 refused", 0.02),
        Fault("final", "552 5.2.2 mailbox full", 0.02),
        Fault("final", "554 transaction failed", 0.02),
    ]
    scenario.wait_for_progress(0.9)
    scenario.relay.behaviour.faults = []


@fault
def message_refused(scenario: Scenario) -> None:
    """The relay refuses the message as too big: the issue pauses, and is resumed by hand."""
    scenario.wait_for_progress(0.3)
    scenario.relay.behaviour.faults = [Fault("final", "552 5.3.4 too big", 1.0)]
    harness.wait_for(lambda: scenario.state is IssueState.paused, 30)
    time.sleep(2)
    scenario.relay.behaviour.faults = []
    schedule.resume(scenario.app.database, scenario.issue, "bench")


@fault
def disk_full(scenario: Scenario) -> None:
    """The senders' files, the journal included, cannot grow for a while."""
    if not hasattr(resource, "prlimit"):
        raise SkippedScenario("only Linux can set the limits of another process")
    for share, room in ((0.2, 0), (0.5, 10_000)):  # nothing can be written, or only a part
        scenario.wait_for_progress(share)
        pids = [scenario.processes.pid(name) for name in scenario.senders]
        old_limits = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
        for pid, (_, hard) in zip(pids, old_limits, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
        harness.wait_for(lambda: _is_idle(scenario), 60)  # what cannot be journalled is not sent
        time.sleep(3)
        for pid, limits in zip(pids, old_limits, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _is_idle(scenario: Scenario) -> bool:
    """Return whether the relay accepts no message for a second."""
    accepted = scenario.relay.counts.accepted
    time.sleep(1)
    return scenario.relay.counts.accepted == accepted


@fault
def clock_forward(scenario: Scenario) -> None:
    """PostgreSQL's clock, which decides leases, jumps an hour ahead, three times."""
    scenario.relay.behaviour.latency *= 5  # so that workers do not notice at once that their leases have expired
    for number, share in enumerate((0.3, 0.6, 0.8), 1):
        scenario.wait_for_progress(share)
        _set_clock(scenario, number * 3600)


@fault
def clock_back(scenario: Scenario) -> None:
    """PostgreSQL's clock, which decides leases, jumps twenty seconds back."""
    scenario.wait_for_progress(0.3)
    _set_clock(scenario, -20)


@fault
def mixed(scenario: Scenario) -> None:
    """Several faults on one issue: lost replies, killed workers, crashed and flushed servers."""
    scenario.wait_for_progress(0.05)
    _drop_until(scenario, 0.2, drop_after=0.02, drop_lost=0.02)
    for _ in range(2):
        _kill_random(scenario)
        time.sleep(0.5)
    _stop_past_lease(scenario, 0.1)  # the claims of the killed workers expire first
    _restart(scenario, "immediate")
    redis.Redis.from_url(scenario.valkey.url).flushall()


def _set_clock(scenario: Scenario, seconds: int) -> None:
    # Every open claim may expire, so every open connection may leave an uncertain delivery.
    scenario.result.connections += scenario.relay.connections()
    new = scenario.clock_file.with_suffix(".new")
    new.write_text(f"{seconds:+}s\n")
    new.rename(scenario.clock_file)
    time.sleep(2)


def _libfaketime() -> Path:
    for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
        if sys.platform == "linux" and (libraries := sorted(Path("/usr/lib").glob(pattern))):
            return libraries[0]
    raise SkippedScenario("a separate clock needs libfaketime (Debian: apt-get install libfaketime)")


# The scenarios.


@contextmanager
def _separate_clock(name: str, clock: Path) -> Iterator[None]:
    """In the clock scenarios, start the block's processes with a clock that follows a file.

    It is not for workers: with libfaketime Python's sleep breaks unless the monotonic clock jumps too, and setting
    the time does not change that clock.
    """
    if not name.startswith("clock-"):
        yield
        return
    clock.write_text("+0s\n")
    environment = {
        "LD_PRELOAD": str(_libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    os.environ.update(environment)
    try:
        yield
    finally:
        for variable in environment:
            del os.environ[variable]


@contextmanager
def prepare_scenario(
    name: str, readers: int, *, senders: int, batch_size: int, size: int, latency: float, seed: int
) -> Iterator[Scenario]:
    """Start all components and schedule an issue."""
    with tempfile.TemporaryDirectory(prefix="mailer-faults-") as directory, ExitStack() as stack:
        folder = Path(directory)
        folder.chmod(0o755)  # embedded PostgreSQL runs as another user when this is root
        log = folder / "accepted.log"
        log.touch()
        relay = stack.enter_context(SinkServer(str(log), Behaviour(latency=latency)))
        valkey = stack.enter_context(closing(Valkey(folder / "valkey")))
        with _separate_clock(name, folder / "clock"):
            postgres = stack.enter_context(closing(Postgres(folder / "postgres")))
        settings = Settings(
            database_url=postgres.url(),
            redis_url=valkey.url,
            state_dir=folder,
            secret_key="f" * 32,
            smtp_port=relay.port,
            smtp_connections=4,  # with more, the issue would be over before the faults are
            web_port=0,
            batch_size=batch_size,
            lease_seconds=LEASE_SECONDS,
            host_grace_seconds=HOST_GRACE_SECONDS,
            min_backoff_seconds=1,
        )
        app = stack.enter_context(Container(settings, application="bench"))
        app.migrate()
        issue = harness.make_issue(app, "en")
        harness.make_subscribers(app, readers, ["en"])
        with app.database.transaction() as session:
            harness.insert_edition(session, issue)
        harness.set_message_size(app, issue, size)
        processes = stack.enter_context(Supervisor(app))
        scenario = Scenario(
            app,
            postgres,
            valkey,
            relay,
            processes,
            issue,
            readers,
            tuple(f"send{number}" for number in range(senders)),
            folder / "clock",
            ScenarioResult(name),
            random.Random(seed),
        )
        scenario.start("prepare", *scenario.senders, "beat")
        harness.wait_for_workers(app, 1 + senders)
        schedule.schedule(app.database, issue, datetime.now(UTC), "bench")
        yield scenario


def run(
    name: str,
    readers: int = 20_000,
    *,
    senders: int = 3,
    batch_size: int = 200,
    size: int = 10_000,
    latency: float = 0.02,
    seed: int = 1,
) -> ScenarioResult:
    """Send an issue with this fault, and compare the relay's log with the ledger."""
    try:
        with prepare_scenario(
            name, readers, senders=senders, batch_size=batch_size, size=size, latency=latency, seed=seed
        ) as scenario:
            began = time.monotonic()
            try:
                FAULTS[name](scenario)
                scenario.result.recovered_seconds = round(_wait_for_recovery(scenario), 1)
                harness.wait_for(lambda: scenario.state is IssueState.sent, 300, 0.2)
            except RuntimeError as error:  # too slow: compare what was sent nevertheless
                scenario.result.problems.append(f"it did not end: {error}")
                print(_logs(scenario), file=sys.stderr)
            scenario.result.seconds = round(time.monotonic() - began, 1)
            _compare(scenario)
            return scenario.result
    except SkippedScenario as skipped:
        return ScenarioResult(name, skipped_reason=str(skipped))


def _wait_for_recovery(scenario: Scenario) -> float:
    """Wait until mail is sent and the open claims have ended. Return the seconds."""
    claims, accepted = scenario.claims(), scenario.relay.counts.accepted

    def recovered() -> bool:
        is_sending = scenario.relay.counts.accepted > accepted or scenario.state is IssueState.sent
        return is_sending and scenario.taken_over(claims) == claims.keys()

    return harness.wait_for(recovered, RECOVERY_SECONDS, 0.1)


def _compare(scenario: Scenario) -> None:
    """Count the readers' results, and record every difference between log and ledger."""
    result, problems = scenario.result, scenario.result.problems
    log = (scenario.app.settings.state_dir / "accepted.log").read_text().split()
    tokens = [scenario.app.tokens.read_mail_token(Purpose.message, line.strip("<>").partition("@")[0]) for line in log]
    logged = Counter(pair[1] for pair in tokens if pair and pair[0] == scenario.issue)
    rows: dict[int, str] = dict(
        scenario.query("SELECT subscriber_id, state::text FROM delivery WHERE issue_id = :issue")  # type: ignore[arg-type]
    )
    states = Counter(rows.values())
    result.sent, result.failed, result.uncertain = states["sent"], states["failed"], states["uncertain"]
    not_received = [reader for reader, state in rows.items() if state == "sent" and not logged[reader]]
    unfinished = [reader for reader, state in rows.items() if state in ("pending", "sending")]
    missing = scenario.readers - len(rows)
    twice = [reader for reader, times in logged.items() if times > 1]
    unrecorded = [reader for reader in logged if rows.get(reader) not in ("sent", "uncertain")]
    result.lost, result.twice = len(not_received) + len(unfinished) + missing, len(twice)
    for readers, problem in (
        (not_received, "sent in the ledger but not in the relay's log"),
        (unfinished, "unfinished"),
        (range(missing), "missing in the ledger"),
        (twice, "accepted twice"),
        (unrecorded, "accepted, but not sent or uncertain in the ledger"),
    ):
        if readers:
            problems.append(f"deliveries {problem}: {len(readers)}")
    if result.uncertain > (limit := result.connections + result.reserved):
        problems.append(f"{result.uncertain} uncertain deliveries, but at most {limit} were in flight")
    if len(log) != logged.total():
        problems.append(f"lines of the log for no delivery of this issue: {len(log) - logged.total()}")
    problems.extend(finding.message for finding in report.audit(scenario.app.database, scenario.issue))


def _logs(scenario: Scenario) -> str:
    logs = sorted((scenario.app.settings.state_dir / "logs").glob("*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)


def _results_table(results: list[ScenarioResult]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fault", no_wrap=True)
    for name in ("lost", "twice", "uncertain", "connections", "seconds", "sent", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        if result.skipped_reason:
            table.add_row(result.fault, *["–"] * 7)
            continue
        figures = [result.lost, result.twice, result.uncertain, result.connections, result.recovered_seconds]
        figures += [result.sent, result.failed]
        style = "bold red" if result.problems else None
        cells = ("–" if figure is None else f"{figure:,}" for figure in figures)
        table.add_row(result.fault, *cells, style=style)
    return table


def main() -> None:
    """Run the scenarios and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument("--only", action="append", choices=FAULTS, metavar="NAME", help=f"one of: {', '.join(FAULTS)}")
    parser.add_argument("--senders", type=int, default=3, help="send processes")
    parser.add_argument("--batch", dest="batch_size", type=int, default=200)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds before the relay replies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    results = []
    for name in arguments.only or FAULTS:
        print(f"{name}: {FAULTS[name].__doc__}", file=sys.stderr, flush=True)
        options = {key: getattr(arguments, key) for key in ("senders", "batch_size", "size", "latency", "seed")}
        results.append(result := run(name, arguments.readers, **options))
        for sentence in result.problems:
            print(f"  WRONG: {sentence}", file=sys.stderr, flush=True)
    machine = harness.machine()
    rows = json.dumps(
        [asdict(result) | {"readers": arguments.readers, "machine": machine} for result in results], indent=2
    )
    if arguments.json:
        Path(arguments.json).write_text(rows + "\n")
    if sys.stdout.isatty() or arguments.json:
        console = Console()
        console.print(_results_table(results))
        for result in results:
            if result.skipped_reason:
                console.print(f"{result.fault} was skipped: {result.skipped_reason}.", markup=False)
            for sentence in result.problems:
                console.print(f"{result.fault}: {sentence}", markup=False)
    else:
        print(rows)
    sys.exit(any(result.problems for result in results))


if __name__ == "__main__":
    main()
