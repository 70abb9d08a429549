"""The sink that benchmarks and fault runs rely on: what it counts and logs is what it took."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bench import sink
from bench.sink import Behaviour, Fault, Sink
from mailer.adapters.smtp import Envelope, Transport
from tests.support.scripted_smtp import LONG_TIMEOUTS, RecordingObserver, envelope, relay

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def identified(count: int, size: int = 0) -> list[Envelope]:
    filler = b".." + b"x" * 70 + b"\r\n"
    messages = [
        [b"Subject: x\r\nMessage-ID: <%d@news.example>\r\n\r\n" % key, filler * (size // len(filler))]
        for key in range(count)
    ]
    return [envelope(key, message=message, size=sum(map(len, message))) for key, message in enumerate(messages)]


def logged(path: Path) -> list[int]:
    return [int(line.strip("<>").partition("@")[0]) for line in path.read_text().split()]


async def deliver(server: Sink, sent: list[Envelope], **settings: Any) -> RecordingObserver:
    port = await server.start()
    heard = RecordingObserver()
    transport = Transport(relay(port, **settings))
    await transport.send(sent, heard, heard.on_result)
    await transport.close()
    await server.stop()
    return heard


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("size", [0, 1_000, 300_000])
def test_it_logs_what_it_accepts(run: Run, tmp_path: Path, size: int, pipelining: bool) -> None:
    async def scenario() -> None:
        server = Sink(Behaviour(pipelining=pipelining), log=str(tmp_path / "log"))
        sent = identified(30, size)
        heard = await deliver(server, sent, max_connections=3)
        assert heard.outcomes() == dict.fromkeys(range(30), "accepted")
        assert server.counts.accepted == 30
        assert server.counts.bytes == sum(each.size for each in sent) + 30 * len(b".\r\n")

    run(scenario())
    assert sorted(logged(tmp_path / "log")) == list(range(30))


FAULTS = ["451=0.1", "rcpt:550 5.1.1 no such user=0.1", "mail:421=0.05", "data:452=0.1", "421=0.05"]


def test_fault_counts_add_up(run: Run, tmp_path: Path) -> None:
    async def scenario() -> RecordingObserver:
        behaviour = Behaviour(
            faults=[Fault.parse(text) for text in FAULTS],
            drop_before=0.03,
            drop_after=0.03,
            drop_lost=0.03,
            stall=0.01,
            stall_seconds=0.01,
        )
        server = Sink(behaviour, log=str(tmp_path / "log"), seed=7)
        return await deliver(server, identified(500, 3_000), max_connections=3)

    heard = run(scenario())
    took = logged(tmp_path / "log")
    assert len(took) == len(set(took)), "taken twice"
    outcomes = heard.outcomes()
    by_outcome = {each: {key for key, outcome in outcomes.items() if outcome == each} for each in outcomes.values()}
    assert set(by_outcome) == {"accepted", "retry", "relay busy", "hard", "unknown"}
    assert by_outcome["accepted"] <= set(took)
    assert set(took) - by_outcome["accepted"] <= by_outcome["unknown"]
    # drop-after makes some of the unknown ones taken, drop-lost others not.
    assert by_outcome["unknown"] & set(took)
    assert by_outcome["unknown"] - set(took)


def test_a_stalled_answer_runs_into_the_time_out(run: Run) -> None:
    from dataclasses import replace

    async def scenario() -> RecordingObserver:
        server = Sink(Behaviour(stall=1.0, stall_seconds=5))
        return await deliver(server, identified(1), timeouts=replace(LONG_TIMEOUTS, final=0.05))

    heard = run(scenario())
    assert heard.outcomes() == {0: "unknown"}
    assert heard.results[0].detail == "timed out"


@pytest.mark.parametrize("text", ["451", "x=0.1", "quit:451=0.1", "354=0.5"])
def test_invalid_faults_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        Fault.parse(text)


def test_it_runs_as_a_program(run: Run, tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        heard = RecordingObserver()
        transport = Transport(relay(port))
        await transport.send(identified(5), heard, heard.on_result)
        await transport.close()
        assert set(heard.outcomes().values()) == {"accepted"}

    program = [sys.executable, sink.__file__, "--port", "0", "--log", str(tmp_path / "log")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run(scenario(int(process.stdout.readline())))
        os.kill(process.pid, signal.SIGTERM)
        counts = json.loads(process.stdout.read())
    assert counts["accepted"] == 5
    assert logged(tmp_path / "log") == list(range(5))


def test_sink_works_with_other_clients() -> None:
    import smtplib

    async def scenario() -> int:
        server = Sink()
        port = await server.start()

        def talk() -> None:
            with smtplib.SMTP("127.0.0.1", port) as client:
                for _ in range(2):
                    client.sendmail("a@news.example", ["b@example.org"], "Subject: x\r\n\r\n.dot\r\n")
                client.noop()

        await asyncio.to_thread(talk)
        await server.stop()
        return int(server.counts.accepted)

    assert asyncio.run(scenario()) == 2
