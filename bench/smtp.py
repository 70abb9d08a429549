"""Measure the messages a second that mailer.adapters.smtp sends to bench/sink.py.

Prints one line of JSON for each size and number of connections.

python bench/smtp.py --size 10 --size 40 --connections 1 --connections 4
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from pathlib import Path

import uvloop

from mailer.adapters.smtp import Envelope, Relay, TransferResult, Transport
from mailer.domain.outcomes import Outcome, Reply

FILLER_LINE = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempo\r\n"
WARM_UP_MESSAGES = 20
"""Messages per connection before the measurement starts."""


class CountingObserver:
    """A transfer observer that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def before_final_dot(self, key: Hashable) -> None:
        """Count the call."""
        self.calls += 1

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        """Count the call."""
        self.calls += 1


def envelopes(count: int, kilobytes: int, segments: int) -> Iterator[Envelope]:
    """Yield envelopes as the send worker builds them: one segment per reader, the rest shared."""
    body = FILLER_LINE * (kilobytes * 1024 // len(FILLER_LINE))
    step = max(len(FILLER_LINE), len(body) // segments // len(FILLER_LINE) * len(FILLER_LINE))
    shared = [body[at : at + step] for at in range(0, len(body), step)]
    for number in range(count):
        message = [b"Message-ID: <%d@bench.example>\r\n\r\n" % number, *shared]
        yield Envelope(number, f"bounce+{number}@bench.example", f"reader{number}@example.org", message, len(body) + 40)


async def measure(port: int, connections: int, kilobytes: int, count: int, segments: int) -> dict[str, float]:
    """Send ``count`` messages after a warm-up. Return the figures."""
    transport = Transport(Relay("sink", "127.0.0.1", port, max_connections=connections))
    outcomes: Counter[Outcome] = Counter()

    def on_result(result: TransferResult) -> None:
        outcomes[result.outcome] += 1

    await transport.send(envelopes(WARM_UP_MESSAGES * connections, kilobytes, segments), CountingObserver(), on_result)
    outcomes.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    await transport.send(envelopes(count, kilobytes, segments), CountingObserver(), on_result)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await transport.close()
    if outcomes != {Outcome.ACCEPTED: count}:
        raise RuntimeError(f"not all were accepted: {outcomes}")
    return {
        "connections": connections,
        "kilobytes": kilobytes,
        "messages_per_second": round(count / wall),
        "cpu_microseconds_per_message": round(cpu / count * 1e6, 1),
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, action="append", help="kilobytes")
    parser.add_argument("--connections", type=int, action="append")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--segments", type=int, default=16)
    arguments = parser.parse_args()
    sink = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sink.py"))], stdout=subprocess.PIPE, text=True
    )
    assert sink.stdout is not None
    sent = 0
    try:
        port = int(sink.stdout.readline())
        for kilobytes in arguments.size or [10, 40]:
            for connections in arguments.connections or [1, 2, 4, 8, 20]:
                figures = uvloop.run(measure(port, connections, kilobytes, arguments.count, arguments.segments))
                print(json.dumps(figures), flush=True)
                sent += arguments.count + WARM_UP_MESSAGES * connections
    finally:
        sink.terminate()
        counts = json.loads(sink.communicate()[0])
    if counts["accepted"] != sent:
        raise RuntimeError(f"{sent} were sent, the sink counted {counts}")


if __name__ == "__main__":
    main()
