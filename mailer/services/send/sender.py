"""What sending needs, kept over many batches."""

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailer.domain.message import Template
from mailer.domain.ports import Journals, Links, Outbox, Signer
from mailer.domain.states import DeliveryState
from mailer.domain.verdicts import Ruling, rule_from_journal
from mailer.services.send.gate import Gate
from mailer.services.send.run import FINAL_DOT_MARGIN, Run, follow_up
from mailer.store import batches, editions, ledger, newsletters
from mailer.store.batches import Claim
from mailer.store.database import Database, Session
from mailer.store.ledger import Verdict

FEWEST, MOST = 20, 500
"""Deliveries of a micro-batch: those taken, sent and recorded together."""
_FLIGHT = 1.0
"""Seconds that a micro-batch may take at the relay: those in flight are finished when the process is to end."""
_STEP = 8
"""How many times as large the next one may be."""
_KEPT_TEMPLATES = 64_000_000
_LAST_ANSWERS = 5.0
"""Seconds that the relay has to answer what is in flight when the process is to end."""


@dataclass(slots=True)
class Sender:
    """What sending needs, kept over many batches: connections, compiled editions, settings."""

    database: Database
    outbox: Outbox
    gate: Gate
    journals: Journals
    links: Links
    signer: Signer
    bounce_domain: str
    lease: timedelta
    retry: timedelta
    """Until the second attempt of a delivery that was deferred."""
    give_up: timedelta
    chance: random.Random = field(default_factory=random.Random)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set by ``stop``."""
    at_once: int = FEWEST
    """Deliveries of the next micro-batch: as many as the relay takes in good time."""
    _templates: OrderedDict[int, tuple[Template, int]] = field(default_factory=OrderedDict)
    _held: int = 0
    _templates_lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """The process is to end: messages in flight finish, claims go back. What the relay does not answer soon
        is uncertain."""
        self.stopping.set()
        self.outbox.finish_within(_LAST_ANSWERS)

    def send_batch(self, batch: int) -> int:
        """Send what is due in a batch, if it is to be had; returns how many deliveries were handed over."""
        if self.stopping.is_set():
            return 0
        with self.database.transaction() as session:
            started = time.monotonic()
            claim = batches.claim(session, batch, self.journals.worker, self.lease)
            if claim is None:
                return 0
            newsletter = newsletters.by_id(session, claim.newsletter)
            bounce_domain = self.bounce_domain or newsletter.sender_address.rpartition("@")[2]
            settled = self._recover(session, claim)
        for epoch in settled:
            self.journals.forget(claim.batch, epoch)
        journal = self.journals.open(claim.batch, claim.epoch)
        journal.deadline = started + self.lease.total_seconds() - FINAL_DOT_MARGIN
        run = Run(self, claim, journal, bounce_domain)
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
                    handed = subscriber in evidence.handed
                    ruling = rule_from_journal(handed, reply, now, self.retry)
                verdicts.append(Verdict(subscriber, *ruling))
            ledger.record(session, claim, verdicts, epoch, now)
            follow_up(session, claim.issue, verdicts, now)
        return {claim.epoch - 1, *epochs}

    def pace(self, handed: int, took: float) -> None:
        """Learn from a micro-batch, and the seconds it took, how many deliveries the next one should have."""
        if took > _FLIGHT:
            self.at_once = max(FEWEST, self.at_once // 2)
        elif handed >= self.at_once and took < _FLIGHT / 2:
            fit = round(handed * _FLIGHT / 2 / took)
            self.at_once = min(MOST, self.at_once * _STEP, fit)

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
