"""Send: claim a batch, check each delivery once more, hand it over, record what became of it.

The order that nothing may break: claim (commit) → send with no transaction open → record (commit). While one
micro-batch is with the relay, the one before is recorded and the next one taken, in one transaction.
"""

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeVar

from mailer.domain import headers
from mailer.domain.addresses import on_the_wire
from mailer.domain.handover import Envelope
from mailer.domain.message import Template, mailbox
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import HandedOver, Journal, Journals, Links, Outbox, ReaderSlots, Signer
from mailer.domain.states import DeliveryState, IssueState
from mailer.domain.verdicts import Ruling, rule, rule_from_journal
from mailer.store import batches, editions, feedback, issues, ledger, newsletters
from mailer.store.batches import Claim
from mailer.store.database import Database, DatabaseDown, Session
from mailer.store.ledger import Due, Verdict

FEWEST, MOST = 20, 500
"""Deliveries of a micro-batch: those taken, sent and recorded together."""
_FLIGHT = timedelta(seconds=1)
"""What a micro-batch may take at the relay: those in flight are finished when the process is to end."""
_KEPT_TEMPLATES = 64_000_000
_FINAL_DOT_MARGIN = 2.0
"""Seconds of lease that must be left when a message's final dot goes out."""
_IN_FLIGHT = 2
"""Micro-batches that are with the relay at once."""

T = TypeVar("T")


@dataclass(slots=True)
class Sender:
    """What sending needs, kept over many batches: connections, compiled editions, settings."""

    database: Database
    outbox: Outbox
    journals: Journals
    links: Links
    signer: Signer
    bounce_domain: str
    lease: timedelta
    give_up: timedelta
    chance: random.Random = field(default_factory=random.Random)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end: messages in flight finish, claims go back."""
    at_once: int = FEWEST
    """Deliveries of the next micro-batch: as many as the relay takes in good time."""
    _templates: OrderedDict[int, tuple[Template, int]] = field(default_factory=OrderedDict)
    _held: int = 0
    _templates_lock: threading.Lock = field(default_factory=threading.Lock)

    def send_batch(self, batch: int) -> int:
        """Send what is due in a batch, if it is to be had; returns how many deliveries were handed over."""
        if self.stopping.is_set():
            return 0
        with self.database.transaction() as session:
            started = time.monotonic()
            claim = batches.claim(session, batch, self.journals.worker, self.lease)
            if claim is None:
                return 0
            issue = issues.by_id(session, claim.issue)
            assert issue is not None
            first_due = issue.composed_at or datetime.now(UTC)
            newsletter = newsletters.by_id(session, claim.newsletter)
            bounce_domain = self.bounce_domain or newsletter.sender_address.rpartition("@")[2]
            settled = self._recover(session, claim)
        for epoch in settled:
            self.journals.forget(claim.batch, epoch)
        journal = self.journals.open(claim.batch, claim.epoch)
        journal.deadline = started + self.lease.total_seconds() - _FINAL_DOT_MARGIN
        run = _Run(self, claim, journal, first_due, bounce_domain)
        return run.through()

    def _recover(self, session: Session, claim: Claim) -> set[int]:
        """Settle what earlier claims of this batch left in flight, by their journals; returns the epochs whose
        journals are of no more use."""
        now = datetime.now(UTC)
        left = ledger.in_flight(session, claim)
        epochs = {epoch for _, epoch in left}
        for epoch in sorted(epochs):
            evidence = self.journals.evidence(claim.batch, epoch, claim.previous_worker)
            verdicts = []
            for subscriber, of in left:
                if of != epoch:
                    continue
                if evidence is None:
                    ruling = Ruling(DeliveryState.uncertain, "the worker was lost, and its journal with it")
                else:
                    reply = evidence.answered.get(subscriber)
                    ruling = rule_from_journal(subscriber in evidence.handed, reply, False, now)
                verdicts.append(Verdict(subscriber, *ruling))
            ledger.record(session, claim, verdicts, epoch, now)
            _note_bounces(session, claim.issue, verdicts, now)
        return {claim.epoch - 1, *epochs}

    def pace(self, handed: int, took: timedelta) -> None:
        """Learn from a micro-batch how many deliveries the next one should have."""
        if took > _FLIGHT:
            self.at_once = max(FEWEST, self.at_once // 2)
        elif handed >= self.at_once and took < _FLIGHT / 2:
            self.at_once = min(MOST, self.at_once * 2)

    def templates(self, session: Session, wanted: Iterable[int]) -> dict[int, Template]:
        """Compiled editions, from memory where possible."""
        with self._templates_lock:
            return self._templates_of(session, wanted)

    def _templates_of(self, session: Session, wanted: Iterable[int]) -> dict[int, Template]:
        missing = {id for id in wanted if id not in self._templates}
        if missing:
            for row in editions.compiled(session, missing):
                template = Template.unpacked(row.message, row.slots)
                self._templates[row.id] = (template, len(row.message))
                self._held += len(row.message)
        found = {}
        for id in wanted:
            self._templates.move_to_end(id)
            found[id] = self._templates[id][0]
        while self._held > _KEPT_TEMPLATES and len(self._templates) > len(found):
            self._held -= self._templates.popitem(last=False)[1][1]
        return found


def _note_bounces(session: Session, issue: int, verdicts: Sequence[Verdict], now: datetime) -> None:
    feedback.bounced(session, issue, {v.subscriber: v.reply for v in verdicts if v.suppress}, now)


@dataclass(slots=True)
class _Flight:
    """A micro-batch that is with the relay."""

    due: Sequence[Due]
    unfit: Sequence[Verdict]
    """Deliveries of which no message could be made."""
    landing: Future[HandedOver]
    since: datetime


@dataclass(slots=True)
class _Run:
    """One claim, from the first micro-batch to the last."""

    sender: Sender
    claim: Claim
    journal: Journal
    first_due: datetime
    bounce_domain: str
    after: int = 0
    handed: int = 0
    stop: bool = False
    """Take no more: the issue is paused, or the journal cannot be written."""
    faulty: str = ""
    """The relay's word on the message itself, which ends the issue's sending."""

    def through(self) -> int:
        """Returns how many deliveries were handed over."""
        self.after = self.claim.first
        flights: deque[_Flight] = deque()
        ours, recorded = True, False
        try:
            while ours and (flights or not self.stop):
                self.stop |= self.sender.stopping.is_set()
                landing = self.stop or len(flights) >= _IN_FLIGHT
                verdicts = self._landed(flights[0]) if landing else []
                due, templates, ours = self._step(verdicts, take=not self.stop)
                if landing:
                    flights.popleft()
                if due:
                    flights.append(self._take_off(due, templates))
                else:
                    self.stop = True
            recorded = ours
            if ours:
                self._patiently(self._give_back)
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

    def _give_back(self, session: Session) -> None:
        if batches.keep(session, self.claim, self.sender.lease) is None:
            return
        # Asked with the batch held: whoever cancels the issue after this waits for us and finds what we leave.
        if issues.state(session, self.claim.issue) is IssueState.cancelled:
            ledger.cancel_rest(session, self.claim, datetime.now(UTC))
        batches.give_back(session, self.claim)

    def _step(
        self, verdicts: Sequence[Verdict], take: bool
    ) -> tuple[Sequence[Due], dict[int, Template], bool]:
        """Record what landed and take what flies next, in one transaction. False: the batch is lost to us."""

        def step(session: Session) -> tuple[Sequence[Due], dict[int, Template], int] | None:
            running = batches.keep(session, self.claim, self.sender.lease)
            if running is None:
                return None
            now = datetime.now(UTC)
            ledger.record(session, self.claim, verdicts, self.claim.epoch, now)
            _note_bounces(session, self.claim.issue, verdicts, now)
            due: Sequence[Due] = ()
            after, skipped = self.after, 1
            while take and running and skipped and not due:
                due, skipped, after = ledger.take(session, self.claim, after, self.sender.at_once)
            return due, self.sender.templates(session, {one.edition for one in due}), after

        started = time.monotonic()
        done = self._patiently(step)
        if done is None:
            self.journal.deadline = started  # whoever has the batch now deals with what is still in the air
            return (), {}, False
        self.journal.deadline = started + self.sender.lease.total_seconds() - _FINAL_DOT_MARGIN
        due, templates, self.after = done
        return due, templates, True

    def _patiently(self, work: Callable[[Session], T]) -> T:
        """A transaction that is tried again while the database is away, until the lease may be over."""
        until = self.journal.deadline
        while True:
            try:
                with self.sender.database.transaction() as session:
                    return work(session)
            except DatabaseDown:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _take_off(self, due: Sequence[Due], templates: dict[int, Template]) -> _Flight:
        envelopes: list[Envelope] = []
        unfit: list[Verdict] = []
        now = datetime.now(UTC)
        date = format_datetime(now).encode()
        slots = self.sender.links.reader_slots(self.claim.issue, [one.subscriber for one in due])
        for one, slot in zip(due, slots, strict=True):
            try:
                envelopes.append(self._envelope(one, slot, templates[one.edition], date))
            except ValueError as error:
                unfit.append(Verdict(one.subscriber, DeliveryState.failed, f"not sent: {error}"))
        self.handed += len(envelopes)
        return _Flight(due, unfit, self.sender.outbox.hand_over(envelopes, self.journal), now)

    def _envelope(self, one: Due, slot: ReaderSlots, template: Template, date: bytes) -> Envelope:
        recipient, smtputf8 = on_the_wire(one.address)
        if one.text_only:
            template = template.text_only
        words = {
            "unsubscribe": f"u/{slot.unsubscribe}",
            "preferences": f"p/{slot.preferences}",
            "name": one.name or one.address.partition("@")[0],
            "address": one.address,
        }
        values = template.written(words) | {
            headers.TO: mailbox(one.name, recipient, "To"),
            headers.DATE: date,
            headers.MESSAGE_ID: slot.message.encode(),
            headers.UNSUBSCRIBE: slot.unsubscribe.encode(),
            headers.MAIL_UNSUBSCRIBE: slot.mail_unsubscribe.encode(),
        }
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

    def _landed(self, flight: _Flight) -> list[Verdict]:
        """Wait for a flight, keeping the lease alive, and rule on each of its results."""
        while True:
            try:
                done = flight.landing.result(self.sender.lease.total_seconds() / 4)
                break
            except FutureTimeout:
                self._step((), take=False)
        if done.error:
            self.stop = True
        now = datetime.now(UTC)
        self.sender.pace(len(flight.due), now - flight.since)
        attempts = {one.subscriber: one.attempts for one in flight.due}
        verdicts = list(flight.unfit)
        for result in done.results:
            subscriber = int(str(result.key))
            if result.outcome is Outcome.MESSAGE:
                self.faulty = str(result.reply)
                self.stop = True
            if result.outcome is Outcome.RELAY:
                self.stop = True
            ruling = rule(
                result, attempts[subscriber], self.first_due, now, self.sender.give_up, self.sender.chance
            )
            verdicts.append(Verdict(subscriber, *ruling))
        return verdicts

    def _stop_issue(self) -> None:
        with self.sender.database.transaction() as session:
            issue = issues.locked(session, self.claim.issue)
            if issue is not None and issue.state is IssueState.sending:
                issue.state = IssueState.paused
                issues.log(
                    session, issue.id, "mailer", "paused", f"the relay refuses the message: {self.faulty}"
                )
