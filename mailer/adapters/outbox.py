"""An SMTP transport on an event loop of its own, for workers that are threads."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property

from mailer.adapters.smtp import Relay, Transport
from mailer.domain.handover import Envelope, Handover, Result
from mailer.domain.ports import HandedOver

try:
    import uvloop
except ImportError:  # it has no wheel for this platform
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop


class Outbox:
    """Kept connections of one process to its relay. Nothing starts before the first message."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._lock = threading.Lock()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = _new_loop()
        threading.Thread(target=loop.run_forever, name="smtp", daemon=True).start()
        return loop

    @cached_property
    def _transport(self) -> Transport:
        return asyncio.run_coroutine_threadsafe(self._make(), self._loop).result(10)

    async def _make(self) -> Transport:
        return Transport(self._relay)

    def hand_over(self, envelopes: Sequence[Envelope], journal: Handover) -> Future[HandedOver]:
        """Send them over the kept connections; the future has one result for each, and never raises for
        trouble with SMTP."""
        with self._lock:
            transport = self._transport
        return asyncio.run_coroutine_threadsafe(self._send(transport, envelopes, journal), self._loop)

    @staticmethod
    async def _send(transport: Transport, envelopes: Sequence[Envelope], journal: Handover) -> HandedOver:
        results: list[Result] = []
        try:
            await transport.send(envelopes, journal, results.append)
        except (OSError, RuntimeError) as error:  # the journal's: what had begun is settled all the same
            return HandedOver(results, error)
        return HandedOver(results, None)

    def close(self) -> None:
        """Say QUIT on every connection and stop the loop."""
        if "_transport" in self.__dict__:
            asyncio.run_coroutine_threadsafe(self._transport.close(), self._loop).result(15)
        if "_loop" in self.__dict__:
            self._loop.call_soon_threadsafe(self._loop.stop)
