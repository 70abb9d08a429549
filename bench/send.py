"""Compare the whole sending pipeline with a bare SMTP client, in one run.

Pipeline: an issue to N readers is scheduled; beat, Celery on Redis and workers freeze and expand it, claim batches,
fill the compiled message, send it by SMTP to a fast local sink and record each outcome in PostgreSQL. Wire: the
same bytes, prepared in advance, are pipelined to the same sink by a client that does nothing else. Naive: a
Celery task per reader builds an EmailMessage and sends it with smtplib.

    .venv/bin/python bench/send.py --messages 40000 --size 40000 [--json FILE]
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import harness
import uvloop

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain import headers
from mailer.domain.message import CompiledMessage
from mailer.domain.states import IssueState
from mailer.domain.urls import TokenPrefix
from mailer.services.issues import report, schedule
from mailer.store import editions, issues


class RawSmtpClient(asyncio.Protocol):
    """A connection that sends prepared messages, pipelined one ahead, and checks the replies."""

    def __init__(self, messages: list[bytes], finished: asyncio.Future[None]) -> None:
        self.messages, self.finished = messages, finished
        self.buffer = b""
        self.steps = self.write_steps()
        self.expected_codes = deque(next(self.steps))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's class is not a subclass

    def data_received(self, data: bytes) -> None:
        """Check the replies, and write more when all that were expected have arrived."""
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-" and line[:3] != self.expected_codes.popleft():
                self.finished.set_exception(RuntimeError(f"the sink replied {line!r}"))
                self.transport.abort()
                return
        if not self.expected_codes:
            self.expected_codes.extend(next(self.steps, ()))

    def write_steps(self) -> Iterator[tuple[bytes, ...]]:
        """Write one step of the session after another; yield the reply codes to wait for."""
        yield (b"220",)
        self.transport.write(b"EHLO wire\r\n")
        yield (b"250",)
        self.transport.write(self.envelope(0))
        yield (b"250", b"250", b"354")
        for number, message in enumerate(self.messages[:-1], 1):
            self.transport.writelines([message, b".\r\n" + self.envelope(number)])
            yield (b"250", b"250", b"250", b"354")
        self.transport.writelines([self.messages[-1], b".\r\n"])
        yield (b"250",)
        self.transport.close()
        self.finished.set_result(None)

    @staticmethod
    def envelope(number: int) -> bytes:
        """Return the commands that start one message."""
        return (
            b"MAIL FROM:<bounce+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.org> SIZE=40000\r\n"
            b"RCPT TO:<reader%d@d1.example.org>\r\nDATA\r\n" % number
        )


async def send_raw(port: int, messages: list[bytes], connections: int) -> float:
    """Send the messages over parallel connections. Return the seconds."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    futures = []
    for number in range(connections):
        finished: asyncio.Future[None] = loop.create_future()
        share = messages[number::connections]
        await loop.create_connection(partial(RawSmtpClient, share, finished), "127.0.0.1", port)
        futures.append(finished)
    await asyncio.gather(*futures)
    return time.perf_counter() - began


def raw_socket_rate(messages: list[bytes], connections: int) -> float:
    """Return the messages a second of the bare client."""
    with harness.sink() as (port, stop):
        seconds = uvloop.run(send_raw(port, messages, connections))
        accepted = stop()["accepted"]
    if accepted != len(messages):
        raise RuntimeError(f"the sink counted {accepted} of {len(messages)}")
    return len(messages) / seconds


def build_messages(app: Container, issue: int, count: int) -> list[bytes]:
    """Return messages as the service would fill them, each as one piece."""
    with app.database.transaction() as session:
        edition = editions.of_issue(session, issue)[0]
        template = CompiledMessage.deserialize(edition.message, edition.slots)
    messages = []
    slots = app.urls.subscriber_slots(issue, range(1, count + 1))
    for number, slot in enumerate(slots, 1):
        address = f"reader{number}@d{number % 50}.example.org"
        body = {
            "unsubscribe": f"{TokenPrefix.unsubscribe}{slot.unsubscribe}",
            "preferences": f"{TokenPrefix.preferences}{slot.preferences}",
            "name": f"Reader {number}",
            "address": address,
        }
        values = template.encode_slots(body) | {
            headers.TO: f"Reader {number} <{address}>".encode(),
            headers.DATE: b"Thu, 01 Oct 2026 09:00:00 +0000",
            headers.MESSAGE_ID: slot.message.encode(),
            headers.UNSUBSCRIBE: slot.unsubscribe.encode(),
            headers.MAILTO_UNSUBSCRIBE: slot.mail_unsubscribe.encode(),
        }
        messages.append(b"".join(template.fill(values)))
    return messages


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One run of the service: the seconds of each phase, and some of its messages."""

    wait_seconds: float
    """From scheduling until the scheduler started the issue: up to a second, not counted."""
    prepare_seconds: float
    """For freezing and expanding the audience and compiling the editions."""
    send_seconds: float
    """From the first claim until the last delivery was recorded."""
    close_seconds: float
    messages: list[bytes]
    message_bytes: int
    peak_bytes: int
    """The peak memory of the largest send process."""

    @property
    def seconds(self) -> float:
        """The seconds of all phases that count."""
        return self.prepare_seconds + self.send_seconds + self.close_seconds


def run_full_pipeline(
    messages: int, size: int, workers: int, threads: int, connections: int, batch: int
) -> PipelineRun:
    """Send an issue to ``messages`` readers. Raises RuntimeError if any message is not sent."""
    with (
        harness.sink() as (port, stop),
        harness.service(smtp_port=port, smtp_connections=connections, batch_size=batch) as app,
    ):
        issue = harness.make_issue(app, "en")
        harness.make_subscribers(app, messages, ["en"])
        with Supervisor(app) as processes:
            processes.start_worker("prepare", "scheduler,expand,compose", 2)
            for number in range(workers):
                processes.start_worker(f"send{number}", "send,retry", threads)
            processes.start_beat()
            # The edition is inserted in advance, so that it has the requested size.
            with app.database.transaction() as session:
                harness.insert_edition(session, issue)
            message_bytes = harness.set_message_size(app, issue, size)
            harness.wait_for_workers(app, workers + 1)
            time.sleep(3)  # a few scheduler runs, so that every process is warm
            scheduled = datetime.now(UTC)
            schedule.schedule(app.database, issue, scheduled, "bench")

            def sent() -> bool:
                if exited := processes.exited():
                    raise RuntimeError(f"{exited} ended")
                with app.database.transaction() as session:
                    return issues.state(session, issue) is IssueState.sent

            harness.wait_for(sent, 600, 0.1)
            peak = max(harness.peak_memory_bytes(processes.pid(f"send{number}")) for number in range(workers))
        audit_findings = report.audit(app.database, issue)
        counts = report.status(app.database, issue, datetime.now(UTC)).counts
        if audit_findings or counts.sent != messages:
            raise RuntimeError(f"{counts} {audit_findings[:3]}")
        messages_sent = build_messages(app, issue, min(messages, 10_000))
        accepted = stop()["accepted"]
        if accepted != messages:
            raise RuntimeError(f"the sink counted {accepted}")
        frozen, composed, last, finished = harness.issue_times(app, issue)
        wait, prepare, sending, close = (
            (b - a).total_seconds() for a, b in pairwise((scheduled, frozen, composed, last, finished))
        )
        return PipelineRun(wait, prepare, sending, close, messages_sent, message_bytes, peak)


def naive_rate(messages: int, size: int) -> float:
    """Return the messages a second with a task per reader: publish, consume, build, send."""
    with harness.service() as app, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "accepted"
        with harness.sink("--log", str(log)) as (port, _):
            environment = os.environ | {"NAIVE_REDIS_URL": app.redis_url, "PYTHONPATH": str(harness.ROOT)}
            command = [sys.executable, "-m", "celery", "-A", "bench.naive", "worker", "-P", "prefork"]
            options = ["-c", "2", "-l", "ERROR"]
            worker = subprocess.Popen(
                [*command, *options], env=environment, cwd=harness.ROOT, stdout=subprocess.DEVNULL
            )
            try:
                os.environ["NAIVE_REDIS_URL"] = app.redis_url
                from bench.naive import send

                def accepted() -> int:
                    return log.read_bytes().count(b"\n") if log.exists() else 0

                send.delay(0, port, size)  # wait until the worker is up
                harness.wait_for(lambda: accepted() == 1, 60)
                began = time.perf_counter()
                for number in range(1, messages + 1):
                    send.delay(number, port, size)
                harness.wait_for(lambda: accepted() == messages + 1, 300)
                return messages / (time.perf_counter() - began)
            finally:
                worker.terminate()
                worker.wait(20)


def smtp_source_rate(messages: int, size: int, connections: int) -> float | None:
    """Return the messages a second of Postfix's smtp-source, or None if it is not installed."""
    program = shutil.which("smtp-source") or shutil.which("smtp-source", path="/usr/sbin")
    if program is None:
        return None
    with harness.sink() as (port, _):
        began = time.perf_counter()
        options = ["-s", str(connections), "-m", str(messages), "-l", str(size), "-N"]
        subprocess.run([program, *options, f"127.0.0.1:{port}"], check=True, timeout=300, capture_output=True)
        return messages / (time.perf_counter() - began)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=40_000, help="bytes of a message")
    parser.add_argument("--workers", type=int, default=2, help="send processes")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of each process: batches that it sends at a time"
    )
    parser.add_argument("--connections", type=int, default=16, help="connections of each process")
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3, help="runs of the service; the fastest counts, as for the wire")
    parser.add_argument("--naive", type=int, default=400, help="messages sent the naive way; 0 skips it")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    configuration = arguments.workers, arguments.threads, arguments.connections, arguments.batch
    rates = []
    for _ in range(arguments.runs):
        run = run_full_pipeline(arguments.messages, arguments.size, *configuration)
        rates.append(arguments.messages / run.seconds)
        if rates[-1] == max(rates):
            fastest = run  # keep the messages of one run only, to save memory
    rate = max(rates)
    messages = (fastest.messages * (arguments.messages // len(fastest.messages) + 1))[: arguments.messages]
    wire_rate = max(raw_socket_rate(messages, connections) for connections in (2, 4, 8, 16, 32))
    figures: dict[str, object] = {
        "ratio": round(rate / wire_rate, 3),
        "messages_per_second": round(rate),
        "wire_per_second": round(wire_rate),
        "messages_per_second_of_each_run": list(map(round, rates)),
        "ratio_while_sending": round(arguments.messages / fastest.send_seconds / wire_rate, 3),
        "messages": arguments.messages,
        "message_bytes": fastest.message_bytes,
        "seconds_until_a_tick": round(fastest.wait_seconds, 2),
        "seconds_preparing": round(fastest.prepare_seconds, 2),
        "seconds_sending": round(fastest.send_seconds, 2),
        "seconds_closing": round(fastest.close_seconds, 2),
        "workers": arguments.workers,
        "threads": arguments.threads,
        "connections": arguments.connections,
        "batch": arguments.batch,
    }
    if arguments.naive:
        slow_rate = naive_rate(arguments.naive, arguments.size)
        figures |= {"naive_per_second": round(slow_rate, 1), "times_naive": round(rate / slow_rate, 1)}
    if source_rate := smtp_source_rate(10_000, arguments.size, arguments.connections):
        figures["smtp_source_per_second"] = round(source_rate)
    harness.report(figures, "Sending, compared with the wire", arguments.json)


if __name__ == "__main__":
    main()
