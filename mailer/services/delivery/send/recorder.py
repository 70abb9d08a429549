"""Write what became of deliveries, in transactions of others."""

from collections.abc import Sequence
from datetime import datetime

from mailer.domain.outcomes import is_mailbox_refusal
from mailer.domain.states import DeliveryState
from mailer.store import feedback, ledger, resolution
from mailer.store.batches import Claim
from mailer.store.database import Session
from mailer.store.ledger import DeliveryUpdate


def record(
    session: Session,
    claim: Claim,
    updates: Sequence[DeliveryUpdate],
    epoch: int,
    now: datetime,
    relay: str | None = None,
) -> None:
    """Record updates of deliveries reserved under ``epoch``, and what follows from them.

    Bad addresses are suppressed, and uncertain deliveries resolved where feedback or the newsletter's policy does.
    """
    ledger.record(session, claim, updates, epoch, now, relay)
    hard_bounces = {update.subscriber: update.reply for update in updates if update.suppression_reason}
    feedback.record_hard_bounces(session, claim.issue, hard_bounces, now)
    refused = [
        update.subscriber
        for update in updates
        if update.state is DeliveryState.failed
        and not update.suppression_reason
        and is_mailbox_refusal(update.reply, is_bounce=False)
    ]
    feedback.suppress_repeatedly_refused(session, claim.issue, refused, now)
    uncertain = [update.subscriber for update in updates if update.state is DeliveryState.uncertain]
    if uncertain:
        resolution.resolve_by_feedback(session, claim.issue, uncertain, now)
        resolution.resend_by_policy(session, claim.issue, uncertain, now)
