"""SMTP transports on their own event loop thread, for workers that run in threads."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property

from mailer.adapters.smtp import Relay, Transport
from mailer.adapters.smtp.session import RelayUnusable
from mailer.domain.plurals import format_count
from mailer.domain.ports import MaySend, TransferReport
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult

try:
    import uvloop
except ImportError:  # it has no wheel for this platform
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

_CHECK_SECONDS = 20.0
"""How long the check of a relay may take."""
_QUIT_SECONDS = 1.0
"""How long to wait for replies to QUIT when the pool is closed."""
_REPORT_SECONDS = 600.0
"""How long transfers that had to be ended are reported as a problem."""


class SmtpPool:
    """The persistent connections of one process to its relays, opened on first use."""

    def __init__(self, relays: Sequence[Relay], stuck_seconds: float = 60.0) -> None:
        """``stuck_seconds``: silence of a transport's watchdog that shows that its event loop is stuck."""
        self._stuck_seconds = stuck_seconds
        self._relays = {relay.name: relay for relay in relays}
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()
        self._drain_deadline: float | None = None
        self._running_timeouts: set[asyncio.Timeout] = set()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = _new_loop()
        threading.Thread(target=loop.run_forever, name="smtp", daemon=True).start()
        return loop

    def _transport(self, relay: str) -> Transport:
        with self._lock:
            if relay not in self._transports:
                future = asyncio.run_coroutine_threadsafe(self._make_transport(self._relays[relay]), self._loop)
                self._transports[relay] = future.result(10)
            return self._transports[relay]

    @staticmethod
    async def _make_transport(relay: Relay) -> Transport:
        return Transport(relay)

    def transfer(
        self,
        envelopes: Sequence[Envelope],
        observer: TransferObserver,
        relay: str,
        may_send: MaySend | None = None,
    ) -> Future[TransferReport]:
        """Start sending envelopes to a relay. Return a future of the report.

        The report has one result for each envelope. The future never raises for SMTP errors. ``may_send``
        is called on the loop's thread immediately before each transfer starts.
        """
        report = self._send(self._transport(relay), envelopes, observer, may_send)
        return asyncio.run_coroutine_threadsafe(report, self._loop)

    def check(self, relay: str) -> str:
        """Open a session with a relay and quit. Return why it could not be used, or an empty string."""
        check = asyncio.wait_for(self._transport(relay).check(), _CHECK_SECONDS)
        try:
            asyncio.run_coroutine_threadsafe(check, self._loop).result()
        except TimeoutError:
            return f"no answer within {_CHECK_SECONDS:.0f} seconds"
        except (RelayUnusable, OSError, UnicodeError) as error:
            return str(error)
        return ""

    def capacity(self, relay: str) -> int:
        """Return how many messages the connections to a relay can have begun at once."""
        return self._transport(relay).capacity

    def problems(self) -> list[str]:
        """Return what keeps messages from having a result, each with the relay's host and port."""
        now = time.monotonic()
        found = []
        for transport in list(self._transports.values()):
            address = transport.relay.address
            if self._is_stuck(transport, now):
                found.append(f"{address}: the connections make no progress")
            elif now - transport.ended_at < _REPORT_SECONDS:
                forms = "transfer without a result was", "transfers without a result were"
                found.append(f"{address}: {format_count(transport.ended_transfers, *forms)} ended")
        return found

    @property
    def stuck(self) -> bool:
        """Whether messages are with a relay and nothing on their connections moves, not even time-outs."""
        now = time.monotonic()
        return any(self._is_stuck(transport, now) for transport in list(self._transports.values()))

    def _is_stuck(self, transport: Transport, now: float) -> bool:
        return transport.watched_at is not None and now - transport.watched_at > self._stuck_seconds

    async def _send(
        self,
        transport: Transport,
        envelopes: Sequence[Envelope],
        journal: TransferObserver,
        may_send: MaySend | None,
    ) -> TransferReport:
        results: list[TransferResult] = []
        try:
            async with asyncio.timeout_at(self._drain_deadline) as limit:
                self._running_timeouts.add(limit)
                try:
                    await transport.send(envelopes, journal, results.append, may_send)
                finally:
                    self._running_timeouts.discard(limit)
        except TimeoutError:  # cancelled by drain(); each envelope has a result
            return TransferReport(results, None)
        except (OSError, RuntimeError) as error:  # raised by the journal
            return TransferReport(results, error)
        return TransferReport(results, None)

    def drain(self, seconds: float) -> None:
        """Cancel the transfers that have no reply within ``seconds``; the process is about to end."""
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._set_drain_deadline, seconds)

    def _set_drain_deadline(self, seconds: float) -> None:
        self._drain_deadline = self._loop.time() + seconds
        for limit in self._running_timeouts:
            limit.reschedule(self._drain_deadline)

    def close(self) -> None:
        """Send QUIT on every connection and stop the loop."""
        futures = [
            asyncio.run_coroutine_threadsafe(transport.close(_QUIT_SECONDS), self._loop)
            for transport in self._transports.values()
        ]
        for future in futures:
            future.result(_QUIT_SECONDS + 5)
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._loop.stop)
