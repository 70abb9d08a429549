"""Write what became of deliveries, in transactions of others."""

from collections.abc import Sequence
from datetime import datetime

from mailer.domain.outcomes import is_mailbox_refusal
from mailer.domain.states import DeliveryState, IssueState
from mailer.store import batches, feedback, issues, ledger, resolution
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


def release(
    session: Session, claim: Claim, now: datetime, not_before: datetime | None = None, *, as_retry: bool = False
) -> None:
    """End a claim whose batch is locked and has nothing in flight; skip what is left of a cancelled issue."""
    # Read with the batch locked: a cancellation after this waits for the lock and finds what is left.
    if issues.state(session, claim.issue) is IssueState.cancelled:
        ledger.cancel_unsent(session, claim, now)
    batches.release(session, claim, not_before, as_retry=as_retry)
