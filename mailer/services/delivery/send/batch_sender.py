"""One claim of a batch, from its first micro-batch to the last."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, TypeVar, cast

from mailer.domain import headers
from mailer.domain.decisions import decide
from mailer.domain.email_addresses import to_smtp
from mailer.domain.message import CompiledMessage, mailbox
from mailer.domain.outcomes import Outcome, redact_addresses
from mailer.domain.ports import Journal, SubscriberSlots, TransferReport
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.states import DeliveryState, IssueState
from mailer.domain.transfer import Envelope
from mailer.services.delivery.send.chunk_stats import ChunkStats, summarize
from mailer.services.delivery.send.traffic_shaper import SendPermit
from mailer.store import batches, feedback, issues, ledger, resolution, throttles
from mailer.store.batches import Claim
from mailer.store.database import DatabaseDown, Deadlock, Session
from mailer.store.ledger import DeliveryUpdate, DueDelivery

if TYPE_CHECKING:
    from mailer.services.delivery.send.worker import SendWorker

FINAL_DOT_MARGIN_SECONDS = 2.0
"""Seconds of lease that must be left when a message's final dot goes out."""
_MAX_CHUNKS_IN_FLIGHT = 2
"""Micro-batches that are with the relay at once."""
_CONTROL_POLL_SECONDS = 0.5
"""Seconds after which a micro-batch that is still with the relay is looked after: was the issue stopped?"""
_MAX_PERMIT_WAIT_SECONDS = 3.0
"""Seconds for which a claim waits for leave to send; then other batches have their turn."""
_JOURNAL_ERROR_BACKOFF = timedelta(seconds=5)

T = TypeVar("T")
_log = logging.getLogger("mailer")


@dataclass(slots=True)
class _Chunk:
    """A micro-batch that is with the relay."""

    route: RelayRoute
    deliveries: Sequence[DueDelivery]
    providers: Sequence[str]
    """Of each of ``due``."""
    unsent: Sequence[DeliveryUpdate]
    """Deliveries that were taken and are not with the relay: no message could be made, or none may go there."""
    transfer: Future[TransferReport]
    started: float
    """On the monotonic clock."""
    day: date
    """That on which it was taken: a relay that warms up counts by days."""


@dataclass(frozen=True, slots=True)
class _ChunkResult:
    """What is to be recorded of a flight."""

    chunk: _Chunk | None = None
    updates: Sequence[DeliveryUpdate] = ()
    stats: ChunkStats | None = None


_NO_RESULT = _ChunkResult()


@dataclass(slots=True)
class BatchSender:
    worker: "SendWorker"
    claim: Claim
    journal: Journal
    bounce_domain: str
    cursor: int = 0
    transferred: int = 0
    draining: bool = False
    """Take no more: all was taken, the issue is paused, or the journal cannot be written."""
    not_before: datetime | None = None
    """Not before then is it worth taking more of this batch."""
    use_retry_queue: bool = False
    """What is left waits for destinations: it goes on by the queue where that holds up nobody."""
    cancelled: bool = False
    """The issue is stopped, or the batch lost: what the relay has not begun to get is withheld."""
    pause_reason: str = ""
    """The relay's word on the message itself, or on our sender, which pauses the issue."""
    _chunks: deque[_Chunk] = field(default_factory=deque)
    """Those in the air, in the order in which they took off."""
    _no_longer_sendable: Collection[int] = ()
    """Readers in flight who have left since they were taken, or must not be mailed any more."""
    _waited_seconds: float = 0.0
    _provider_waits: dict[str, float] = field(default_factory=dict)
    """Destinations whose limit was reached since the batch was looked through from its beginning, and the
    seconds until more may go there."""

    def run(self) -> int:
        """Returns how many deliveries were handed over."""
        self.cursor = self.claim.first_subscriber_id
        flights = self._chunks
        ours, recorded, full = True, False, False
        try:
            while ours and (flights or not self.draining):
                self.draining |= self.worker.stopping.is_set()
                landed = None
                if flights and (self.draining or full or len(flights) >= _MAX_CHUNKS_IN_FLIGHT):
                    landed = self._collect(flights[0])
                leave = SendPermit() if self.draining else self._with_retries(self._acquire_permit)
                full = not leave.count
                if full and landed is None:
                    if not flights:
                        ours = self._wait_for_permit(leave.wait_seconds)
                    continue
                due, templates, destinations, ours = self._record_and_reserve(landed or _NO_RESULT, leave)
                if landed is not None:
                    flights.popleft()
                if due:
                    flights.append(self._submit(leave, due, destinations, templates))
                elif leave.count and ours:
                    full = True
                    if not self._provider_waits:
                        self.draining = True
                    elif not flights:
                        ours = self._restart_scan()
            recorded = ours
            if ours:
                self._transact(self._release_batch)
        finally:
            for flight in flights:  # what is in the air still writes to the journal
                flight.transfer.exception()
            if recorded:
                self.journal.delete()
            else:
                self.journal.close()
        if self.pause_reason:
            self._pause_issue()
        return self.transferred

    def _restart_scan(self) -> bool:
        """Nothing that is due may be taken now. False: the batch is lost to us."""
        wait = min(self._provider_waits.values())
        self.cursor, self._provider_waits = self.claim.first_subscriber_id, {}
        if not self._transact(lambda session: ledger.has_due(session, self.claim)):
            self.draining = True
            return True
        # Nobody waits for one destination on the queue of first attempts: the rest goes to the other one.
        self.use_retry_queue = True
        if self.claim.is_retry:
            return self._wait_for_permit(wait, whole_issue=False)
        self._postpone(wait)
        return True

    def _wait_for_permit(self, seconds: float, *, whole_issue: bool = True) -> bool:
        """Wait for leave to send, or let others have their turn. ``for_all``: no batch of this issue could be sent
        now, not only what is left of this one. False: the batch is lost to us."""
        self._waited_seconds += seconds
        if seconds > _MAX_PERMIT_WAIT_SECONDS or (
            self._waited_seconds > _MAX_PERMIT_WAIT_SECONDS
            and self._transact(
                lambda session: batches.has_waiting(session, self.claim, other_issue=whole_issue)
            )
        ):
            self._postpone(seconds)
            return True
        self.worker.stopping.wait(seconds)
        return self._record_and_reserve(_NO_RESULT, SendPermit())[3]

    def _postpone(self, seconds: float) -> None:
        self.draining = True
        self.not_before = datetime.now(UTC) + timedelta(seconds=min(seconds, 3600))

    def _release_batch(self, session: Session) -> None:
        if batches.renew_lease(session, self.claim, self.worker.lease) is None:
            return
        # Nothing is in the air. If the answer to a commit was lost, and the step done again, somebody may be left.
        ledger.unreserve(session, self.claim)
        # Asked with the batch held: whoever cancels the issue after this waits for us and finds what we leave.
        if issues.state(session, self.claim.issue) is IssueState.cancelled:
            ledger.cancel_unsent(session, self.claim, datetime.now(UTC))
        batches.release(session, self.claim, self.not_before, as_retry=self.use_retry_queue)

    def _record_and_reserve(
        self, result: _ChunkResult, permit: SendPermit
    ) -> tuple[Sequence[DueDelivery], dict[int, CompiledMessage], list[str], bool]:
        """Record what landed and take what flies next, in one transaction. False: the batch is lost to us."""
        gate = self.worker.traffic_shaper

        def step(session: Session) -> tuple[Sequence[DueDelivery], dict[int, CompiledMessage], int] | None:
            running = batches.renew_lease(session, self.claim, self.worker.lease)
            if running is None:
                return None
            now = datetime.now(UTC)
            flight = result.chunk
            relay = flight.route.relay if flight else None
            ledger.record(session, self.claim, result.updates, self.claim.epoch, now, relay)
            follow_up(session, self.claim.issue, result.updates, now)
            if flight is not None and flight.route.warm_up is not None:
                unused = sum(not verdict.attempted for verdict in result.updates)
                throttles.add_daily_sent(session, flight.route.relay, flight.day, -unused)
            if result.stats is not None:
                gate.apply_feedback(session, result.stats, now)
            self.draining |= not running
            self.cancelled |= not running
            due: Sequence[DueDelivery] = ()
            after, skipped = self.cursor, 1
            count = self._allowed_today(session, permit, now) if running else 0
            quotas = permit.domain_quotas(gate.providers)
            while count and skipped and not due:
                due, skipped, after = ledger.reserve(session, self.claim, after, count, quotas)
            if due and permit.route is not None and permit.route.warm_up is not None:
                throttles.add_daily_sent(session, permit.route.relay, now.date(), len(due))
            if result is _NO_RESULT and self._chunks:
                flying = [one.subscriber for other in self._chunks for one in other.deliveries]
                self._no_longer_sendable = ledger.no_longer_sendable(session, self.claim, flying)
            return due, self.worker.messages(session, {one.edition for one in due}), after

        started = time.monotonic()
        done = self._transact(step)
        if done is None:
            self.cancelled = True
            self.journal.deadline = started  # whoever has the batch now deals with what is still in the air
            return (), {}, [], False
        self.journal.deadline = started + self.worker.lease.total_seconds() - FINAL_DOT_MARGIN_SECONDS
        due, templates, self.cursor = done
        destinations = list(map(gate.providers.for_address, [one.address for one in due]))
        if permit.count:
            self._provider_waits |= gate.release_unused(permit, destinations)
        return due, templates, destinations, True

    def _allowed_today(self, session: Session, permit: SendPermit, now: datetime) -> int:
        """How many a relay that warms up may still have of what there is leave for."""
        route = permit.route
        if route is None or route.warm_up is None or not permit.count:
            return permit.count
        handed = throttles.lock_daily_sent(session, route.relay, now.date())
        left = route.warm_up.limit_on(now.date()) - handed
        if left <= 0:
            self.worker.traffic_shaper.mark_exhausted(route)
        return max(0, min(permit.count, left))

    def _acquire_permit(self) -> SendPermit:
        return self.worker.traffic_shaper.acquire(self.claim.issue, self.worker.chunk_size)

    def _transact(self, work: Callable[[Session], T]) -> T:
        def once() -> T:
            with self.worker.database.transaction() as session:
                return work(session)

        return self._with_retries(once)

    def _with_retries(self, work: Callable[[], T]) -> T:
        """Tried again while the database is away or took another's side, until the lease may be over."""
        until = self.journal.deadline
        while True:
            try:
                return work()
            except (DatabaseDown, Deadlock):
                if time.monotonic() > until or self.worker.stopping.is_set():
                    raise
                time.sleep(0.5)

    def _submit(
        self,
        permit: SendPermit,
        deliveries: Sequence[DueDelivery],
        providers: Sequence[str],
        messages: dict[int, CompiledMessage],
    ) -> _Chunk:
        assert permit.route is not None
        envelopes: list[Envelope] = []
        unsent: list[DeliveryUpdate] = []
        now = datetime.now(UTC)
        date = format_datetime(now).encode()
        waits = self.worker.traffic_shaper.acquire_per_domain(permit, providers)
        slots = self.worker.urls.subscriber_slots(self.claim.issue, [one.subscriber for one in deliveries])
        for one, slot, wait in zip(deliveries, slots, waits, strict=True):
            if wait:
                again = now + timedelta(seconds=wait)
                unsent.append(
                    DeliveryUpdate(one.subscriber, DeliveryState.pending, "", again, attempted=False)
                )
                continue
            try:
                envelopes.append(self._build_envelope(one, slot, messages[one.edition], date))
            except ValueError as error:
                unsent.append(DeliveryUpdate(one.subscriber, DeliveryState.failed, f"not sent: {error}"))
        self.transferred += len(envelopes)
        landing = self.worker.smtp_pool.transfer(envelopes, self.journal, permit.route.relay, self._may_send)
        return _Chunk(permit.route, deliveries, providers, unsent, landing, time.monotonic(), now.date())

    def _may_send(self, envelope: Envelope) -> bool:
        return not (
            self.cancelled or envelope.key in self._no_longer_sendable or self.worker.stopping.is_set()
        )

    def _build_envelope(
        self, delivery: DueDelivery, slots: SubscriberSlots, message: CompiledMessage, date: bytes
    ) -> Envelope:
        recipient, smtputf8 = to_smtp(delivery.address)
        if not delivery.name:
            message = message.without_greeting
        if delivery.text_only:
            message = message.text_only
        words = {
            "unsubscribe": f"u/{slots.unsubscribe}",
            "preferences": f"p/{slots.preferences}",
            "name": delivery.name,
            "address": delivery.address,
        }
        values = message.encode_slots(words)
        values[headers.TO] = mailbox(delivery.name, recipient, "To")
        values[headers.DATE] = date
        values[headers.MESSAGE_ID] = slots.message.encode()
        values[headers.UNSUBSCRIBE] = slots.unsubscribe.encode()
        values[headers.MAILTO_UNSUBSCRIBE] = slots.mail_unsubscribe.encode()
        segments = message.fill(values)
        signature = self.worker.signer.sign(segments)
        return Envelope(
            key=delivery.subscriber,
            sender=f"bounce+{slots.bounce}@{self.bounce_domain}",
            recipient=recipient,
            message=[signature, *segments] if signature else segments,
            size=len(signature) + message.size + sum(map(len, segments[1::2])),
            smtputf8=smtputf8,
        )

    def _collect(self, chunk: _Chunk) -> _ChunkResult:
        """Wait for a flight, keeping the lease alive, and rule on each of its results."""
        while True:
            try:
                done = chunk.transfer.result(_CONTROL_POLL_SECONDS)
                break
            except FutureTimeout:
                self._record_and_reserve(_NO_RESULT, SendPermit())
        now = datetime.now(UTC)
        if done.error:
            self.draining, self.not_before = True, now + _JOURNAL_ERROR_BACKOFF
        took = max(time.monotonic() - chunk.started, 0.001)
        self.worker.adapt_chunk_size(len(chunk.deliveries), took)
        attempts = {one.subscriber: one.attempts for one in chunk.deliveries}
        verdicts = list(chunk.unsent)
        for result in done.results:
            subscriber = cast(int, result.key)
            if result.outcome in (Outcome.CONTENT_REJECTED, Outcome.SENDER_REJECTED):
                what = "our sender" if result.outcome is Outcome.SENDER_REJECTED else "the message"
                self.pause_reason = f"the relay refuses {what}: {redact_addresses(str(result.reply))}"
                self.draining = True
            if result.outcome is Outcome.RELAY_UNAVAILABLE:
                self.draining = True
            ruling = decide(
                result,
                attempts[subscriber],
                now,
                self.worker.min_backoff,
                self.worker.queue_lifetime,
                self.worker.rng,
            )
            verdicts.append(DeliveryUpdate(subscriber, *ruling))
        tally = summarize(chunk.route.relay, chunk.deliveries, chunk.providers, done.results, took)
        self.worker.traffic_shaper.count_outcomes(tally, "retry" if self.claim.is_retry else "send")
        return _ChunkResult(chunk, verdicts, tally)

    def _pause_issue(self) -> None:
        with self.worker.database.transaction() as session:
            issue = issues.lock(session, self.claim.issue)
            if issue.state is IssueState.sending:
                issue.state = IssueState.paused
                issues.log(session, issue.id, "mailer", "paused", self.pause_reason)
                _log.error("Issue %s is paused: %s", issue.id, self.pause_reason)


def follow_up(session: Session, issue: int, updates: Sequence[DeliveryUpdate], now: datetime) -> None:
    """What recorded verdicts entail: bad addresses are suppressed, and some uncertain deliveries settled."""
    feedback.record_hard_bounces(session, issue, {v.subscriber: v.reply for v in updates if v.suppress}, now)
    if uncertain := [v.subscriber for v in updates if v.state is DeliveryState.uncertain]:
        resolution.resolve_by_feedback(session, issue, uncertain, now)
        resolution.resend_by_policy(session, issue, uncertain, now)
