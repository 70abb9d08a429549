"""One claim of a batch, from its first chunk to the last."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from mailer.domain.accounts import THE_SERVICE
from mailer.domain.labels import PAUSE_REASON_LABELS
from mailer.domain.outcomes import redact_addresses
from mailer.domain.ports import Journal
from mailer.domain.states import DeliveryState, IssueEventKind, IssueState, PauseReason
from mailer.domain.transfer import Envelope
from mailer.services.delivery.send.chunk import Chunk, ChunkResult, Reservation, collect, reserve, submit
from mailer.services.delivery.send.context import SendContext
from mailer.services.delivery.send.recorder import record, release
from mailer.services.delivery.traffic import SendPermit
from mailer.store import batches, issues, ledger
from mailer.store.batches import Claim
from mailer.store.database import DatabaseDown, Deadlock, Session

T = TypeVar("T")
_log = logging.getLogger("mailer")


@dataclass(slots=True)
class BatchSender:
    context: SendContext
    claim: Claim
    journal: Journal
    bounce_domain: str
    cursor: int = 0
    """The subscriber from which on to reserve the next deliveries."""
    transferred: int = 0
    draining: bool = False
    """Reserve no more: everything was reserved, the issue is paused, or the journal cannot be written."""
    not_before: datetime | None = None
    """Until then it is not worth claiming the batch again."""
    use_retry_queue: bool = False
    """What is left waits for its providers: it goes on by the retry queue, where that holds up nobody."""
    cancelled: bool = False
    """The issue is stopped or the batch lost: what was not yet begun with the relay is withheld."""
    pause_reason: PauseReason | None = None
    """The relay refuses the message itself, or our sender, which pauses the issue."""
    pause_detail: str = ""
    """Its reply."""
    _chunks: deque[Chunk] = field(default_factory=deque)
    """Those in flight, in the order in which they were submitted."""
    _no_longer_sendable: Collection[int] = ()
    """Subscribers in flight who must not be mailed any more since they were reserved."""
    _any_sent: bool = False
    """Whether a delivery of the issue is known to have been sent."""
    _waited_seconds: float = 0.0
    _provider_waits: dict[str, float] = field(default_factory=dict)
    """Providers whose limit was reached since the batch was scanned from its beginning, and the seconds until more
    may go there."""

    def run(self) -> int:
        """Send what is due; return how many deliveries were handed over."""
        self.cursor = self.claim.first_subscriber_id
        self._any_sent = self._transact(lambda session: ledger.count_sent_and_failed(session, self.claim.issue)[0] > 0)
        chunks = self._chunks
        ours, recorded, full = True, False, False
        try:
            while ours and (chunks or not self.draining):
                self.draining |= self.context.stopping.is_set()
                result = None
                if chunks and (self.draining or full or len(chunks) >= self.context.limits.max_chunks_in_flight):
                    result = self._wait_for_result(chunks[0])
                permit = SendPermit() if self.draining else self._with_retries(self._acquire_permit)
                full = not permit.count
                if full and result is None:
                    if not chunks:
                        ours = self._wait_for_permit(permit.wait_seconds)
                    continue
                reservation = self._record_and_reserve(result, permit)
                if result is not None:
                    chunks.popleft()
                if reservation is None:
                    ours = False
                elif reservation.deliveries:
                    chunks.append(self._submit(reservation, permit))
                elif permit.count:
                    full = True
                    if not self._provider_waits:
                        self.draining = True
                    elif not chunks:
                        ours = self._restart_scan()
            recorded = ours
            if ours:
                self._transact(self._release_batch)
        finally:
            for chunk in chunks:  # what is in flight still writes to the journal
                chunk.transfer.exception()
            if recorded:
                self.journal.delete()
            else:
                self.journal.close()
        if self.pause_reason:
            self._pause_issue()
        return self.transferred

    def _restart_scan(self) -> bool:
        """Wait, then start again with the first delivery, since no due delivery may be reserved now.

        Returns whether the batch is still ours.
        """
        wait = min(self._provider_waits.values())
        self.cursor, self._provider_waits = self.claim.first_subscriber_id, {}
        if not self._transact(lambda session: ledger.has_due(session, self.claim)):
            self.draining = True
            return True
        # Nobody waits for one provider on the queue of first attempts: the rest goes to the retry queue.
        self.use_retry_queue = True
        if self.claim.is_retry:
            return self._wait_for_permit(wait, whole_issue=False)
        self._postpone(wait)
        return True

    def _wait_for_permit(self, seconds: float, *, whole_issue: bool = True) -> bool:
        """Wait until more may be sent, or give the batch back for later. Return whether it is still ours.

        ``whole_issue``: no batch of this issue could be sent now, not only what is left of this one.
        """
        limit = self.context.limits.max_permit_wait_seconds
        self._waited_seconds += seconds
        if seconds > limit or (
            self._waited_seconds > limit
            and self._transact(lambda session: batches.has_waiting(session, self.claim, other_issue=whole_issue))
        ):
            self._postpone(seconds)
            return True
        self.context.stopping.wait(seconds)
        return self._renew_lease()

    def _postpone(self, seconds: float) -> None:
        self.draining = True
        seconds = min(seconds, self.context.limits.max_postponement_seconds)
        self.not_before = self.context.clock.now() + timedelta(seconds=seconds)

    def _renew_lease(self) -> bool:
        """Keep the batch, and look whether anything in flight must not be sent. Return whether it is still ours."""
        return self._record_and_reserve(None, SendPermit()) is not None

    def _record_and_reserve(self, result: ChunkResult | None, permit: SendPermit) -> Reservation | None:
        """Record a chunk and reserve the next one, in one transaction; None: another worker has the batch."""
        shaper, lease = self.context.traffic_shaper, self.context.limits.lease

        def step(session: Session) -> Reservation | None:
            running = batches.renew_lease(session, self.claim, lease)
            if running is None:
                return None
            now = self.context.clock.now()
            if result is not None:
                self._record(session, result, now)
            self.draining |= not running
            self.cancelled |= not running
            reservation = reserve(
                session, self.context, self.claim, self.cursor, permit if running else SendPermit(), now
            )
            if result is None and self._chunks:
                in_flight = [one.subscriber for chunk in self._chunks for one in chunk.deliveries]
                self._no_longer_sendable = ledger.no_longer_sendable(session, self.claim, in_flight)
            return reservation

        started = self.context.clock.monotonic()
        reservation = self._transact(step)
        if reservation is None:
            self.cancelled = True
            self.journal.deadline = started  # the worker that has the batch now deals with what is in flight
            return None
        self.journal.deadline = self.context.final_dot_deadline(started)
        self.cursor = reservation.cursor
        if permit.count:
            self._provider_waits |= shaper.release_unused(permit, reservation.providers)
        return reservation

    def _record(self, session: Session, result: ChunkResult, now: datetime) -> None:
        shaper, route = self.context.traffic_shaper, result.chunk.route
        record(session, self.claim, result.updates, self.claim.epoch, now, route.relay)
        unused = sum(not update.attempted for update in result.updates)
        shaper.relays.count_warm_up(session, route, -unused, result.chunk.day)
        shaper.apply_feedback(session, result.stats, now)
        self._any_sent |= any(update.state is DeliveryState.sent for update in result.updates)
        failed = [update for update in result.updates if update.state is DeliveryState.failed]
        if failed and not self._any_sent and not self.pause_reason and self._all_refused(session):
            self.pause_reason, self.pause_detail = PauseReason.first_refused, redact_addresses(failed[-1].reply)
            self.draining = True

    def _all_refused(self, session: Session) -> bool:
        """Return whether the issue's first deliveries all failed, and nobody has looked at that and resumed it."""
        sent, failed = ledger.count_sent_and_failed(session, self.claim.issue)
        return (
            not sent
            and failed >= self.context.limits.initial_refusals
            and not issues.has_event(session, self.claim.issue, IssueEventKind.resumed)
        )

    def _release_batch(self, session: Session) -> None:
        if batches.renew_lease(session, self.claim, self.context.limits.lease) is None:
            return
        # Nothing is in flight. If the answer to a commit was lost, and the step done again, some may be left.
        ledger.unreserve(session, self.claim)
        release(session, self.claim, self.context.clock.now(), self.not_before, as_retry=self.use_retry_queue)

    def _acquire_permit(self) -> SendPermit:
        count = self.context.chunk_size.current
        if not self._any_sent:  # a relay that refuses everything shall not refuse thousands
            count = min(count, self.context.limits.initial_refusals)
        return self.context.traffic_shaper.acquire(self.claim.issue, count)

    def _transact(self, work: Callable[[Session], T]) -> T:
        def once() -> T:
            with self.context.database.transaction() as session:
                return work(session)

        return self._with_retries(once)

    def _with_retries(self, work: Callable[[], T]) -> T:
        """Run ``work``, retrying while the database is down or after a deadlock, until the lease may have expired."""
        until = self.journal.deadline
        while True:
            try:
                return work()
            except (DatabaseDown, Deadlock):
                if self.context.clock.monotonic() > until or self.context.stopping.is_set():
                    raise
                time.sleep(self.context.limits.database_retry_seconds)

    def _submit(self, reservation: Reservation, permit: SendPermit) -> Chunk:
        chunk = submit(
            self.context,
            self.claim,
            reservation,
            permit,
            self.journal,
            self.bounce_domain,
            self._may_send,
        )
        self.transferred += len(chunk.deliveries) - len(chunk.unsent)
        return chunk

    def _may_send(self, envelope: Envelope) -> bool:
        return not (self.cancelled or envelope.key in self._no_longer_sendable or self.context.stopping.is_set())

    def _wait_for_result(self, chunk: Chunk) -> ChunkResult:
        """Wait for a chunk in flight, keeping the lease alive, and note what its results mean for the batch."""
        limits = self.context.limits
        while True:
            try:
                report = chunk.transfer.result(limits.control_poll_seconds)
                break
            except FutureTimeout:
                self._renew_lease()
        result = collect(self.context, chunk, report)
        self.context.traffic_shaper.count_outcomes(result.stats, "retry" if self.claim.is_retry else "send")
        if result.journal_failed:
            self.not_before = self.context.clock.now() + limits.journal_error_backoff
        if result.pause_reason:
            self.pause_reason, self.pause_detail = result.pause_reason, result.pause_detail
        self.draining |= result.journal_failed or result.relay_unavailable or bool(result.pause_reason)
        return result

    def _pause_issue(self) -> None:
        assert self.pause_reason
        with self.context.database.transaction() as session:
            issue = issues.lock(session, self.claim.issue)
            if issue.state is IssueState.sending:
                issues.pause(session, issue, self.pause_reason, THE_SERVICE, self.pause_detail)
                reason = PAUSE_REASON_LABELS[self.pause_reason]
                _log.error("Issue %s is paused: %s: %s", issue.id, reason, self.pause_detail)
