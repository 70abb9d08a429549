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

import redis
import stand
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sink import Behaviour, Fault, RunningSink
from sqlalchemy import text

from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.cli.processes import Processes
from mailer.domain.states import IssueState
from mailer.services import report, schedule
from mailer.settings import Settings

LEASE = 5
PATIENCE = 120.0
"""Seconds within which mail must flow again after a fault."""
EXIT_WITHIN = 10.0
"""Seconds that a worker may take to end after SIGTERM."""
AWAY = 10.0
"""Seconds that something is away: longer than a lease."""


@dataclass(slots=True)
class Found:
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
    wrong: list[str] = field(default_factory=list)
    """In sentences, everything that must not be."""
    left_out: str = ""
    """Why the fault was not tried."""


class LeftOut(Exception):
    """The fault cannot be made on this machine."""


@dataclass(slots=True)
class Scene:
    """An issue on its way, and all that can be disturbed."""

    parts: Mailer
    postgres: Postgres
    valkey: Valkey
    relay: RunningSink
    processes: Processes
    issue: int
    readers: int
    senders: tuple[str, ...]
    clock: Path
    """What PostgreSQL's clock adds to the time of day, for libfaketime; only for the faults of the clock."""
    found: Found
    chance: random.Random

    def start(self, *names: str) -> None:
        for name in names:
            # The name in EHLO tells the relay whose connection it is.
            environment = {"MAILER_SMTP_LOCAL_NAME": name}
            if name.startswith("beat"):
                self.processes.start_beat(name, environment)
            elif name.startswith("prepare"):
                self.processes.start_worker(name, "control,expand,compose", 2, environment)
            else:
                self.processes.start_worker(name, "send,retry", 2, environment)

    def signal(self, number: signal.Signals, *names: str) -> None:
        for name in names:
            os.kill(self.processes.pid(name), number)

    def kill(self, *names: str) -> None:
        """SIGKILL, with the connections counted that were open."""
        self.found.connections += sum(map(self.relay.connections, names))
        self.signal(signal.SIGKILL, *names)

    def terminate(self, *names: str) -> None:
        """SIGTERM, and see how long they take."""
        began = time.monotonic()
        self.processes.stop(30, *names)
        took = time.monotonic() - began
        if took > EXIT_WITHIN:
            self.found.wrong.append(f"after SIGTERM it took {took:.1f} s until all processes had ended")
        if left := len(self.claims()):
            self.found.wrong.append(f"{left} claims were not given back after SIGTERM")

    @property
    def share(self) -> float:
        """Of the readers, those whose message the relay has dealt with."""
        return (self.relay.counts.accepted + self.relay.counts.refused) / self.readers

    def until(self, share: float) -> None:
        def reached() -> bool:
            if gone := self.processes.ended():
                raise RuntimeError(f"{', '.join(gone)} ended")
            return self.share >= share

        stand.wait_for(reached, 300, 0.01)

    def query(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        with self.parts.database.transaction() as session:
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
        return report.status(self.parts.database, self.issue, datetime.now(UTC)).state


# The faults. Each begins while mail flows, and ends with everything running again.

Play = Callable[[Scene], None]
FAULTS: dict[str, Play] = {}


def fault(play: Play) -> Play:
    FAULTS[play.__name__.replace("_", "-")] = play
    return play


@fault
def none(scene: Scene) -> None:
    """Nothing is disturbed."""
    scene.until(0.5)


@fault
def ten_workers(scene: Scene) -> None:
    """Two beats, two preparing and ten sending workers."""
    scene.start("beat-2", "prepare-2", *(f"more{number}" for number in range(10 - len(scene.senders))))
    scene.until(0.9)


@fault
def workers(scene: Scene) -> None:
    """kill -9 of a random worker every second."""
    scene.until(0.1)
    ends = time.monotonic() + 240
    while scene.share < 0.8 and time.monotonic() < ends:
        _kill_one(scene, "prepare")
        time.sleep(1)


def _kill_one(scene: Scene, *others: str) -> None:
    """A sender that is at work, or one of the others; it is started again."""
    busy = [name for name in scene.senders if scene.relay.connections(name)]
    name = scene.chance.choice([*others, *(busy or scene.senders)])
    scene.kill(name)
    scene.start(name)


@fault
def all_workers(scene: Scene) -> None:
    """kill -9 of all workers at once, three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        scene.kill("prepare", *scene.senders)
        scene.start("prepare", *scene.senders)


@fault
def beat(scene: Scene) -> None:
    """kill -9 of beat, again and again, then away for ten seconds."""
    scene.until(0.2)
    for seconds in (1, 1, 1, AWAY):
        scene.kill("beat")
        time.sleep(seconds)
        scene.start("beat")


@fault
def parent(scene: Scene) -> None:
    """kill -9 of `mailer run` alone: its workers end by themselves."""
    if sys.platform != "linux":
        raise LeftOut("only Linux tells a process that its parent is gone")
    everyone = ("beat", "prepare", *scene.senders)
    scene.until(0.2)
    scene.terminate(*everyone)
    scene.processes.start("run", "mailer", "run")
    scene.until(0.5)
    scene.signal(signal.SIGKILL, "run")
    began = time.monotonic()
    stand.wait_for(lambda: not scene.relay.connections(), 60)
    if (took := time.monotonic() - began) > EXIT_WITHIN:
        scene.found.wrong.append(f"workers went on for {took:.1f} s after their parent")
    scene.processes.stop(1, "run")
    scene.start(*everyone)


@fault
def zombie(scene: Scene) -> None:
    """All senders but one are stopped past their leases, and go on when that one has taken a batch over."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        _stop_past_lease(scene)


def _stop_past_lease(scene: Scene, latency: float = 0.3) -> None:
    # Slowly, so that they are back while the other one is at work on a batch of theirs.
    quick, scene.relay.behaviour.latency = scene.relay.behaviour.latency, latency
    stopped = scene.senders[1:]
    stand.wait_for(lambda: all(scene.claims(name) for name in stopped), 60, 0.01)
    scene.signal(signal.SIGSTOP, *stopped)
    scene.found.connections += sum(map(scene.relay.connections, stopped))
    claims = {batch: epoch for name in stopped for batch, epoch in scene.claims(name).items()}
    stand.wait_for(lambda: bool(scene.taken_over(claims)), PATIENCE)
    scene.signal(signal.SIGCONT, *stopped)
    time.sleep(1)
    scene.relay.behaviour.latency = quick


@fault
def sigterm(scene: Scene) -> None:
    """SIGTERM to everything under load, three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        scene.terminate("beat", "prepare", *scene.senders)
        scene.start("beat", "prepare", *scene.senders)


@fault
def sigterm_stalled(scene: Scene) -> None:
    """SIGTERM to everything while the relay answers nothing."""
    scene.until(0.3)
    scene.relay.behaviour.stall, scene.relay.behaviour.stall_seconds = 1.0, 60.0
    time.sleep(2)
    scene.found.connections += scene.relay.connections()
    scene.terminate("beat", "prepare", *scene.senders)
    scene.relay.behaviour.stall = 0.0
    scene.start("beat", "prepare", *scene.senders)


@fault
def redis_flushed(scene: Scene) -> None:
    """Redis is flushed, three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        redis.Redis.from_url(scene.valkey.url).flushall()


@fault
def redis_frozen(scene: Scene) -> None:
    """Redis answers nothing for ten seconds."""
    scene.until(0.3)
    os.kill(scene.valkey.pid, signal.SIGSTOP)
    time.sleep(AWAY)
    os.kill(scene.valkey.pid, signal.SIGCONT)


@fault
def redis_away(scene: Scene) -> None:
    """Redis is stopped for ten seconds."""
    scene.until(0.3)
    scene.valkey.close()
    time.sleep(AWAY)
    scene.valkey.start()


@fault
def redis_killed(scene: Scene) -> None:
    """kill -9 of Redis, which starts again at once, three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        os.kill(scene.valkey.pid, signal.SIGKILL)
        scene.valkey.close()
        scene.valkey.start()


def _restart(scene: Scene, mode: str, seconds: float = 0.0) -> None:
    scene.postgres.stop(mode)
    time.sleep(seconds)
    scene.postgres.start()


@fault
def postgres_fast(scene: Scene) -> None:
    """PostgreSQL is restarted in mode "fast", three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        _restart(scene, "fast")


@fault
def postgres_immediate(scene: Scene) -> None:
    """PostgreSQL is stopped in mode "immediate", as by a crash, and started, three times."""
    for share in (0.2, 0.4, 0.6):
        scene.until(share)
        _restart(scene, "immediate")


@fault
def postgres_away(scene: Scene) -> None:
    """PostgreSQL is away for ten seconds, longer than a lease."""
    scene.until(0.3)
    _restart(scene, "fast", AWAY)


@fault
def relay_refusing(scene: Scene) -> None:
    """The relay cuts its connections and refuses new ones for ten seconds."""
    scene.until(0.3)
    scene.found.connections += scene.relay.connections()
    scene.relay.refuse()
    time.sleep(AWAY)
    scene.relay.listen()


@fault
def relay_stalling(scene: Scene) -> None:
    """For ten seconds the relay takes eight to answer each final dot: longer than a lease."""
    scene.until(0.3)
    scene.relay.behaviour.stall, scene.relay.behaviour.stall_seconds = 1.0, LEASE + 3
    time.sleep(AWAY)
    scene.relay.behaviour.stall = 0.0


@fault
def cut_at_data(scene: Scene) -> None:
    """The relay drops connections instead of asking for the message."""
    scene.until(0.1)
    _dropping(scene, 0.8, drop_data=0.02)


@fault
def cut_before_the_dot(scene: Scene) -> None:
    """The relay drops connections in the middle of a message, with the rest of it and its dot under way."""
    scene.until(0.1)
    before = scene.relay.counts.dropped
    _dropping(scene, 0.8, drop_before=0.01)
    scene.found.connections += scene.relay.counts.dropped - before


def _dropping(scene: Scene, share: float, **probabilities: float) -> None:
    """Until that share of the readers is through."""
    unanswered = scene.relay.counts.unanswered
    for name, value in probabilities.items():
        setattr(scene.relay.behaviour, name, value)
    scene.until(share)
    for name in probabilities:
        setattr(scene.relay.behaviour, name, 0.0)
    scene.found.connections += scene.relay.counts.unanswered - unanswered


@fault
def cut_after_the_dot(scene: Scene) -> None:
    """The relay accepts messages, and drops connections instead of answering."""
    scene.until(0.1)
    _dropping(scene, 0.8, drop_after=0.01)


@fault
def lost_after_the_dot(scene: Scene) -> None:
    """The relay drops connections after the final dot, and the message with them."""
    scene.until(0.1)
    _dropping(scene, 0.8, drop_lost=0.01)


@fault
def answers(scene: Scene) -> None:
    """The relay answers 421, 450, 452, 550, 552 and 554 at random, at every stage."""
    scene.until(0.1)
    scene.relay.behaviour.faults = [
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
    scene.until(0.9)
    scene.relay.behaviour.faults = []


@fault
def message_refused(scene: Scene) -> None:
    """The relay calls the message too big: the issue pauses, and is resumed by a person."""
    scene.until(0.3)
    scene.relay.behaviour.faults = [Fault("final", "552 5.3.4 too big", 1.0)]
    stand.wait_for(lambda: scene.state is IssueState.paused, 30)
    time.sleep(2)
    scene.relay.behaviour.faults = []
    schedule.resume(scene.parts.database, scene.issue, "bench")


@fault
def disk_full(scene: Scene) -> None:
    """No file of the senders can grow any more, the journal neither; then there is room again."""
    if not hasattr(resource, "prlimit"):
        raise LeftOut("only Linux can set the limits of another process")
    for share, room in ((0.2, 0), (0.5, 10_000)):  # nothing is written, or only a part
        scene.until(share)
        pids = [scene.processes.pid(name) for name in scene.senders]
        before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
        for pid, (_, hard) in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
        stand.wait_for(lambda: _idle(scene), 60)  # what cannot be written down is not sent
        time.sleep(3)
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _idle(scene: Scene) -> bool:
    """Whether the relay gets nothing for a second."""
    accepted = scene.relay.counts.accepted
    time.sleep(1)
    return scene.relay.counts.accepted == accepted


@fault
def clock_forward(scene: Scene) -> None:
    """PostgreSQL's clock, which leases go by, jumps an hour ahead, three times."""
    scene.relay.behaviour.latency *= 5  # so that workers do not notice at once that their leases are over
    for number, share in enumerate((0.3, 0.6, 0.8), 1):
        scene.until(share)
        _set_clock(scene, number * 3600)


@fault
def clock_back(scene: Scene) -> None:
    """PostgreSQL's clock, which leases go by, jumps twenty seconds back."""
    scene.until(0.3)
    _set_clock(scene, -20)


@fault
def some_of_each(scene: Scene) -> None:
    """Answers lost, workers killed and stopped, PostgreSQL crashed, Redis flushed: in turn, on one issue."""
    scene.until(0.05)
    _dropping(scene, 0.2, drop_after=0.02, drop_lost=0.02)
    for _ in range(2):
        _kill_one(scene)
        time.sleep(0.5)
    _stop_past_lease(scene, 0.1)  # what the killed ones left comes first
    _restart(scene, "immediate")
    redis.Redis.from_url(scene.valkey.url).flushall()


def _set_clock(scene: Scene, seconds: int) -> None:
    # By such a clock every open claim may be over, and with each its connections may change hands.
    scene.found.connections += scene.relay.connections()
    new = scene.clock.with_suffix(".new")
    new.write_text(f"{seconds:+}s\n")
    new.rename(scene.clock)
    time.sleep(2)


def _libfaketime() -> Path:
    for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
        if sys.platform == "linux" and (found := sorted(Path("/usr/lib").glob(pattern))):
            return found[0]
    raise LeftOut("a clock of one's own needs libfaketime (Debian: apt-get install libfaketime)")


# The stage.


@contextmanager
def _clock_of_its_own(name: str, clock: Path) -> Iterator[None]:
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
def scene(
    name: str, readers: int, *, senders: int, batch: int, size: int, latency: float, seed: int
) -> Iterator[Scene]:
    """Everything up, the issue ordered."""
    with tempfile.TemporaryDirectory(prefix="mailer-faults-") as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)  # embedded PostgreSQL runs as another user when this is root
        log = folder / "accepted.log"
        log.touch()
        relay = stack.enter_context(RunningSink(str(log), Behaviour(latency=latency)))
        valkey = stack.enter_context(closing(Valkey(folder / "valkey")))
        with _clock_of_its_own(name, folder / "clock"):
            postgres = stack.enter_context(closing(Postgres(folder / "postgres")))
        settings = Settings(
            database_url=postgres.url(),
            redis_url=valkey.url,
            state_dir=folder,
            secret_key="f" * 32,
            smtp_port=relay.port,
            web_port=0,
            batch_size=batch,
            lease_seconds=LEASE,
            retry_seconds=1,
        )
        parts = stack.enter_context(Mailer(settings, application="bench"))
        parts.migrate()
        issue = stand.make_issue(parts, "en")
        stand.make_readers(parts, readers, ["en"])
        with parts.database.transaction() as session:
            stand.audience_edition(session, issue)
        stand.set_message_size(parts, issue, size)
        processes = stack.enter_context(Processes(parts))
        set_up = Scene(
            parts,
            postgres,
            valkey,
            relay,
            processes,
            issue,
            readers,
            tuple(f"send{number}" for number in range(senders)),
            folder / "clock",
            Found(name),
            random.Random(seed),
        )
        set_up.start("prepare", *set_up.senders, "beat")
        stand.wait_for_workers(parts, 1 + senders)
        schedule.schedule(parts.database, issue, datetime.now(UTC), "bench")
        yield set_up


def run(
    name: str,
    readers: int = 20_000,
    *,
    senders: int = 3,
    batch: int = 200,
    size: int = 10_000,
    latency: float = 0.02,
    seed: int = 1,
) -> Found:
    """Send an issue, let that happen, and compare."""
    try:
        with scene(
            name, readers, senders=senders, batch=batch, size=size, latency=latency, seed=seed
        ) as here:
            began = time.monotonic()
            try:
                FAULTS[name](here)
                here.found.recovered_seconds = round(_recovered(here), 1)
                stand.wait_for(lambda: here.state is IssueState.sent, 300, 0.2)
            except RuntimeError as error:  # too slow: what is there is compared all the same
                here.found.wrong.append(f"it did not end: {error}")
                print(_logs(here), file=sys.stderr)
            here.found.seconds = round(time.monotonic() - began, 1)
            _compare(here)
            return here.found
    except LeftOut as why:
        return Found(name, left_out=str(why))


def _recovered(here: Scene) -> float:
    """Seconds until mail flows and each claim that was open has ended."""
    claims, accepted = here.claims(), here.relay.counts.accepted

    def over() -> bool:
        flows = here.relay.counts.accepted > accepted or here.state is IssueState.sent
        return flows and here.taken_over(claims) == claims.keys()

    return stand.wait_for(over, PATIENCE, 0.1)


def _compare(here: Scene) -> None:
    found, wrong = here.found, here.found.wrong
    log = (here.parts.settings.state_dir / "accepted.log").read_text().split()
    opened = [
        here.parts.tokens.open_mail(Purpose.message, line.strip("<>").partition("@")[0]) for line in log
    ]
    logged = Counter(pair[1] for pair in opened if pair and pair[0] == here.issue)
    rows: dict[int, str] = dict(
        here.query("SELECT subscriber_id, state::text FROM delivery WHERE issue_id = :issue")  # type: ignore[arg-type]
    )
    states = Counter(rows.values())
    found.sent, found.failed, found.uncertain = states["sent"], states["failed"], states["uncertain"]
    silent = [reader for reader, state in rows.items() if state == "sent" and not logged[reader]]
    still_open = [reader for reader, state in rows.items() if state in ("pending", "sending")]
    nowhere = here.readers - len(rows)
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
    wrong.extend(report.audit(here.parts.database, here.issue))


def _logs(here: Scene) -> str:
    logs = sorted((here.parts.settings.state_dir / "logs").glob("*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)


def _table(all_found: list[Found]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fault", no_wrap=True)
    for name in ("lost", "twice", "uncertain", "connections", "seconds", "sent", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in all_found:
        if found.left_out:
            table.add_row(found.fault, *["–"] * 7)
            continue
        figures = (found.lost, found.twice, found.uncertain, found.connections, found.recovered_seconds)
        figures += (found.sent, found.failed)
        style = "bold red" if found.wrong else None
        table.add_row(found.fault, *("–" if one is None else f"{one:,}" for one in figures), style=style)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument(
        "--only", action="append", choices=FAULTS, metavar="NAME", help=f"one of: {', '.join(FAULTS)}"
    )
    parser.add_argument("--senders", type=int, default=3, help="send processes")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that the relay waits to answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    asked = parser.parse_args()
    all_found = []
    for name in asked.only or FAULTS:
        print(f"{name}: {FAULTS[name].__doc__}", file=sys.stderr, flush=True)
        options = {key: getattr(asked, key) for key in ("senders", "batch", "size", "latency", "seed")}
        all_found.append(found := run(name, asked.readers, **options))
        for sentence in found.wrong:
            print(f"  WRONG: {sentence}", file=sys.stderr, flush=True)
    machine = stand.machine()
    rows = json.dumps(
        [asdict(found) | {"readers": asked.readers, "machine": machine} for found in all_found], indent=2
    )
    if asked.json:
        Path(asked.json).write_text(rows + "\n")
    if sys.stdout.isatty() or asked.json:
        console = Console()
        console.print(_table(all_found))
        for found in all_found:
            if found.left_out:
                console.print(f"{found.fault} was left out: {found.left_out}.", markup=False)
            for sentence in found.wrong:
                console.print(f"{found.fault}: {sentence}", markup=False)
    else:
        print(rows)
    sys.exit(any(found.wrong for found in all_found))


if __name__ == "__main__":
    main()
