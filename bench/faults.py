"""An issue goes out while something breaks: what the relay recorded, compared reader by reader with the ledger.

The relay writes down the Message-ID of every message before it answers 250, and a Message-ID is a function of the
delivery. Beat and workers are processes of their own, PostgreSQL and Redis are embedded. One fault after another:

    .venv/bin/python bench/faults.py [--readers 20000] [--only NAME]… [--json FILE]

=========== =======================================================================================================
lost        readers who got nothing though the ledger says "sent", is still open, or has no row for them; must be 0
twice       readers whose message the relay accepted more than once; must be 0
uncertain   readers of whom the ledger says that nobody knows; at most ``connections``
connections connections that were open when their worker was killed or stopped, or the relay cut them, and messages
            that the relay dropped when we had written their final dot
recovered   seconds from the end of the fault until mail flows and nothing is left of the claims of before
=========== =======================================================================================================

It ends with status 1 if anything else is found.
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
"""Seconds within which mail must flow again after a fault."""
EXIT_SECONDS = 10.0
"""Seconds that a worker may take to end after SIGTERM."""
OUTAGE_SECONDS = 10.0
"""Seconds that something is away: longer than a lease."""


@dataclass(slots=True)
class ScenarioResult:
    """What one fault led to."""

    fault: str
    lost: int = 0
    twice: int = 0
    uncertain: int = 0
    connections: int = 0
    recovered_seconds: float | None = None
    sent: int = 0
    failed: int = 0
    seconds: float = 0.0
    """From the order to the end of the issue."""
    problems: list[str] = field(default_factory=list)
    """In sentences, everything that must not be."""
    skipped_reason: str = ""
    """Why the fault was not tried."""


class SkippedScenario(Exception):
    """The fault cannot be made on this machine."""


@dataclass(slots=True)
class Scenario:
    """An issue on its way, and all that can be disturbed."""

    app: Container
    postgres: Postgres
    valkey: Valkey
    relay: SinkServer
    processes: Supervisor
    issue: int
    readers: int
    senders: tuple[str, ...]
    clock_file: Path
    """What PostgreSQL's clock adds to the time of day, for libfaketime; only for the faults of the clock."""
    result: ScenarioResult
    rng: random.Random

    def start(self, *names: str) -> None:
        for name in names:
            # The name in EHLO tells the relay whose connection it is.
            environment = {"MAILER_SMTP_EHLO_NAME": name}
            if name.startswith("beat"):
                self.processes.start_beat(name, environment)
            elif name.startswith("prepare"):
                self.processes.start_worker(name, "scheduler,expand,compose", 2, environment)
            else:
                self.processes.start_worker(name, "send,retry", 2, environment)

    def signal(self, signum: signal.Signals, *names: str) -> None:
        for name in names:
            os.kill(self.processes.pid(name), signum)

    def kill(self, *names: str) -> None:
        """SIGKILL, with the connections counted that were open."""
        self.result.connections += sum(map(self.relay.connections, names))
        self.signal(signal.SIGKILL, *names)

    def terminate(self, *names: str) -> None:
        """SIGTERM, and see how long they take."""
        began = time.monotonic()
        self.processes.stop(30, *names)
        took = time.monotonic() - began
        if took > EXIT_SECONDS:
            self.result.problems.append(f"after SIGTERM it took {took:.1f} s until all processes had ended")
        if left := len(self.claims()):
            self.result.problems.append(f"{left} claims were not given back after SIGTERM")

    @property
    def progress(self) -> float:
        """Of the readers, those whose message the relay has dealt with."""
        return (self.relay.counts.accepted + self.relay.counts.refused) / self.readers

    def wait_for_progress(self, progress: float) -> None:
        def reached() -> bool:
            if gone := self.processes.exited():
                raise RuntimeError(f"{', '.join(gone)} ended")
            return self.progress >= progress

        harness.wait_for(reached, 300, 0.01)

    def query(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        with self.app.database.transaction() as session:
            return [tuple(row) for row in session.execute(text(statement), {"issue": self.issue, **values})]

    def claims(self, worker: str = "") -> dict[int, int]:
        """Batch → epoch, of what is claimed; with a name, by that worker."""
        like = f"%:{self.processes.pid(worker)}" if worker else "%"
        query = "SELECT id, epoch FROM batch WHERE issue_id = :issue AND state = 'sending'"
        return dict(self.query(f"{query} AND worker LIKE :like", like=like))  # type: ignore[arg-type]

    def taken_over(self, claims: dict[int, int]) -> set[int]:
        """Batches of which these claims have ended, by themselves or by another's."""
        now = self.claims()
        return {batch for batch, epoch in claims.items() if now.get(batch) != epoch}

    @property
    def state(self) -> IssueState:
        return report.status(self.app.database, self.issue, datetime.now(UTC)).state


# The faults. Each begins while mail flows, and ends with everything running again.

FaultFunction = Callable[[Scenario], None]
FAULTS: dict[str, FaultFunction] = {}


def fault(function: FaultFunction) -> FaultFunction:
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


@fault
def none(scenario: Scenario) -> None:
    """Nothing is disturbed."""
    scenario.wait_for_progress(0.5)


@fault
def ten_workers(scenario: Scenario) -> None:
    """Two beats, two preparing and ten sending workers."""
    scenario.start("beat-2", "prepare-2", *(f"more{number}" for number in range(10 - len(scenario.senders))))
    scenario.wait_for_progress(0.9)


@fault
def workers(scenario: Scenario) -> None:
    """kill -9 of a random worker every second."""
    scenario.wait_for_progress(0.1)
    ends = time.monotonic() + 240
    while scenario.progress < 0.8 and time.monotonic() < ends:
        _kill_random(scenario, "prepare")
        time.sleep(1)


def _kill_random(scenario: Scenario, *others: str) -> None:
    """A sender that is at work, or one of the others; it is started again."""
    busy = [name for name in scenario.senders if scenario.relay.connections(name)]
    name = scenario.rng.choice([*others, *(busy or scenario.senders)])
    scenario.kill(name)
    scenario.start(name)


@fault
def all_workers(scenario: Scenario) -> None:
    """kill -9 of all workers at once, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        scenario.kill("prepare", *scenario.senders)
        scenario.start("prepare", *scenario.senders)


@fault
def beat(scenario: Scenario) -> None:
    """kill -9 of beat, again and again, then away for ten seconds."""
    scenario.wait_for_progress(0.2)
    for seconds in (1, 1, 1, OUTAGE_SECONDS):
        scenario.kill("beat")
        time.sleep(seconds)
        scenario.start("beat")


@fault
def parent(scenario: Scenario) -> None:
    """kill -9 of `mailer run` alone: its workers end by themselves."""
    if sys.platform != "linux":
        raise SkippedScenario("only Linux tells a process that its parent is gone")
    everyone = ("beat", "prepare", *scenario.senders)
    scenario.wait_for_progress(0.2)
    scenario.terminate(*everyone)
    scenario.processes.start("run", "mailer", "run")
    scenario.wait_for_progress(0.5)
    scenario.signal(signal.SIGKILL, "run")
    began = time.monotonic()
    harness.wait_for(lambda: not scenario.relay.connections(), 60)
    if (took := time.monotonic() - began) > EXIT_SECONDS:
        scenario.result.problems.append(f"workers went on for {took:.1f} s after their parent")
    scenario.processes.stop(1, "run")
    scenario.start(*everyone)


@fault
def stalled_worker(scenario: Scenario) -> None:
    """All senders but one are stopped past their leases, and go on when that one has taken a batch over."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        _stop_past_lease(scenario)


def _stop_past_lease(scenario: Scenario, latency: float = 0.3) -> None:
    # Slowly, so that they are back while the other one is at work on a batch of theirs.
    quick, scenario.relay.behaviour.latency = scenario.relay.behaviour.latency, latency
    stopped = scenario.senders[1:]
    harness.wait_for(lambda: all(scenario.claims(name) for name in stopped), 60, 0.01)
    scenario.signal(signal.SIGSTOP, *stopped)
    scenario.result.connections += sum(map(scenario.relay.connections, stopped))
    claims = {batch: epoch for name in stopped for batch, epoch in scenario.claims(name).items()}
    harness.wait_for(lambda: bool(scenario.taken_over(claims)), RECOVERY_SECONDS)
    scenario.signal(signal.SIGCONT, *stopped)
    time.sleep(1)
    scenario.relay.behaviour.latency = quick


@fault
def sigterm(scenario: Scenario) -> None:
    """SIGTERM to everything under load, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        scenario.terminate("beat", "prepare", *scenario.senders)
        scenario.start("beat", "prepare", *scenario.senders)


@fault
def sigterm_stalled(scenario: Scenario) -> None:
    """SIGTERM to everything while the relay answers nothing."""
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
    """Redis answers nothing for ten seconds."""
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
    """kill -9 of Redis, which starts again at once, three times."""
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
    """PostgreSQL is stopped in mode "immediate", as by a crash, and started, three times."""
    for share in (0.2, 0.4, 0.6):
        scenario.wait_for_progress(share)
        _restart(scenario, "immediate")


@fault
def postgres_away(scenario: Scenario) -> None:
    """PostgreSQL is away for ten seconds, longer than a lease."""
    scenario.wait_for_progress(0.3)
    _restart(scenario, "fast", OUTAGE_SECONDS)


@fault
def relay_refusing(scenario: Scenario) -> None:
    """The relay cuts its connections and refuses new ones for ten seconds."""
    scenario.wait_for_progress(0.3)
    scenario.result.connections += scenario.relay.connections()
    scenario.relay.refuse()
    time.sleep(OUTAGE_SECONDS)
    scenario.relay.listen()


@fault
def relay_stalling(scenario: Scenario) -> None:
    """For ten seconds the relay takes eight to answer each final dot: longer than a lease."""
    scenario.wait_for_progress(0.3)
    scenario.relay.behaviour.stall, scenario.relay.behaviour.stall_seconds = 1.0, LEASE_SECONDS + 3
    time.sleep(OUTAGE_SECONDS)
    scenario.relay.behaviour.stall = 0.0


@fault
def cut_at_data(scenario: Scenario) -> None:
    """The relay drops connections instead of asking for the message."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_data=0.02)


@fault
def cut_before_the_dot(scenario: Scenario) -> None:
    """The relay drops connections in the middle of a message, with the rest of it and its dot under way."""
    scenario.wait_for_progress(0.1)
    before = scenario.relay.counts.dropped
    _drop_until(scenario, 0.8, drop_before=0.01)
    scenario.result.connections += scenario.relay.counts.dropped - before


def _drop_until(scenario: Scenario, share: float, **probabilities: float) -> None:
    """Until that share of the readers is through."""
    unanswered = scenario.relay.counts.unanswered
    for name, value in probabilities.items():
        setattr(scenario.relay.behaviour, name, value)
    scenario.wait_for_progress(share)
    for name in probabilities:
        setattr(scenario.relay.behaviour, name, 0.0)
    scenario.result.connections += scenario.relay.counts.unanswered - unanswered


@fault
def cut_after_the_dot(scenario: Scenario) -> None:
    """The relay accepts messages, and drops connections instead of answering."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_after=0.01)


@fault
def lost_after_the_dot(scenario: Scenario) -> None:
    """The relay drops connections after the final dot, and the message with them."""
    scenario.wait_for_progress(0.1)
    _drop_until(scenario, 0.8, drop_lost=0.01)


@fault
def answers(scenario: Scenario) -> None:
    """The relay answers 421, 450, 452, 550, 552 and 554 at random, at every stage."""
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
    """The relay calls the message too big: the issue pauses, and is resumed by a person."""
    scenario.wait_for_progress(0.3)
    scenario.relay.behaviour.faults = [Fault("final", "552 5.3.4 too big", 1.0)]
    harness.wait_for(lambda: scenario.state is IssueState.paused, 30)
    time.sleep(2)
    scenario.relay.behaviour.faults = []
    schedule.resume(scenario.app.database, scenario.issue, "bench")


@fault
def disk_full(scenario: Scenario) -> None:
    """No file of the senders can grow any more, the journal neither; then there is room again."""
    if not hasattr(resource, "prlimit"):
        raise SkippedScenario("only Linux can set the limits of another process")
    for share, room in ((0.2, 0), (0.5, 10_000)):  # nothing is written, or only a part
        scenario.wait_for_progress(share)
        pids = [scenario.processes.pid(name) for name in scenario.senders]
        before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
        for pid, (_, hard) in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
        harness.wait_for(lambda: _is_idle(scenario), 60)  # what cannot be written down is not sent
        time.sleep(3)
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _is_idle(scenario: Scenario) -> bool:
    """Whether the relay gets nothing for a second."""
    accepted = scenario.relay.counts.accepted
    time.sleep(1)
    return scenario.relay.counts.accepted == accepted


@fault
def clock_forward(scenario: Scenario) -> None:
    """PostgreSQL's clock, which leases go by, jumps an hour ahead, three times."""
    scenario.relay.behaviour.latency *= 5  # so that workers do not notice at once that their leases are over
    for number, share in enumerate((0.3, 0.6, 0.8), 1):
        scenario.wait_for_progress(share)
        _set_clock(scenario, number * 3600)


@fault
def clock_back(scenario: Scenario) -> None:
    """PostgreSQL's clock, which leases go by, jumps twenty seconds back."""
    scenario.wait_for_progress(0.3)
    _set_clock(scenario, -20)


@fault
def mixed(scenario: Scenario) -> None:
    """Answers lost, workers killed and stopped, PostgreSQL crashed, Redis flushed: in turn, on one issue."""
    scenario.wait_for_progress(0.05)
    _drop_until(scenario, 0.2, drop_after=0.02, drop_lost=0.02)
    for _ in range(2):
        _kill_random(scenario)
        time.sleep(0.5)
    _stop_past_lease(scenario, 0.1)  # what the killed ones left comes first
    _restart(scenario, "immediate")
    redis.Redis.from_url(scenario.valkey.url).flushall()


def _set_clock(scenario: Scenario, seconds: int) -> None:
    # By such a clock every open claim may be over, and with each its connections may change hands.
    scenario.result.connections += scenario.relay.connections()
    new = scenario.clock_file.with_suffix(".new")
    new.write_text(f"{seconds:+}s\n")
    new.rename(scenario.clock_file)
    time.sleep(2)


def _libfaketime() -> Path:
    for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
        if sys.platform == "linux" and (found := sorted(Path("/usr/lib").glob(pattern))):
            return found[0]
    raise SkippedScenario("a clock of one's own needs libfaketime (Debian: apt-get install libfaketime)")


# The stage.


@contextmanager
def _separate_clock(name: str, clock: Path) -> Iterator[None]:
    """For the faults of the clock: what is started within goes by the file ``clock``. Not for workers: libfaketime
    breaks Python's sleep unless the monotonic clock jumps as well, which it does not when the time is set."""
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
    """Everything up, the issue ordered."""
    with tempfile.TemporaryDirectory(prefix="mailer-faults-") as made, ExitStack() as stack:
        folder = Path(made)
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
            web_port=0,
            batch_size=batch_size,
            lease_seconds=LEASE_SECONDS,
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
        set_up = Scenario(
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
        set_up.start("prepare", *set_up.senders, "beat")
        harness.wait_for_workers(app, 1 + senders)
        schedule.schedule(app.database, issue, datetime.now(UTC), "bench")
        yield set_up


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
    """Send an issue, let that happen, and compare."""
    try:
        with prepare_scenario(
            name, readers, senders=senders, batch_size=batch_size, size=size, latency=latency, seed=seed
        ) as here:
            began = time.monotonic()
            try:
                FAULTS[name](here)
                here.result.recovered_seconds = round(_wait_for_recovery(here), 1)
                harness.wait_for(lambda: here.state is IssueState.sent, 300, 0.2)
            except RuntimeError as error:  # too slow: what is there is compared all the same
                here.result.problems.append(f"it did not end: {error}")
                print(_logs(here), file=sys.stderr)
            here.result.seconds = round(time.monotonic() - began, 1)
            _compare(here)
            return here.result
    except SkippedScenario as why:
        return ScenarioResult(name, skipped_reason=str(why))


def _wait_for_recovery(scenario: Scenario) -> float:
    """Seconds until mail flows and each claim that was open has ended."""
    claims, accepted = scenario.claims(), scenario.relay.counts.accepted

    def over() -> bool:
        flows = scenario.relay.counts.accepted > accepted or scenario.state is IssueState.sent
        return flows and scenario.taken_over(claims) == claims.keys()

    return harness.wait_for(over, RECOVERY_SECONDS, 0.1)


def _compare(scenario: Scenario) -> None:
    found, wrong = scenario.result, scenario.result.problems
    log = (scenario.app.settings.state_dir / "accepted.log").read_text().split()
    opened = [
        scenario.app.tokens.read_mail_token(Purpose.message, line.strip("<>").partition("@")[0])
        for line in log
    ]
    logged = Counter(pair[1] for pair in opened if pair and pair[0] == scenario.issue)
    rows: dict[int, str] = dict(
        scenario.query("SELECT subscriber_id, state::text FROM delivery WHERE issue_id = :issue")  # type: ignore[arg-type]
    )
    states = Counter(rows.values())
    found.sent, found.failed, found.uncertain = states["sent"], states["failed"], states["uncertain"]
    silent = [reader for reader, state in rows.items() if state == "sent" and not logged[reader]]
    still_open = [reader for reader, state in rows.items() if state in ("pending", "sending")]
    nowhere = scenario.readers - len(rows)
    twice = [reader for reader, times in logged.items() if times > 1]
    denied = [reader for reader in logged if rows.get(reader) not in ("sent", "uncertain")]
    found.lost, found.twice = len(silent) + len(still_open) + nowhere, len(twice)
    for readers, what in (
        (silent, "are sent in the ledger and not in the relay's record"),
        (still_open, "are still open"),
        (range(nowhere), "have no row in the ledger"),
        (twice, "were accepted twice"),
        (denied, "were accepted, and the ledger knows nothing of it"),
    ):
        if readers:
            wrong.append(f"{len(readers)} {what}")
    if found.uncertain > found.connections:
        wrong.append(f"{found.uncertain} are uncertain, with {found.connections} connections")
    if len(log) != logged.total():
        wrong.append(f"{len(log) - logged.total()} lines of the record are about no delivery of this issue")
    wrong.extend(finding.message for finding in report.audit(scenario.app.database, scenario.issue))


def _logs(scenario: Scenario) -> str:
    logs = sorted((scenario.app.settings.state_dir / "logs").glob("*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)


def _results_table(results: list[ScenarioResult]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fault", no_wrap=True)
    for name in ("lost", "twice", "uncertain", "connections", "seconds", "sent", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in results:
        if found.skipped_reason:
            table.add_row(found.fault, *["–"] * 7)
            continue
        figures = (found.lost, found.twice, found.uncertain, found.connections, found.recovered_seconds)
        figures += (found.sent, found.failed)
        style = "bold red" if found.problems else None
        table.add_row(found.fault, *("–" if one is None else f"{one:,}" for one in figures), style=style)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument(
        "--only", action="append", choices=FAULTS, metavar="NAME", help=f"one of: {', '.join(FAULTS)}"
    )
    parser.add_argument("--senders", type=int, default=3, help="send processes")
    parser.add_argument("--batch", dest="batch_size", type=int, default=200)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that the relay waits to answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    asked = parser.parse_args()
    all_found = []
    for name in asked.only or FAULTS:
        print(f"{name}: {FAULTS[name].__doc__}", file=sys.stderr, flush=True)
        options = {key: getattr(asked, key) for key in ("senders", "batch_size", "size", "latency", "seed")}
        all_found.append(found := run(name, asked.readers, **options))
        for sentence in found.problems:
            print(f"  WRONG: {sentence}", file=sys.stderr, flush=True)
    machine = harness.machine()
    rows = json.dumps(
        [asdict(found) | {"readers": asked.readers, "machine": machine} for found in all_found], indent=2
    )
    if asked.json:
        Path(asked.json).write_text(rows + "\n")
    if sys.stdout.isatty() or asked.json:
        console = Console()
        console.print(_results_table(all_found))
        for found in all_found:
            if found.skipped_reason:
                console.print(f"{found.fault} was left out: {found.skipped_reason}.", markup=False)
            for sentence in found.problems:
                console.print(f"{found.fault}: {sentence}", markup=False)
    else:
        print(rows)
    sys.exit(any(found.problems for found in all_found))


if __name__ == "__main__":
    main()
