"""An SMTP transport on an event loop of its own, for workers that are threads."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property

from mailer.adapters.smtp import Relay, Transport
from mailer.domain.ports import MaySend, TransferReport
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult

try:
    import uvloop
except ImportError:  # it has no wheel for this platform
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop

_QUIT_SECONDS = 1.0
"""Seconds for the relay's answers when connections are closed."""


class SmtpPool:
    """Kept connections of one process to its relays. Nothing starts before the first message."""

    def __init__(self, relays: Sequence[Relay]) -> None:
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
                making = asyncio.run_coroutine_threadsafe(
                    self._make_transport(self._relays[relay]), self._loop
                )
                self._transports[relay] = making.result(10)
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
        """Send them over the kept connections; the future has one result for each, and never raises for
        trouble with SMTP. ``may_send`` is asked on the loop's thread right before each is begun."""
        sending = self._send(self._transport(relay), envelopes, observer, may_send)
        return asyncio.run_coroutine_threadsafe(sending, self._loop)

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
        except TimeoutError:  # called off, and each envelope has its result all the same
            return TransferReport(results, None)
        except (OSError, RuntimeError) as error:  # the journal's: what had begun is settled all the same
            return TransferReport(results, error)
        return TransferReport(results, None)

    def drain(self, seconds: float) -> None:
        """The process is to end: what the relay has not answered by then is called off."""
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._set_drain_deadline, seconds)

    def _set_drain_deadline(self, seconds: float) -> None:
        self._drain_deadline = self._loop.time() + seconds
        for limit in self._running_timeouts:
            limit.reschedule(self._drain_deadline)

    def close(self) -> None:
        """Say QUIT on every connection and stop the loop."""
        closing = [
            asyncio.run_coroutine_threadsafe(transport.close(_QUIT_SECONDS), self._loop)
            for transport in self._transports.values()
        ]
        for one in closing:
            one.result(_QUIT_SECONDS + 5)
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._loop.stop)
