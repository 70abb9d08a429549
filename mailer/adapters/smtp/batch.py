"""The envelopes of one call to send, and what is known of each."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import length_hint
from typing import cast

from mailer.domain.handover import Envelope, Handover, Result
from mailer.domain.outcomes import Outcome, Reply, Stage


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer for every envelope that has not been begun."""

    outcome: Outcome
    stage: Stage
    reply: Reply | None = None
    detail: str = ""


@dataclass(slots=True, eq=False)
class Job:
    """An envelope on its way. It is settled once and never changes after that."""

    envelope: Envelope
    batch: "Batch"
    losses: int = 0
    """Connections that were lost under it before its final dot."""
    refused: bool = False
    """The relay refused it in this transaction."""
    dotted: bool = False
    """Its final dot was written, or is about to be."""
    settled: bool = False
    reply: Reply | None = None
    """The last word of a connection that was lost under it (421)."""

    def settle(self, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str = "") -> None:
        self.batch.settle(self, outcome, reply, stage, detail)

    def settle_by(self, verdict: Verdict) -> None:
        self.settle(verdict.outcome, verdict.reply, verdict.stage, verdict.detail)


UNKNOWN_LENGTH = 1000
_RAISED = object()
CALLED_OFF = Verdict(Outcome.WITHHELD, Stage.MAIL, detail="called off")


class Batch:
    """Gives envelopes out one by one, calls ``on_result`` once for each, and knows when all is done.

    An exception from one of the caller's functions or from their iterator calls the rest off; ``error``
    keeps the first.
    """

    def __init__(
        self,
        handover: Handover,
        on_result: Callable[[Result], None],
        may_send: Callable[[Envelope], bool] | None,
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: BaseException | None = None
        self.verdict: Verdict | None = None
        self._handover = handover
        self._on_result = on_result
        self._may_send = may_send
        self._source: Iterator[Envelope] | None = None
        self._queue: deque[Envelope] = deque()
        self._sealed = False
        self._jobs: set[Job] = set()
        self._room = asyncio.Event()

    # Envelopes come in.

    def draw_from(self, source: Iterator[Envelope]) -> None:
        """Envelopes are taken from ``source`` one ahead of the connections that are ready for them."""
        self._source = source
        self._sealed = True
        self._draw()

    def add(self, envelope: Envelope) -> None:
        self._queue.append(envelope)
        if self.verdict is not None:
            self.stop(self.verdict)

    async def room(self, most: int) -> None:
        """Wait until fewer than ``most`` envelopes wait here."""
        while len(self._queue) >= most:
            self._room.clear()
            await self._room.wait()

    def seal(self) -> None:
        """No more will be added."""
        self._sealed = True
        self._check_done()

    # Jobs go out.

    @property
    def backlog(self) -> int:
        """How many envelopes wait to be taken; a guess where the iterator does not know."""
        drawn = 0 if self._source is None else length_hint(self._source, UNKNOWN_LENGTH)
        return len(self._queue) + drawn

    def take(self) -> Job | None:
        """The next envelope that may be sent now."""
        while (job := self._next()) is not None:
            if self.permits(job):
                return job
        return None

    def permits(self, job: Job) -> bool:
        """Whether the job may be begun; if not, it is settled."""
        if not job.settled and self.verdict is not None:
            job.settle_by(self.verdict)
        return self.still_permits(job, Stage.MAIL)

    def still_permits(self, job: Job, stage: Stage = Stage.DATA) -> bool:
        """Whether the job that was begun may go on; if not, it is settled as withheld."""
        if job.settled:
            return False
        allowed = True if self._may_send is None else self._call(self._may_send, job.envelope)
        if allowed is _RAISED or not allowed:
            job.settle(Outcome.WITHHELD, None, stage)
            return False
        return True

    def about_to_finish(self, job: Job) -> bool:
        """Tell the journal; False if it could not write that down, and then the dot must not go out."""
        job.dotted = self._call(self._handover.about_to_finish, job.envelope.key) is not _RAISED
        return job.dotted

    def answered(self, job: Job, reply: Reply) -> None:
        self._call(self._handover.answered, job.envelope.key, reply)

    # Results come back.

    def settle(self, job: Job, outcome: Outcome, reply: Reply | None, stage: Stage, detail: str) -> None:
        if job.settled:
            return
        job.settled = True
        self._jobs.discard(job)
        self._call(self._on_result, Result(job.envelope.key, outcome, reply, stage, time.time(), detail))
        self._check_done()

    def stop(self, verdict: Verdict) -> None:
        """Settle all that was not begun, and all that may still come, by ``verdict``."""
        self.verdict = self.verdict or verdict
        while (job := self._next()) is not None:
            job.settle_by(self.verdict)
        self._check_done()

    def call_off(self) -> None:
        """Settle everything now; nothing more is reported, whatever the connections still hear."""
        self.stop(CALLED_OFF)
        for job in list(self._jobs):
            if job.dotted:
                job.settle(Outcome.UNKNOWN, None, Stage.FINAL, CALLED_OFF.detail)
            else:
                job.settle_by(CALLED_OFF)

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
            self.stop(CALLED_OFF)

    def _next(self) -> Job | None:
        if not self._queue:
            return None
        job = Job(self._queue.popleft(), self)
        self._jobs.add(job)
        self._room.set()
        self._draw()
        return job

    def _draw(self) -> None:
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
        if (
            self._sealed
            and not self._jobs
            and not self._queue
            and self._source is None
            and not self.done.done()
        ):
            self.done.set_result(None)
