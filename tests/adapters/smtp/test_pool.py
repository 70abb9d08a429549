"""What a process reports about its connections to relays."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from bench.sink import SinkServer
from mailer.adapters.smtp import Timeouts
from mailer.adapters.smtp.pool import SmtpPool
from tests.support.scripted_smtp import RecordingObserver, envelope, relay


@pytest.fixture
def sink() -> Iterator[SinkServer]:
    with SinkServer("/dev/null") as server:
        yield server


class SlowReader(socketserver.StreamRequestHandler):
    """Takes a little of the body again and again, so that no time-out for a part of it ends the transfer."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.wfile.write(b"220 here\r\n")
            self.rfile.readline()
            self.wfile.write(b"250-here\r\n250 PIPELINING\r\n")
            for _ in ("MAIL", "RCPT", "DATA"):
                self.rfile.readline()
            self.wfile.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
            while self.rfile.read(50_000):
                time.sleep(0.05)


def test_ended_transfers_are_reported_with_host_and_port() -> None:
    size = 40_000_000  # more than the buffers of sockets hold
    large = envelope(0, message=b"x" * (size - 2) + b"\r\n", size=size)
    brief = Timeouts(connect=0.1, session=0.1, greeting=0.1, mail=0.1, rcpt=0.1, data=0.1, block=2, final=0.1, quit=0.1)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SlowReader) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        pool = SmtpPool([relay(port, timeouts=brief)])
        report = pool.transfer([large], RecordingObserver(), "test").result(30)
        assert [str(result.outcome) for result in report.results] == ["retry"]
        assert pool.problems() == [f"127.0.0.1:{port}: 1 transfer without a result was ended"]
        assert not pool.stuck
        pool.close()
        server.shutdown()


def test_a_process_whose_event_loop_hangs_is_stuck(sink: SinkServer) -> None:
    """A journal on a dead network disk, say, never returns."""
    pool = SmtpPool([relay(sink.port)], stuck_seconds=0.3)
    entered, released = threading.Event(), threading.Event()

    class DeadDisk(RecordingObserver):
        def before_final_dot(self, key: object) -> None:
            entered.set()
            released.wait(30)
            super().before_final_dot(key)

    observer = DeadDisk()
    report = pool.transfer([envelope(0)], observer, "test")
    assert entered.wait(10)
    while not pool.stuck:
        time.sleep(0.05)
    assert pool.problems() == [f"127.0.0.1:{sink.port}: the connections make no progress"]
    released.set()
    assert [str(result.outcome) for result in report.result(10).results] == ["accepted"]
    while pool.stuck:
        time.sleep(0.05)
    assert pool.problems() == []
    pool.close()
