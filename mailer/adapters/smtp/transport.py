"""The connections that one process keeps to a relay, and the messages that go over them."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable

from mailer.adapters.smtp.batch import CALLED_OFF, Batch, Job, Verdict
from mailer.adapters.smtp.connection import Connection
from mailer.adapters.smtp.relay import Relay, Tls
from mailer.adapters.smtp.session import Unusable, prepare
from mailer.domain.handover import Envelope, Handover, Result
from mailer.domain.outcomes import Outcome, Stage

ATTEMPTS = 2
"""Connections that may be lost under one message, before its final dot, within one send."""
FRUITLESS = 8
"""Connections in a row that end without one answer to a message, before the relay counts as unusable.
A relay that drops every message after its final dot must not turn a whole issue into unknowns."""
CROWDED = 5.0
"""Seconds without a new attempt when the relay refuses one more connection beside those that work."""


class Transport:
    """Hands messages to a relay. Lives on one event loop; connects when there is something to send."""

    def __init__(self, relay: Relay, ssl_context: ssl.SSLContext | None = None) -> None:
        self.relay = relay
        if ssl_context is None and relay.tls is not Tls.NONE:
            ssl_context = ssl.create_default_context()
        self._context = ssl_context
        self._batches: deque[Batch] = deque()
        self._again: deque[Job] = deque()
        """Jobs whose connection was lost: each gets a new connection and goes first on it, so that one
        relay that hangs up after every message does not lose the same job twice."""
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._leaving: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._fruitless = 0
        self._crowded: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(
        self,
        envelopes: Iterable[Envelope] | AsyncIterable[Envelope],
        handover: Handover,
        on_result: Callable[[Result], None],
        may_send: Callable[[Envelope], bool] | None = None,
    ) -> None:
        """Hand all envelopes over and call ``on_result`` once for each, in no certain order.

        Envelopes are drawn as connections get ready for them. ``may_send`` is asked right before the
        message's commands are written and once more before its first byte is, which can be as late as
        the reply to the message before it; its no, and everything that was not begun when the sending
        is called off, is ``withheld``. Trouble with SMTP is a result and
        never raised. An exception of the caller's own functions or iterator calls the rest off and is
        raised when all is settled. When cancelled, everything drawn is settled at once: ``unknown``
        where the final dot was written and not answered, else ``withheld``; what an async iterator has
        not yielded by then is never seen.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        batch = Batch(handover, on_result, may_send)
        self._batches.append(batch)
        try:
            if isinstance(envelopes, AsyncIterable):
                await self._feed(batch, envelopes)
            else:
                batch.draw_from(iter(envelopes))
                self._stir()
            await batch.done
        except asyncio.CancelledError:
            batch.call_off()
            raise
        finally:
            self._batches.remove(batch)
        if batch.error is not None:
            raise batch.error

    async def close(self, seconds: float = 10.0) -> None:
        """Let messages finish that have begun, withhold the rest, say QUIT; what is still open after
        that many seconds is dropped."""
        self._closed = True
        if self._crowded is not None:
            self._crowded.cancel()
        opening = list(self._opening)
        self._opening.clear()
        for task in opening:
            task.cancel()
        for batch in list(self._batches):
            batch.stop(CALLED_OFF)
        self._settle_again(CALLED_OFF)
        for connection in list(self._connections):
            connection.leaving = True
            if connection in self._idle:
                connection.quit()
        if open_ones := self._connections | self._leaving:
            everyone = asyncio.gather(*(connection.gone for connection in open_ones))
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(everyone)
            except TimeoutError:
                for connection in open_ones:
                    connection.abort("closed by us")
                await everyone
        await asyncio.gather(*opening, return_exceptions=True)

    async def _feed(self, batch: Batch, envelopes: AsyncIterable[Envelope]) -> None:
        most = 2 * self.relay.connections
        try:
            async for envelope in envelopes:
                batch.add(envelope)
                self._stir()
                await batch.room(most)
        except Exception as error:
            batch.fail(error)
        finally:
            batch.seal()

    # What connections call (see connection.Desk).

    def take(self, connection: Connection) -> Job | None:
        if self._again and (connection.begun == 0 or self._crowded is not None):
            while self._again:
                job = self._again.popleft()
                if job.batch.permits(job):
                    return job
        for _ in range(len(self._batches)):
            batch = self._batches[0]
            self._batches.rotate(-1)
            if (drawn := batch.take()) is not None:
                return drawn
        return None

    def rested(self, connection: Connection) -> None:
        self._idle.append(connection)

    def lost(self, job: Job, stage: Stage, detail: str) -> None:
        job.losses += 1
        if job.batch.verdict is not None:
            job.settle_by(job.batch.verdict)
        elif job.losses >= ATTEMPTS:
            job.settle(Outcome.RETRY, job.reply, stage, detail)
        else:
            self._again.append(job)

    def left(self, connection: Connection, failed: bool) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.gone.done():
            self._leaving.add(connection)
            connection.gone.add_done_callback(lambda _: self._leaving.discard(connection))
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if connection.answered or any(other.answered for other in self._connections):
            self._fruitless = 0
        elif failed:
            self._fruitless += 1
            if self._fruitless >= FRUITLESS:
                self._fruitless = 0
                detail = f"{FRUITLESS} connections in a row were lost without an answer: {connection.trouble}"
                self._give_up(Verdict(Outcome.RELAY, Stage.CONNECT, detail=detail))
        self._stir()

    # Connections.

    def _stir(self) -> None:
        """Give work to connections that rest, then open more if there is work left."""
        now = asyncio.get_running_loop().time()
        while self._idle and not self._closed:
            connection = self._idle.pop()
            if connection.broken or now - connection.rested_at > self.relay.idle:
                connection.quit()
            elif not connection.pump():
                break
        self._grow()

    def _grow(self) -> None:
        """Open what is needed: one connection to find out whether the relay is there, then the others."""
        work = len(self._again) + sum(batch.backlog for batch in self._batches)
        if self._closed or not work:
            return
        if not self._connections:
            if not self._opening:
                self._open()
        elif self._crowded is None and (self._again or not self._idle):
            free = self.relay.connections - len(self._connections)
            # A lost job waits for a new connection, so there must be one to come.
            most = max(min(work, free), 1 if self._again else 0)
            while len(self._opening) < most:
                self._open()

    def _open(self) -> None:
        self._opening.add(asyncio.get_running_loop().create_task(self._connect()))

    async def _connect(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        try:
            connection = await self._open_session()
        except Unusable as trouble:
            self._opening.discard(this)
            self._unreachable(trouble)
        except Exception as trouble:
            # Whatever it is (a bad host name is a UnicodeError), what waits for a connection must hear of it.
            detail = "timed out" if isinstance(trouble, TimeoutError) else str(trouble)
            self._opening.discard(this)
            self._unreachable(Unusable(Stage.CONNECT, detail or type(trouble).__name__))
        else:
            self._opening.discard(this)
            self._connections.add(connection)
            connection.pump()
            self._uncrowd()
            self._stir()

    async def _open_session(self) -> Connection:
        relay = self.relay
        implicit = relay.tls is Tls.IMPLICIT
        async with asyncio.timeout(relay.timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(relay, self),
                relay.host,
                relay.port,
                ssl=self._context if implicit else None,
                server_hostname=relay.host if implicit else None,
            )
        try:
            connection.serve(await prepare(connection, relay, self._context))
        except BaseException:
            connection.abort("the session could not be opened")
            raise
        return connection

    def _unreachable(self, trouble: Unusable) -> None:
        if self._connections:
            # Some relays allow fewer connections than we would like: go on with those that work.
            if self._crowded is None:
                loop = asyncio.get_running_loop()
                self._crowded = loop.call_later(CROWDED, self._uncrowd)
            self._stir()
        elif not self._opening:
            self._give_up(Verdict(Outcome.RELAY, trouble.stage, trouble.reply, trouble.detail))

    def _uncrowd(self) -> None:
        if self._crowded is not None:
            self._crowded.cancel()
            self._crowded = None
            self._stir()

    def _give_up(self, verdict: Verdict) -> None:
        for batch in list(self._batches):
            batch.stop(verdict)
        self._settle_again(verdict)

    def _settle_again(self, verdict: Verdict) -> None:
        while self._again:
            self._again.popleft().settle_by(verdict)
