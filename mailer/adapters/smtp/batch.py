"""The envelopes of one call to send, and what is known of each."""

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
    """One answer for every envelope that has not been begun."""

    outcome: Outcome
    stage: Stage
    reply: Reply | None = None
    detail: str = ""


@dataclass(slots=True, eq=False)
class Transfer:
    """An envelope on its way. It is settled once and never changes after that."""

    envelope: Envelope
    batch: "SmtpBatch"
    lost_connections: int = 0
    """Connections that were lost under it before its final dot."""
    refused: bool = False
    """The relay refused it in this transaction."""
    final_dot_sent: bool = False
    """Its final dot was written, or is about to be."""
    finished: bool = False
    reply: Reply | None = None
    """The last word of a connection that was lost under it (421)."""

    def finish(self, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str = "") -> None:
        self.batch.finish(self, outcome, reply, stage, detail)

    def finish_aborted(self, abort: BatchAbort) -> None:
        self.finish(abort.outcome, abort.reply, abort.stage, abort.detail)


ASSUMED_BACKLOG = 1000
_RAISED = object()
CANCELLED = BatchAbort(Outcome.NOT_SENT, Stage.MAIL, detail="called off")


class SmtpBatch:
    """Gives envelopes out one by one, calls ``on_result`` once for each, and knows when all is done.

    An exception from one of the caller's functions or from their iterator calls the rest off; ``error``
    keeps the first.
    """

    def __init__(
        self,
        observer: TransferObserver,
        on_result: Callable[[TransferResult], None],
        may_send: Callable[[Envelope], bool] | None,
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: BaseException | None = None
        self.abort_reason: BatchAbort | None = None
        self._observer = observer
        self._on_result = on_result
        self._may_send = may_send
        self._source: Iterator[Envelope] | None = None
        self._queue: deque[Envelope] = deque()
        self._transfers: set[Transfer] = set()

    # Envelopes come in.

    def pull_from(self, source: Iterator[Envelope]) -> None:
        """Envelopes are taken from ``source`` one ahead of the connections that are ready for them."""
        self._source = source
        self._prefetch()

    # Jobs go out.

    @property
    def backlog(self) -> int:
        """How many envelopes wait to be taken; a guess where the iterator does not know."""
        drawn = 0 if self._source is None else length_hint(self._source, ASSUMED_BACKLOG)
        return len(self._queue) + drawn

    def next_transfer(self) -> Transfer | None:
        """The next envelope that may be sent now."""
        while (job := self._pop_next()) is not None:
            if self.may_start(job):
                return job
        return None

    def may_start(self, transfer: Transfer) -> bool:
        """Whether the job may be begun; if not, it is settled."""
        if not transfer.finished and self.abort_reason is not None:
            transfer.finish_aborted(self.abort_reason)
        return self.may_continue(transfer, Stage.MAIL)

    def may_continue(self, transfer: Transfer, stage: Stage = Stage.DATA) -> bool:
        """Whether the job that was begun may go on; if not, it is settled as withheld."""
        if transfer.finished:
            return False
        allowed = True if self._may_send is None else self._call(self._may_send, transfer.envelope)
        if allowed is _RAISED or not allowed:
            transfer.finish(Outcome.NOT_SENT, None, stage)
            return False
        return True

    def before_final_dot(self, transfer: Transfer) -> bool:
        """Tell the journal; False if it could not write that down, and then the dot must not go out."""
        transfer.final_dot_sent = (
            self._call(self._observer.before_final_dot, transfer.envelope.key) is not _RAISED
        )
        return transfer.final_dot_sent

    def after_reply(self, transfer: Transfer, reply: Reply) -> None:
        self._call(self._observer.after_reply, transfer.envelope.key, reply)

    # Results come back.

    def finish(
        self, transfer: Transfer, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str
    ) -> None:
        if transfer.finished:
            return
        transfer.finished = True
        self._transfers.discard(transfer)
        self._call(
            self._on_result, TransferResult(transfer.envelope.key, outcome, reply, stage, time.time(), detail)
        )
        self._check_done()

    def abort(self, reason: BatchAbort) -> None:
        """Finish every envelope that was not begun, drawn or not, with ``reason``."""
        self.abort_reason = self.abort_reason or reason
        while (job := self._pop_next()) is not None:
            job.finish_aborted(self.abort_reason)
        self._check_done()

    def cancel(self) -> None:
        """Settle everything now; nothing more is reported, whatever the connections still hear."""
        self.abort(CANCELLED)
        for job in list(self._transfers):
            if job.final_dot_sent:
                job.finish(Outcome.UNKNOWN, None, Stage.FINAL, CANCELLED.detail)
            else:
                job.finish_aborted(CANCELLED)

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
            self.abort(CANCELLED)

    def _pop_next(self) -> Transfer | None:
        if not self._queue:
            return None
        job = Transfer(self._queue.popleft(), self)
        self._transfers.add(job)
        self._prefetch()
        return job

    def _prefetch(self) -> None:
        """Have one envelope of the source at hand, so that its end is known as soon as it is reached."""
        if self._source is not None and not self._queue:
            drawn = self._call(next, self._source, None)
            if drawn is None or drawn is _RAISED:
                self._source = None
                self._check_done()
            else:
                self._queue.append(cast(Envelope, drawn))

    def _call(self, function: Callable[..., object], *arguments: object) -> object:
        """Call what the caller gave us. An exception of theirs must not end the event loop's callback
        that serves other batches too: it ends this batch."""
        try:
            return function(*arguments)
        except Exception as error:
            self.fail(error)
            return _RAISED

    def _check_done(self) -> None:
        if not self._transfers and not self._queue and self._source is None and not self.done.done():
            self.done.set_result(None)
