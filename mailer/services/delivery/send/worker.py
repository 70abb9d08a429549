"""Claim batches and send them."""

import logging
from contextlib import suppress
from datetime import datetime

from mailer.domain.decisions import Decision, decide_from_journal
from mailer.domain.states import DeliveryState
from mailer.services.delivery.send.batch_sender import BatchSender
from mailer.services.delivery.send.context import SendContext
from mailer.services.delivery.send.recorder import record, release
from mailer.store import batches, ledger, newsletters
from mailer.store.batches import Claim
from mailer.store.database import DatabaseDown, Session
from mailer.store.ledger import DeliveryUpdate

_log = logging.getLogger("mailer")


class SendWorker:
    """Sends batches, in as many threads as call it."""

    def __init__(self, context: SendContext) -> None:
        self.context = context

    def stop(self) -> None:
        """Stop soon: wait for messages in flight, and release the claims.

        A message whose reply does not come in time is uncertain.
        """
        self.context.stopping.set()
        self.context.smtp_pool.drain(self.context.limits.drain_seconds)

    def send_batch(self, batch: int) -> int:
        """Send what is due in a batch unless another worker has it; return how many deliveries were handed over."""
        context = self.context
        if context.stopping.is_set():
            return 0
        with context.database.transaction() as session:
            started = context.clock.monotonic()
            journals, limits = context.journals, context.limits
            claim = batches.claim(session, batch, journals.worker, limits.lease, journals.host, limits.host_grace)
            if claim is None:
                return 0
            newsletter = newsletters.by_id(session, claim.newsletter)
            bounce_domain = context.bounce_domain or newsletter.sender_domain
            recovered_epochs = self._recover(session, claim, context.clock.now())
        for epoch in recovered_epochs:
            context.journals.delete(claim.batch, epoch)
        journal = context.journals.open(claim.batch, claim.epoch)
        journal.deadline = context.final_dot_deadline(started)
        return BatchSender(context, claim, journal, bounce_domain).run()

    def recover_lost(self) -> int:
        """Record what lost workers of this host left in flight, and give their batches back; return how many.

        Only this host has their journals. Stops early if the database does not answer.
        """
        context, recovered = self.context, 0
        journals, lease = context.journals, context.limits.lease
        with suppress(DatabaseDown):
            while not context.stopping.is_set():
                with context.database.transaction() as session:
                    claim = batches.claim_lost(session, journals.worker, journals.host, lease)
                    if claim is None:
                        break
                    epochs = self._recover(session, claim, context.clock.now())
                    release(session, claim, context.clock.now())
                for epoch in epochs:
                    journals.delete(claim.batch, epoch)
                recovered += 1
        if recovered:
            _log.warning("Recovered %d batches of lost workers of this host.", recovered)
        return recovered

    def _recover(self, session: Session, claim: Claim, now: datetime) -> set[int]:
        """Record the deliveries that earlier claims of this batch left in flight, by the evidence of their journals.

        Returns the epochs whose journals are no longer needed.
        """
        in_flight = ledger.in_flight(session, claim)
        epochs = {epoch for _, epoch in in_flight}
        for epoch in sorted(epochs):
            evidence = self.context.journals.close_and_read(claim.batch, epoch, claim.previous_worker)
            updates = []
            for subscriber, reserved_epoch in in_flight:
                if reserved_epoch != epoch:
                    continue
                if evidence is None:
                    decision = Decision(DeliveryState.uncertain, "the worker was lost, and its journal with it")
                else:
                    decision = decide_from_journal(
                        subscriber in evidence.final_dot_sent,
                        evidence.replies.get(subscriber),
                        now,
                        self.context.limits.min_backoff,
                    )
                updates.append(DeliveryUpdate(subscriber, *decision))
            record(session, claim, updates, epoch, now)
        return {claim.epoch - 1, *epochs}
