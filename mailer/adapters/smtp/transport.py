"""The connections of one process to a relay, and the messages sent over them."""

import asyncio
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable

from mailer.adapters.smtp.batch import CANCELLED, BatchAbort, SmtpBatch, Transfer
from mailer.adapters.smtp.connection import Connection
from mailer.adapters.smtp.connection_target import ConnectionTarget
from mailer.adapters.smtp.relay import Relay, Tls
from mailer.adapters.smtp.session import RelayUnusable, open_session
from mailer.domain.outcomes import Outcome, Stage, classify
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult

MAX_LOST_CONNECTIONS = 2
"""Lost connections before its final dot after which a message is deferred."""
MAX_FRUITLESS_CONNECTIONS = 8
"""Connections lost in a row, without a reply to a message, before the relay is unavailable.

It limits the deliveries that become uncertain if a relay closes every connection after the final dot.
"""
CONNECTION_BACKOFF_SECONDS = 5.0
"""Seconds before another connection is tried after the relay refused an additional one."""
_WATCH_SECONDS = 0.25
"""Between two looks at transfers and connections."""
_log = logging.getLogger("mailer")


class Transport:
    """Sends messages to a relay. It belongs to one event loop and connects on demand."""

    def __init__(self, relay: Relay, ssl_context: ssl.SSLContext | None = None) -> None:
        self.relay = relay
        if ssl_context is None and relay.tls is not Tls.NONE:
            ssl_context = ssl.create_default_context()
        self._context = ssl_context
        self._batches: deque[SmtpBatch] = deque()
        self._requeued: deque[Transfer] = deque()
        """Transfers whose connection was lost.

        Each goes first on a new connection, so that a relay which disconnects after every message does not lose
        the same one twice.
        """
        self._connections: set[Connection] = set()
        self._target = ConnectionTarget(relay.min_connections, relay.max_connections)
        self._answered = 0
        """Messages that connections which are closed now had answered."""
        self._idle: list[Connection] = []
        self._closing: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._fruitless_connections = 0
        self._backoff_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._watchdog: asyncio.TimerHandle | None = None
        self.watched_at: float | None = None
        """When the watchdog last ran, on the monotonic clock; None while there is nothing to send."""
        self.ended_transfers = 0
        """Transfers that the watchdog has ended."""
        self.ended_at = float("-inf")
        """When it last did, on the monotonic clock."""

    async def send(
        self,
        envelopes: Iterable[Envelope],
        observer: TransferObserver,
        on_result: Callable[[TransferResult], None],
        may_send: Callable[[Envelope], bool] | None = None,
    ) -> None:
        """Send all envelopes and call ``on_result`` once for each, in no particular order.

        The iterator is read as connections become ready. ``may_send`` is called immediately before the commands of
        a message are written, and again before its body is. If it returns False, the outcome is ``NOT_SENT``,
        as for every message that has not started when the call is cancelled.

        SMTP errors are results and never raised. An exception of the caller's functions or iterator cancels
        the rest, and is raised once all transfers are finished. If the task is cancelled, the transfers in progress
        are finished at once: ``UNKNOWN`` if the final dot was written and not answered, else ``NOT_SENT``.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        batch = SmtpBatch(observer, on_result, may_send)
        self._batches.append(batch)
        try:
            batch.pull_from(iter(envelopes))
            self.watched_at = time.monotonic()
            if self._watchdog is None:
                self._watch()
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
        """Finish the transfers in progress, cancel the others, and quit every connection.

        Connections that are still open after ``seconds`` are dropped.
        """
        self._closed = True
        for timer in (self._backoff_timer, self._watchdog):
            if timer is not None:
                timer.cancel()
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
        if connections := self._connections | self._closing:
            all_closed = asyncio.gather(*(connection.closed for connection in connections))
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(all_closed)
            except TimeoutError:
                for connection in connections:
                    connection.abort("the transport was closed")
                await all_closed
        await asyncio.gather(*opening, return_exceptions=True)

    def _watch(self) -> None:
        """Look at transfers and connections, and again soon, as long as there are any."""
        self._end_overdue()
        self._adapt_connections()
        active = bool(self._batches or self._connections) and not self._closed
        self.watched_at = time.monotonic() if self._batches else None
        seconds = min(_WATCH_SECONDS, self.relay.timeouts.transfer / 10)
        self._watchdog = asyncio.get_running_loop().call_later(seconds, self._watch) if active else None

    def _adapt_connections(self) -> None:
        """Close connections that were idle for long, and open more if more bring more throughput."""
        now = asyncio.get_running_loop().time()
        idle = [one for one in self._idle if now - one.idle_since > self.relay.max_idle_seconds]
        for connection in idle:
            connection.quit()
        if idle:
            self._target.shrink(len(self._connections))
        answered = self._answered + sum(connection.messages_answered for connection in self._connections)
        saturated = len(self._connections) >= self._target.current and not self._idle and self._work() > 0
        self._target.observe(now, answered, saturated)
        self._scale_up()

    @property
    def open_connections(self) -> int:
        """The number of connections that can send."""
        return len(self._connections)

    @property
    def capacity(self) -> int:
        """How many transfers can have begun at once: without a window, one is ahead on each connection."""
        return self._target.current * max(2, self.relay.window)

    def _work(self) -> int:
        """Return how many transfers wait for a connection."""
        return len(self._requeued) + sum(batch.backlog for batch in self._batches)

    def _end_overdue(self) -> None:
        """End transfers without a result for longer than all time-outs together.

        Time-outs end whatever a relay delays. What remains is a relay that takes a body drop by drop, or a fault
        of ours; neither may hold a batch for ever.
        """
        loop, limit = asyncio.get_running_loop(), self.relay.timeouts.transfer
        detail = f"no result within {limit:.0f} seconds"
        overdue = [one for batch in self._batches for one in batch.end_overdue(loop.time() - limit, detail)]
        if overdue:
            self.ended_transfers += len(overdue)
            self.ended_at = time.monotonic()
            _log.error("%s: %d transfers had %s", self.relay.address, len(overdue), detail)
            for connection in list(self._connections):
                if any(connection.has_begun(transfer) for transfer in overdue):
                    connection.abort(detail)

    # The methods of connection.WorkSource.

    def next_transfer(self, connection: Connection) -> Transfer | None:
        """Return the next transfer to start: requeued ones first, then the batches in turn."""
        if self._requeued and (connection.messages_started == 0 or self._backoff_timer is not None):
            while self._requeued:
                requeued = self._requeued.popleft()
                if requeued.batch.may_start(requeued):
                    return requeued
        if len(self._connections) > self._target.current and (
            sum(not one.draining for one in self._connections) > self._target.current
        ):
            connection.draining = True
            return None
        for _ in range(len(self._batches)):
            batch = self._batches[0]
            self._batches.rotate(-1)
            if (transfer := batch.next_transfer()) is not None:
                return transfer
        return None

    def became_idle(self, connection: Connection) -> None:
        """Keep the connection for later transfers."""
        self._idle.append(connection)

    def transfer_interrupted(self, transfer: Transfer, stage: Stage, detail: str) -> None:
        """Requeue a transfer whose connection was lost, or finish it."""
        transfer.lost_connections += 1
        transfer.begun_at = asyncio.get_running_loop().time()
        if transfer.batch.abort_reason is not None:
            transfer.finish_aborted(transfer.batch.abort_reason)
        elif transfer.lost_connections >= MAX_LOST_CONNECTIONS:
            outcome = classify(transfer.reply, stage) if transfer.reply else Outcome.DEFERRED
            transfer.finish(outcome, transfer.reply, stage, detail)
        else:
            self._requeued.append(transfer)

    def session_full(self, transfer: Transfer) -> None:
        """Requeue a transfer that needs another session. That is no fault of its own, nor a lost connection."""
        transfer.full_sessions += 1
        transfer.begun_at = asyncio.get_running_loop().time()
        if transfer.batch.abort_reason is not None:
            transfer.finish_aborted(transfer.batch.abort_reason)
        else:
            self._requeued.append(transfer)

    def connection_retired(self, connection: Connection, failed: bool) -> None:
        """Remove a connection. After too many failures in a row, finish the waiting transfers."""
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.closed.done():
            self._closing.add(connection)
            connection.closed.add_done_callback(lambda _: self._closing.discard(connection))
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._answered += connection.messages_answered
        if connection.messages_answered or any(other.messages_answered for other in self._connections):
            self._fruitless_connections = 0
        elif failed:
            self._fruitless_connections += 1
            if self._fruitless_connections >= MAX_FRUITLESS_CONNECTIONS:
                self._fruitless_connections = 0
                count = MAX_FRUITLESS_CONNECTIONS
                detail = f"{count} connections in a row were lost without a reply: {connection.close_reason}"
                self._fail_waiting(BatchAbort(Outcome.RELAY_UNAVAILABLE, Stage.CONNECT, detail=detail))
        self._dispatch()

    def _dispatch(self) -> None:
        """Start transfers on idle connections, then open more connections if work remains."""
        now = asyncio.get_running_loop().time()
        while self._idle and not self._closed:
            connection = self._idle.pop()
            if connection.broken or now - connection.idle_since > self.relay.max_idle_seconds:
                connection.quit()
            elif not connection.fill_pipeline():
                break
        if self.relay.window > 1:
            for connection in list(self._connections):
                connection.fill_window()
        self._scale_up()

    def _scale_up(self) -> None:
        """Open the connections needed: one to learn whether the relay is available, then the others."""
        work = self._work()
        if self._closed or not work:
            return
        if not self._connections:
            if not self._opening:
                self._open()
        elif self._backoff_timer is None and (self._requeued or not self._idle):
            free = self._target.current - len(self._connections)
            # A requeued transfer needs a new connection.
            needed = max(min(work, free), 1 if self._requeued else 0)
            while len(self._opening) < needed:
                self._open()

    def _open(self) -> None:
        self._opening.add(asyncio.get_running_loop().create_task(self._connect()))

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._open_session()
        except RelayUnusable as error:
            self._opening.discard(task)
            self._connect_failed(error)
        except Exception as error:
            # Any error (UnicodeError for a bad host name, say) must finish the waiting transfers.
            detail = "timed out" if isinstance(error, TimeoutError) else str(error)
            self._opening.discard(task)
            self._connect_failed(RelayUnusable(Stage.CONNECT, detail or type(error).__name__))
        else:
            self._opening.discard(task)
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

    async def check(self) -> None:
        """Open a session, log in if a user name is set, and quit. Raises RelayUnusable or OSError."""
        connection = await self._open_session()
        connection.quit()
        await connection.closed

    def _connect_failed(self, error: RelayUnusable) -> None:
        if self._connections:
            # Some relays allow fewer connections than max_connections: continue with those that are open.
            loop = asyncio.get_running_loop()
            self._target.limit(loop.time(), len(self._connections) + len(self._opening))
            if self._backoff_timer is None:
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
