"""What sending needs, kept over many batches."""

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailer.domain.decisions import Decision, decide_from_journal
from mailer.domain.message import CompiledMessage
from mailer.domain.ports import Journals, MailUrls, Signer, SmtpPool
from mailer.domain.states import DeliveryState
from mailer.services.delivery.send.batch_sender import FINAL_DOT_MARGIN_SECONDS, BatchSender, follow_up
from mailer.services.delivery.send.traffic_shaper import TrafficShaper
from mailer.store import batches, editions, ledger, newsletters
from mailer.store.batches import Claim
from mailer.store.database import Database, Session
from mailer.store.ledger import DeliveryUpdate

MIN_CHUNK_SIZE, MAX_CHUNK_SIZE = 20, 500
"""Deliveries of a micro-batch: those taken, sent and recorded together."""
_TARGET_SECONDS = 1.0
"""Seconds that a micro-batch may take at the relay: those in flight are finished when the process is to end."""
_MAX_GROWTH_FACTOR = 8
"""How many times as large the next one may be."""
_MESSAGE_CACHE_BYTES = 64_000_000
_DRAIN_SECONDS = 5.0
"""Seconds that the relay has to answer what is in flight when the process is to end."""


@dataclass(slots=True)
class SendWorker:
    """What sending needs, kept over many batches: connections, compiled editions, settings."""

    database: Database
    smtp_pool: SmtpPool
    traffic_shaper: TrafficShaper
    journals: Journals
    urls: MailUrls
    signer: Signer
    bounce_domain: str
    lease: timedelta
    min_backoff: timedelta
    """Until the second attempt of a delivery that was deferred."""
    queue_lifetime: timedelta
    rng: random.Random = field(default_factory=random.Random)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set by ``stop``."""
    chunk_size: int = MIN_CHUNK_SIZE
    """Deliveries of the next micro-batch: as many as the relay takes in good time."""
    _message_cache: OrderedDict[int, tuple[CompiledMessage, int]] = field(default_factory=OrderedDict)
    _cached_bytes: int = 0
    _message_cache_lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """The process is to end: messages in flight finish, claims go back. What the relay does not answer soon
        is uncertain."""
        self.stopping.set()
        self.smtp_pool.drain(_DRAIN_SECONDS)

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
            bounce_domain = self.bounce_domain or newsletter.sender_domain
            settled = self._recover(session, claim)
        for epoch in settled:
            self.journals.delete(claim.batch, epoch)
        journal = self.journals.open(claim.batch, claim.epoch)
        journal.deadline = started + self.lease.total_seconds() - FINAL_DOT_MARGIN_SECONDS
        run = BatchSender(self, claim, journal, bounce_domain)
        return run.run()

    def _recover(self, session: Session, claim: Claim) -> set[int]:
        """Settle what earlier claims of this batch left in flight, by their journals; returns the epochs whose
        journals are of no more use."""
        now = datetime.now(UTC)
        left = ledger.in_flight(session, claim)
        epochs = {epoch for _, epoch in left}
        for epoch in sorted(epochs):
            evidence = self.journals.close_and_read(claim.batch, epoch, claim.previous_worker)
            verdicts = []
            for subscriber, of in left:
                if of != epoch:
                    continue
                if evidence is None:
                    ruling = Decision(DeliveryState.uncertain, "the worker was lost, and its journal with it")
                else:
                    reply = evidence.replies.get(subscriber)
                    handed = subscriber in evidence.final_dot_sent
                    ruling = decide_from_journal(handed, reply, now, self.min_backoff)
                verdicts.append(DeliveryUpdate(subscriber, *ruling))
            ledger.record(session, claim, verdicts, epoch, now)
            follow_up(session, claim.issue, verdicts, now)
        return {claim.epoch - 1, *epochs}

    def adapt_chunk_size(self, transferred: int, seconds: float) -> None:
        """Learn from a micro-batch, and the seconds it took, how many deliveries the next one should have."""
        if seconds > _TARGET_SECONDS:
            self.chunk_size = max(MIN_CHUNK_SIZE, self.chunk_size // 2)
        elif transferred >= self.chunk_size and seconds < _TARGET_SECONDS / 2:
            fit = round(transferred * _TARGET_SECONDS / 2 / seconds)
            self.chunk_size = min(MAX_CHUNK_SIZE, self.chunk_size * _MAX_GROWTH_FACTOR, fit)

    def messages(self, session: Session, edition_ids: Iterable[int]) -> dict[int, CompiledMessage]:
        """Compiled editions, from memory where possible."""
        with self._message_cache_lock:
            return self._load_messages(session, edition_ids)

    def _load_messages(self, session: Session, edition_ids: Iterable[int]) -> dict[int, CompiledMessage]:
        missing = {id for id in edition_ids if id not in self._message_cache}
        if missing:
            for row in editions.load_messages(session, missing):
                template = CompiledMessage.deserialize(row.message, row.slots)
                self._message_cache[row.id] = (template, len(row.message))
                self._cached_bytes += len(row.message)
        found = {}
        for id in edition_ids:
            self._message_cache.move_to_end(id)
            found[id] = self._message_cache[id][0]
        while self._cached_bytes > _MESSAGE_CACHE_BYTES and len(self._message_cache) > len(found):
            self._cached_bytes -= self._message_cache.popitem(last=False)[1][1]
        return found
