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
from mailer.domain.addresses import on_the_wire
from mailer.domain.handover import Envelope
from mailer.domain.message import Template, mailbox
from mailer.domain.outcomes import Outcome, impersonal
from mailer.domain.ports import HandedOver, Journal, ReaderSlots
from mailer.domain.routes import Route
from mailer.domain.states import DeliveryState, IssueState
from mailer.domain.verdicts import rule
from mailer.services.send.gate import Leave
from mailer.services.send.tally import Tally, tallied
from mailer.store import batches, feedback, issues, ledger, settling, throttles
from mailer.store.batches import Claim
from mailer.store.database import DatabaseDown, Deadlock, Session
from mailer.store.ledger import Due, Verdict

if TYPE_CHECKING:
    from mailer.services.send.sender import Sender

FINAL_DOT_MARGIN = 2.0
"""Seconds of lease that must be left when a message's final dot goes out."""
_IN_FLIGHT = 2
"""Micro-batches that are with the relay at once."""
_HEED = 0.5
"""Seconds after which a micro-batch that is still with the relay is looked after: was the issue stopped?"""
_PATIENCE = 3.0
"""Seconds for which a claim waits for leave to send; then other batches have their turn."""
_AFTER_TROUBLE = timedelta(seconds=5)

T = TypeVar("T")
_log = logging.getLogger("mailer")


@dataclass(slots=True)
class _Flight:
    """A micro-batch that is with the relay."""

    route: Route
    due: Sequence[Due]
    destinations: Sequence[str]
    """Of each of ``due``."""
    unsent: Sequence[Verdict]
    """Deliveries that were taken and are not with the relay: no message could be made, or none may go there."""
    landing: Future[HandedOver]
    since: float
    """On the monotonic clock."""
    day: date
    """That on which it was taken: a relay that warms up counts by days."""


@dataclass(frozen=True, slots=True)
class _Landed:
    """What is to be recorded of a flight."""

    flight: _Flight | None = None
    verdicts: Sequence[Verdict] = ()
    tally: Tally | None = None


_NOTHING = _Landed()


@dataclass(slots=True)
class Run:
    sender: "Sender"
    claim: Claim
    journal: Journal
    bounce_domain: str
    after: int = 0
    handed: int = 0
    stop: bool = False
    """Take no more: all was taken, the issue is paused, or the journal cannot be written."""
    again_at: datetime | None = None
    """Not before then is it worth taking more of this batch."""
    to_retry: bool = False
    """What is left waits for destinations: it goes on by the queue where that holds up nobody."""
    called_off: bool = False
    """The issue is stopped, or the batch lost: what the relay has not begun to get is withheld."""
    faulty: str = ""
    """The relay's word on the message itself, or on our sender, which pauses the issue."""
    _flights: deque[_Flight] = field(default_factory=deque)
    """Those in the air, in the order in which they took off."""
    _gone: Collection[int] = ()
    """Readers in flight who have left since they were taken, or must not be mailed any more."""
    _waited: float = 0.0
    _passed_over: dict[str, float] = field(default_factory=dict)
    """Destinations whose limit was reached since the batch was looked through from its beginning, and the
    seconds until more may go there."""

    def through(self) -> int:
        """Returns how many deliveries were handed over."""
        self.after = self.claim.first
        flights = self._flights
        ours, recorded, full = True, False, False
        try:
            while ours and (flights or not self.stop):
                self.stop |= self.sender.stopping.is_set()
                landed = None
                if flights and (self.stop or full or len(flights) >= _IN_FLIGHT):
                    landed = self._landed(flights[0])
                leave = Leave() if self.stop else self._patiently(self._leave)
                full = not leave.count
                if full and landed is None:
                    if not flights:
                        ours = self._wait(leave.wait)
                    continue
                due, templates, destinations, ours = self._step(landed or _NOTHING, leave)
                if landed is not None:
                    flights.popleft()
                if due:
                    flights.append(self._take_off(leave, due, destinations, templates))
                elif leave.count and ours:
                    full = True
                    if not self._passed_over:
                        self.stop = True
                    elif not flights:
                        ours = self._look_again()
            recorded = ours
            if ours:
                self._transact(self._give_back)
        finally:
            for flight in flights:  # what is in the air still writes to the journal
                flight.landing.exception()
            if recorded:
                self.journal.drop()
            else:
                self.journal.close()
        if self.faulty:
            self._stop_issue()
        return self.handed

    def _look_again(self) -> bool:
        """Nothing that is due may be taken now. False: the batch is lost to us."""
        wait = min(self._passed_over.values())
        self.after, self._passed_over = self.claim.first, {}
        if not self._transact(lambda session: ledger.is_due(session, self.claim)):
            self.stop = True
            return True
        # Nobody waits for one destination on the queue of first attempts: the rest goes to the other one.
        self.to_retry = True
        if self.claim.retry:
            return self._wait(wait, for_all=False)
        self._come_back(wait)
        return True

    def _wait(self, seconds: float, *, for_all: bool = True) -> bool:
        """Wait for leave to send, or let others have their turn. ``for_all``: no batch of this issue could be sent
        now, not only what is left of this one. False: the batch is lost to us."""
        self._waited += seconds
        if seconds > _PATIENCE or (
            self._waited > _PATIENCE
            and self._transact(lambda session: batches.others_wait(session, self.claim, other_issue=for_all))
        ):
            self._come_back(seconds)
            return True
        self.sender.stopping.wait(seconds)
        return self._step(_NOTHING, Leave())[3]

    def _come_back(self, seconds: float) -> None:
        self.stop = True
        self.again_at = datetime.now(UTC) + timedelta(seconds=min(seconds, 3600))

    def _give_back(self, session: Session) -> None:
        if batches.keep(session, self.claim, self.sender.lease) is None:
            return
        # Nothing is in the air. If the answer to a commit was lost, and the step done again, somebody may be left.
        ledger.put_back(session, self.claim)
        # Asked with the batch held: whoever cancels the issue after this waits for us and finds what we leave.
        if issues.state(session, self.claim.issue) is IssueState.cancelled:
            ledger.cancel_rest(session, self.claim, datetime.now(UTC))
        batches.give_back(session, self.claim, self.again_at, retry=self.to_retry)

    def _step(
        self, landed: _Landed, leave: Leave
    ) -> tuple[Sequence[Due], dict[int, Template], list[str], bool]:
        """Record what landed and take what flies next, in one transaction. False: the batch is lost to us."""
        gate = self.sender.gate

        def step(session: Session) -> tuple[Sequence[Due], dict[int, Template], int] | None:
            running = batches.keep(session, self.claim, self.sender.lease)
            if running is None:
                return None
            now = datetime.now(UTC)
            flight = landed.flight
            relay = flight.route.relay if flight else None
            ledger.record(session, self.claim, landed.verdicts, self.claim.epoch, now, relay)
            follow_up(session, self.claim.issue, landed.verdicts, now)
            if flight is not None and flight.route.warm_up is not None:
                unused = sum(not verdict.attempted for verdict in landed.verdicts)
                throttles.count_handed(session, flight.route.relay, flight.day, -unused)
            if landed.tally is not None:
                gate.react(session, landed.tally, now)
            self.stop |= not running
            self.called_off |= not running
            due: Sequence[Due] = ()
            after, skipped = self.after, 1
            count = self._allowed_today(session, leave, now) if running else 0
            quotas = leave.domains(gate.destinations)
            while count and skipped and not due:
                due, skipped, after = ledger.take(session, self.claim, after, count, quotas)
            if due and leave.route is not None and leave.route.warm_up is not None:
                throttles.count_handed(session, leave.route.relay, now.date(), len(due))
            if landed is _NOTHING and self._flights:
                flying = [one.subscriber for other in self._flights for one in other.due]
                self._gone = ledger.not_any_more(session, self.claim, flying)
            return due, self.sender.templates(session, {one.edition for one in due}), after

        started = time.monotonic()
        done = self._transact(step)
        if done is None:
            self.called_off = True
            self.journal.deadline = started  # whoever has the batch now deals with what is still in the air
            return (), {}, [], False
        self.journal.deadline = started + self.sender.lease.total_seconds() - FINAL_DOT_MARGIN
        due, templates, self.after = done
        destinations = list(map(gate.destinations.of, [one.address for one in due]))
        if leave.count:
            self._passed_over |= gate.settle(leave, destinations)
        return due, templates, destinations, True

    def _allowed_today(self, session: Session, leave: Leave, now: datetime) -> int:
        """How many a relay that warms up may still have of what there is leave for."""
        route = leave.route
        if route is None or route.warm_up is None or not leave.count:
            return leave.count
        handed = throttles.handed(session, route.relay, now.date())
        left = route.warm_up.allowed(now.date()) - handed
        if left <= 0:
            self.sender.gate.rest(route)
        return max(0, min(leave.count, left))

    def _leave(self) -> Leave:
        return self.sender.gate.leave(self.claim.issue, self.sender.at_once)

    def _transact(self, work: Callable[[Session], T]) -> T:
        def once() -> T:
            with self.sender.database.transaction() as session:
                return work(session)

        return self._patiently(once)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Tried again while the database is away or took another's side, until the lease may be over."""
        until = self.journal.deadline
        while True:
            try:
                return work()
            except (DatabaseDown, Deadlock):
                if time.monotonic() > until or self.sender.stopping.is_set():
                    raise
                time.sleep(0.5)

    def _take_off(
        self,
        leave: Leave,
        due: Sequence[Due],
        destinations: Sequence[str],
        templates: dict[int, Template],
    ) -> _Flight:
        assert leave.route is not None
        envelopes: list[Envelope] = []
        unsent: list[Verdict] = []
        now = datetime.now(UTC)
        date = format_datetime(now).encode()
        waits = self.sender.gate.admit(leave, destinations)
        slots = self.sender.links.reader_slots(self.claim.issue, [one.subscriber for one in due])
        for one, slot, wait in zip(due, slots, waits, strict=True):
            if wait:
                again = now + timedelta(seconds=wait)
                unsent.append(Verdict(one.subscriber, DeliveryState.pending, "", again, attempted=False))
                continue
            try:
                envelopes.append(self._envelope(one, slot, templates[one.edition], date))
            except ValueError as error:
                unsent.append(Verdict(one.subscriber, DeliveryState.failed, f"not sent: {error}"))
        self.handed += len(envelopes)
        landing = self.sender.outbox.hand_over(envelopes, self.journal, leave.route.relay, self._may_send)
        return _Flight(leave.route, due, destinations, unsent, landing, time.monotonic(), now.date())

    def _may_send(self, envelope: Envelope) -> bool:
        return not (self.called_off or envelope.key in self._gone or self.sender.stopping.is_set())

    def _envelope(self, one: Due, slot: ReaderSlots, template: Template, date: bytes) -> Envelope:
        recipient, smtputf8 = on_the_wire(one.address)
        if not one.name:
            template = template.nameless
        if one.text_only:
            template = template.text_only
        words = {
            "unsubscribe": f"u/{slot.unsubscribe}",
            "preferences": f"p/{slot.preferences}",
            "name": one.name,
            "address": one.address,
        }
        values = template.written(words)
        values[headers.TO] = mailbox(one.name, recipient, "To")
        values[headers.DATE] = date
        values[headers.MESSAGE_ID] = slot.message.encode()
        values[headers.UNSUBSCRIBE] = slot.unsubscribe.encode()
        values[headers.MAIL_UNSUBSCRIBE] = slot.mail_unsubscribe.encode()
        segments = template.fill(values)
        signature = self.sender.signer.sign(segments)
        return Envelope(
            key=one.subscriber,
            sender=f"bounce+{slot.bounce}@{self.bounce_domain}",
            recipient=recipient,
            message=[signature, *segments] if signature else segments,
            size=len(signature) + template.size + sum(map(len, segments[1::2])),
            smtputf8=smtputf8,
        )

    def _landed(self, flight: _Flight) -> _Landed:
        """Wait for a flight, keeping the lease alive, and rule on each of its results."""
        while True:
            try:
                done = flight.landing.result(_HEED)
                break
            except FutureTimeout:
                self._step(_NOTHING, Leave())
        now = datetime.now(UTC)
        if done.error:
            self.stop, self.again_at = True, now + _AFTER_TROUBLE
        took = max(time.monotonic() - flight.since, 0.001)
        self.sender.pace(len(flight.due), took)
        attempts = {one.subscriber: one.attempts for one in flight.due}
        verdicts = list(flight.unsent)
        for result in done.results:
            subscriber = cast(int, result.key)
            if result.outcome in (Outcome.MESSAGE, Outcome.SENDER):
                what = "our sender" if result.outcome is Outcome.SENDER else "the message"
                self.faulty = f"the relay refuses {what}: {impersonal(str(result.reply))}"
                self.stop = True
            if result.outcome is Outcome.RELAY:
                self.stop = True
            ruling = rule(
                result,
                attempts[subscriber],
                now,
                self.sender.retry,
                self.sender.give_up,
                self.sender.chance,
            )
            verdicts.append(Verdict(subscriber, *ruling))
        tally = tallied(flight.route.relay, flight.due, flight.destinations, done.results, took)
        self.sender.gate.count(tally, "retry" if self.claim.retry else "send")
        return _Landed(flight, verdicts, tally)

    def _stop_issue(self) -> None:
        with self.sender.database.transaction() as session:
            issue = issues.locked(session, self.claim.issue)
            if issue is not None and issue.state is IssueState.sending:
                issue.state = IssueState.paused
                issues.log(session, issue.id, "mailer", "paused", self.faulty)
                _log.error("Issue %s is paused: %s", issue.id, self.faulty)


def follow_up(session: Session, issue: int, verdicts: Sequence[Verdict], now: datetime) -> None:
    """What recorded verdicts entail: bad addresses are suppressed, and some uncertain deliveries settled."""
    feedback.bounced(session, issue, {v.subscriber: v.reply for v in verdicts if v.suppress}, now)
    if uncertain := [v.subscriber for v in verdicts if v.state is DeliveryState.uncertain]:
        settling.by_feedback(session, issue, uncertain, now)
        settling.by_policy(session, issue, uncertain, now)
