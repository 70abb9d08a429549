"""Measure how many messages a second reach a distant relay, against what its connections and windows allow.

A relay that delays every reply by D seconds takes connections × window / D messages a second. Connections grow to
the ceiling by themselves; what is measured begins when they are all open. Prints JSON.

python bench/distance.py --connections 32 --window 1 --delay 0.1
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from itertools import takewhile
from pathlib import Path

import uvloop
from smtp import CountingObserver, envelopes

from mailer.adapters.smtp import Relay, TransferResult, Transport
from mailer.domain.outcomes import Outcome

DELAYS_SECONDS = (0.02, 0.1, 0.3)
MEASURED_SECONDS = 8.0
GROWTH_SECONDS = 60.0
"""For the connections to reach their ceiling."""


async def measure(delay: float, connections: int, window: int, kilobytes: int) -> dict[str, float]:
    """Send until all connections are open and for a while longer. Return the figures of that while."""
    sink = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("sink.py")), "--latency", str(delay)), stdout=subprocess.PIPE
    )
    assert sink.stdout is not None
    transport = Transport(
        Relay("sink", "127.0.0.1", int(await sink.stdout.readline()), max_connections=connections, window=window)
    )
    outcomes: Counter[Outcome] = Counter()

    def on_result(result: TransferResult) -> None:
        outcomes[result.outcome] += 1

    allowed = connections * window / delay
    began = time.perf_counter()
    finished = False
    endless = takewhile(lambda _: not finished, envelopes(1_000_000_000, kilobytes, 16))
    sending = asyncio.create_task(transport.send(endless, CountingObserver(), on_result))
    while transport.open_connections < connections and time.perf_counter() - began < GROWTH_SECONDS:
        await asyncio.sleep(0.1)
    await asyncio.sleep(max(1.0, 3 * delay))
    grown = time.perf_counter() - began
    before, wall, cpu = outcomes[Outcome.ACCEPTED], time.perf_counter(), time.process_time()
    await asyncio.sleep(MEASURED_SECONDS)
    count, wall, cpu = outcomes[Outcome.ACCEPTED] - before, time.perf_counter() - wall, time.process_time() - cpu
    opened = transport.open_connections
    finished = True
    await sending
    await transport.close()
    sink.terminate()
    await sink.wait()
    return {
        "delay_ms": round(delay * 1000),
        "connections": opened,
        "window": window,
        "seconds_to_grow": round(grown, 1),
        "allowed_per_second": round(allowed),
        "messages_per_second": round(count / wall),
        "achieved": round(count / wall / allowed, 3),
        "cpu_share": round(cpu / wall, 2),
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, action="append", help="seconds")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--window", type=int, action="append")
    parser.add_argument("--size", type=int, default=10, help="kilobytes")
    arguments = parser.parse_args()
    figures = [
        uvloop.run(measure(delay, arguments.connections, window, arguments.size))
        for window in arguments.window or [1, 4]
        for delay in arguments.delay or DELAYS_SECONDS
    ]
    machine = {"processors": os.cpu_count(), "machine": platform.platform(), "python": platform.python_version()}
    load = os.getloadavg()[0]
    print(
        json.dumps(
            {"ran_on": machine | {"load": round(load, 1)}, "kilobytes": arguments.size, "figures": figures}, indent=2
        )
    )


if __name__ == "__main__":
    main()
