"""The envelopes of one ``Transport.send`` call, and the state of each."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import length_hint
from typing import cast

from mailer.domain.outcomes import Outcome, Reply, Stage
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult


@dataclass(frozen=True, slots=True)
class BatchAbort:
    """The result given to every envelope whose transfer has not started."""

    outcome: Outcome
    stage: Stage
    reply: Reply | None = None
    detail: str = ""


@dataclass(slots=True, eq=False)
class Transfer:
    """The transfer of one envelope. It is finished once and never changes after that."""

    envelope: Envelope
    batch: "SmtpBatch"
    begun_at: float
    """On the loop's clock. A lost connection sets it anew."""
    lost_connections: int = 0
    """How many connections were lost during this transfer before its final dot."""
    full_sessions: int = 0
    """How many sessions refused it only because they had taken enough messages."""
    refused: bool = False
    """Whether the relay has refused it in the current transaction."""
    final_dot_sent: bool = False
    """Whether its final dot has been written, or is written next."""
    finished: bool = False
    reply: Reply | None = None
    """The last reply of a connection that was lost during this transfer (a 421, say)."""

    def finish(self, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str = "") -> None:
        """Report the result of this transfer to its batch."""
        self.batch.finish(self, outcome, reply, stage, detail)

    def finish_aborted(self, abort: BatchAbort) -> None:
        """Finish this transfer with the result of an abort."""
        self.finish(abort.outcome, abort.reply, abort.stage, abort.detail)


ASSUMED_BACKLOG = 1000
"""Envelopes that are assumed to remain in an iterator without a length hint."""
_RAISED = object()
CANCELLED = BatchAbort(Outcome.NOT_SENT, Stage.MAIL, detail="cancelled")


class SmtpBatch:
    """The transfers of one send call. It reports each result once, then resolves ``done``.

    An exception from one of the caller's functions or from the iterator cancels the rest. ``error`` is the
    first such exception.
    """

    def __init__(
        self,
        observer: TransferObserver,
        on_result: Callable[[TransferResult], None],
        may_send: Callable[[Envelope], bool] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.error: BaseException | None = None
        self.abort_reason: BatchAbort | None = None
        self._observer = observer
        self._on_result = on_result
        self._may_send = may_send
        self._source: Iterator[Envelope] | None = None
        self._queue: deque[Envelope] = deque()
        self._transfers: set[Transfer] = set()

    def pull_from(self, source: Iterator[Envelope]) -> None:
        """Set the iterator of envelopes. It is read one envelope ahead of the connections."""
        self._source = source
        self._prefetch()

    @property
    def backlog(self) -> int:
        """The number of envelopes not started yet; an estimate if the iterator has no length hint."""
        remaining = 0 if self._source is None else length_hint(self._source, ASSUMED_BACKLOG)
        return len(self._queue) + remaining

    def next_transfer(self) -> Transfer | None:
        """Return the next transfer that may start now, or None if there is none."""
        while (transfer := self._pop_next()) is not None:
            if self.may_start(transfer):
                return transfer
        return None

    def may_start(self, transfer: Transfer) -> bool:
        """Return whether the transfer may start. If not, it is finished."""
        if not transfer.finished and self.abort_reason is not None:
            transfer.finish_aborted(self.abort_reason)
        return self.may_continue(transfer, Stage.MAIL)

    def may_continue(self, transfer: Transfer, stage: Stage = Stage.DATA) -> bool:
        """Return whether a started transfer may go on. If not, it is finished as ``NOT_SENT``."""
        if transfer.finished:
            return False
        allowed = True if self._may_send is None else self._call(self._may_send, transfer.envelope)
        if allowed is _RAISED or not allowed:
            transfer.finish(Outcome.NOT_SENT, None, stage)
            return False
        return True

    def before_final_dot(self, transfer: Transfer) -> bool:
        """Notify the observer. Return False if that failed: the final dot must not be sent then."""
        transfer.final_dot_sent = self._call(self._observer.before_final_dot, transfer.envelope.key) is not _RAISED
        return transfer.final_dot_sent

    def after_reply(self, transfer: Transfer, reply: Reply) -> None:
        """Notify the observer of the reply to a final dot."""
        self._call(self._observer.after_reply, transfer.envelope.key, reply)

    def finish(self, transfer: Transfer, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str) -> None:
        """Report the result of a transfer, unless it is finished already."""
        if transfer.finished:
            return
        transfer.finished = True
        self._transfers.discard(transfer)
        self._call(self._on_result, TransferResult(transfer.envelope.key, outcome, reply, stage, time.time(), detail))
        self._check_done()

    def abort(self, reason: BatchAbort) -> None:
        """Finish every transfer that has not started with ``reason``, and start no more."""
        self.abort_reason = self.abort_reason or reason
        while (transfer := self._pop_next()) is not None:
            transfer.finish_aborted(self.abort_reason)
        self._check_done()

    def cancel(self) -> None:
        """Finish every transfer now, whatever the relay may still reply.

        The outcome is ``UNKNOWN`` for those whose final dot was sent, else ``NOT_SENT``.
        """
        self.abort(CANCELLED)
        for transfer in list(self._transfers):
            if transfer.final_dot_sent:
                transfer.finish(Outcome.UNKNOWN, None, Stage.FINAL, CANCELLED.detail)
            else:
                transfer.finish_aborted(CANCELLED)

    def end_overdue(self, begun_before: float, detail: str) -> list[Transfer]:
        """Finish the transfers that began before a time and still have no result. Return them."""
        overdue = [transfer for transfer in self._transfers if transfer.begun_at < begun_before]
        for transfer in overdue:
            outcome = Outcome.UNKNOWN if transfer.final_dot_sent else Outcome.DEFERRED
            transfer.finish(outcome, None, Stage.FINAL if transfer.final_dot_sent else Stage.DATA, detail)
        return overdue

    def fail(self, error: BaseException) -> None:
        """Keep the first error of the caller's code, and abort the batch."""
        if self.error is None:
            self.error = error
            self.abort(CANCELLED)

    def _pop_next(self) -> Transfer | None:
        if not self._queue:
            return None
        transfer = Transfer(self._queue.popleft(), self, self._loop.time())
        self._transfers.add(transfer)
        self._prefetch()
        return transfer

    def _prefetch(self) -> None:
        """Read one envelope ahead, so that the end of the source is noticed at once."""
        if self._source is not None and not self._queue:
            envelope = self._call(next, self._source, None)
            if envelope is None or envelope is _RAISED:
                self._source = None
                self._check_done()
            else:
                self._queue.append(cast(Envelope, envelope))

    def _call(self, function: Callable[..., object], *arguments: object) -> object:
        """Call a function of the caller. Return its result, or ``_RAISED`` after an exception.

        The exception fails this batch only: it must not escape into a callback that serves other batches.
        """
        try:
            return function(*arguments)
        except Exception as error:
            self.fail(error)
            return _RAISED

    def _check_done(self) -> None:
        if not self._transfers and not self._queue and self._source is None and not self.done.done():
            self.done.set_result(None)
