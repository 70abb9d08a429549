"""The connections that one process keeps to a relay, and the messages that go over them."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable

from mailer.adapters.smtp.batch import CANCELLED, BatchAbort, SmtpBatch, Transfer
from mailer.adapters.smtp.connection import Connection
from mailer.adapters.smtp.relay import Relay, Tls
from mailer.adapters.smtp.session import RelayUnusable, open_session
from mailer.domain.outcomes import Outcome, Stage
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult

MAX_LOST_CONNECTIONS = 2
"""Connections that may be lost under one message, before its final dot, within one send."""
MAX_FRUITLESS_CONNECTIONS = 8
"""Connections in a row that end without one answer to a message, before the relay counts as unusable.
A relay that drops every message after its final dot must not turn a whole issue into unknowns."""
CONNECTION_BACKOFF_SECONDS = 5.0
"""Seconds without a new attempt when the relay refuses one more connection beside those that work."""


class Transport:
    """Hands messages to a relay. Lives on one event loop; connects when there is something to send."""

    def __init__(self, relay: Relay, ssl_context: ssl.SSLContext | None = None) -> None:
        self.relay = relay
        if ssl_context is None and relay.tls is not Tls.NONE:
            ssl_context = ssl.create_default_context()
        self._context = ssl_context
        self._batches: deque[SmtpBatch] = deque()
        self._requeued: deque[Transfer] = deque()
        """Jobs whose connection was lost: each gets a new connection and goes first on it, so that one
        relay that hangs up after every message does not lose the same job twice."""
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closing: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._fruitless_connections = 0
        self._backoff_timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(
        self,
        envelopes: Iterable[Envelope],
        observer: TransferObserver,
        on_result: Callable[[TransferResult], None],
        may_send: Callable[[Envelope], bool] | None = None,
    ) -> None:
        """Hand all envelopes over and call ``on_result`` once for each, in no certain order.

        Envelopes are drawn as connections get ready for them. ``may_send`` is asked right before the
        message's commands are written and once more before its first byte is, which can be as late as
        the reply to the message before it; its no, and everything that was not begun when the sending
        is called off, is ``withheld``. Trouble with SMTP is a result and
        never raised. An exception of the caller's own functions or iterator calls the rest off and is
        raised when all is settled. When cancelled, everything drawn is settled at once: ``unknown``
        where the final dot was written and not answered, else ``withheld``.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        batch = SmtpBatch(observer, on_result, may_send)
        self._batches.append(batch)
        try:
            batch.pull_from(iter(envelopes))
            self._dispatch()
            await batch.done
        except asyncio.CancelledError:
            batch.cancel()
            raise
        finally:
            self._batches.remove(batch)
        if batch.error is not None:
            raise batch.error

    async def close(self, seconds: float = 10.0) -> None:
        """Let messages finish that have begun, withhold the rest, say QUIT; what is still open after
        that many seconds is dropped."""
        self._closed = True
        if self._backoff_timer is not None:
            self._backoff_timer.cancel()
        opening = list(self._opening)
        self._opening.clear()
        for task in opening:
            task.cancel()
        for batch in list(self._batches):
            batch.abort(CANCELLED)
        self._abort_requeued(CANCELLED)
        for connection in list(self._connections):
            connection.draining = True
            if connection in self._idle:
                connection.quit()
        if open_ones := self._connections | self._closing:
            everyone = asyncio.gather(*(connection.closed for connection in open_ones))
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(everyone)
            except TimeoutError:
                for connection in open_ones:
                    connection.abort("closed by us")
                await everyone
        await asyncio.gather(*opening, return_exceptions=True)

    # What connections call (see connection.Desk).

    def next_transfer(self, connection: Connection) -> Transfer | None:
        if self._requeued and (connection.messages_started == 0 or self._backoff_timer is not None):
            while self._requeued:
                job = self._requeued.popleft()
                if job.batch.may_start(job):
                    return job
        for _ in range(len(self._batches)):
            batch = self._batches[0]
            self._batches.rotate(-1)
            if (drawn := batch.next_transfer()) is not None:
                return drawn
        return None

    def became_idle(self, connection: Connection) -> None:
        self._idle.append(connection)

    def transfer_interrupted(self, transfer: Transfer, stage: Stage, detail: str) -> None:
        transfer.lost_connections += 1
        if transfer.batch.abort_reason is not None:
            transfer.finish_aborted(transfer.batch.abort_reason)
        elif transfer.lost_connections >= MAX_LOST_CONNECTIONS:
            transfer.finish(Outcome.DEFERRED, transfer.reply, stage, detail)
        else:
            self._requeued.append(transfer)

    def connection_retired(self, connection: Connection, failed: bool) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.closed.done():
            self._closing.add(connection)
            connection.closed.add_done_callback(lambda _: self._closing.discard(connection))
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if connection.messages_answered or any(other.messages_answered for other in self._connections):
            self._fruitless_connections = 0
        elif failed:
            self._fruitless_connections += 1
            if self._fruitless_connections >= MAX_FRUITLESS_CONNECTIONS:
                self._fruitless_connections = 0
                count = MAX_FRUITLESS_CONNECTIONS
                detail = (
                    f"{count} connections in a row were lost without an answer: {connection.close_reason}"
                )
                self._fail_waiting(BatchAbort(Outcome.RELAY_UNAVAILABLE, Stage.CONNECT, detail=detail))
        self._dispatch()

    # Connections.

    def _dispatch(self) -> None:
        """Give work to connections that rest, then open more if there is work left."""
        now = asyncio.get_running_loop().time()
        while self._idle and not self._closed:
            connection = self._idle.pop()
            if connection.broken or now - connection.idle_since > self.relay.max_idle_seconds:
                connection.quit()
            elif not connection.fill_pipeline():
                break
        self._scale_up()

    def _scale_up(self) -> None:
        """Open what is needed: one connection to find out whether the relay is there, then the others."""
        work = len(self._requeued) + sum(batch.backlog for batch in self._batches)
        if self._closed or not work:
            return
        if not self._connections:
            if not self._opening:
                self._open()
        elif self._backoff_timer is None and (self._requeued or not self._idle):
            free = self.relay.max_connections - len(self._connections)
            # A lost job waits for a new connection, so there must be one to come.
            most = max(min(work, free), 1 if self._requeued else 0)
            while len(self._opening) < most:
                self._open()

    def _open(self) -> None:
        self._opening.add(asyncio.get_running_loop().create_task(self._connect()))

    async def _connect(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        try:
            connection = await self._open_session()
        except RelayUnusable as trouble:
            self._opening.discard(this)
            self._connect_failed(trouble)
        except Exception as trouble:
            # Whatever it is (a bad host name is a UnicodeError), what waits for a connection must hear of it.
            detail = "timed out" if isinstance(trouble, TimeoutError) else str(trouble)
            self._opening.discard(this)
            self._connect_failed(RelayUnusable(Stage.CONNECT, detail or type(trouble).__name__))
        else:
            self._opening.discard(this)
            self._connections.add(connection)
            connection.fill_pipeline()
            self._end_backoff()
            self._dispatch()

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
            connection.session_opened(await open_session(connection, relay, self._context))
        except BaseException:
            connection.abort("the session could not be opened")
            raise
        return connection

    def _connect_failed(self, error: RelayUnusable) -> None:
        if self._connections:
            # Some relays allow fewer connections than we would like: go on with those that work.
            if self._backoff_timer is None:
                loop = asyncio.get_running_loop()
                self._backoff_timer = loop.call_later(CONNECTION_BACKOFF_SECONDS, self._end_backoff)
            self._dispatch()
        elif not self._opening:
            self._fail_waiting(BatchAbort(Outcome.RELAY_UNAVAILABLE, error.stage, error.reply, error.detail))

    def _end_backoff(self) -> None:
        if self._backoff_timer is not None:
            self._backoff_timer.cancel()
            self._backoff_timer = None
            self._dispatch()

    def _fail_waiting(self, reason: BatchAbort) -> None:
        for batch in list(self._batches):
            batch.abort(reason)
        self._abort_requeued(reason)

    def _abort_requeued(self, reason: BatchAbort) -> None:
        while self._requeued:
            self._requeued.popleft().finish_aborted(reason)
