"""What a result of SMTP means for the ledger: sent, failed, again later, or uncertain."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.states import DeliveryState
from mailer.domain.suppressions import SuppressionReason
from mailer.domain.transfer import TransferResult

_MAX_BACKOFF = timedelta(hours=4)
_MAX_POLICY_ATTEMPTS = 3
"""A receiver's policy may change its mind about us, hardly about one mailbox."""


class Decision(NamedTuple):
    state: DeliveryState
    reply: str
    due_at: datetime | None = None
    suppression_reason: SuppressionReason | None = None
    """Why the address must not be mailed again; None when it may."""
    counts_as_attempt: bool = True
    """False when the delivery itself was not tried: the attempt does not count."""


def jittered_backoff(attempts: int, min_backoff: timedelta, rng: random.Random) -> timedelta:
    """Wait before the next attempt: doubling from ``retry`` to four hours, give or take a fifth, so that
    deliveries deferred together do not come back together."""
    spread: timedelta = _backoff(attempts, min_backoff) * rng.uniform(0.8, 1.2)
    return spread


def _backoff(attempts: int, min_backoff: timedelta) -> timedelta:
    doubled: timedelta = min_backoff * 2 ** min(attempts - 1, 16)
    return min(_MAX_BACKOFF, doubled)


def time_in_queue(attempts: int, min_backoff: timedelta) -> timedelta:
    """How long a delivery has been tried for, going by its attempts: what an issue's pauses, a slow rate or a
    relay that was away took is not the receiver's fault, and the first attempt is never the last."""
    return sum((_backoff(n, min_backoff) for n in range(1, attempts)), timedelta(0))


def decide(
    result: TransferResult,
    attempts: int,
    now: datetime,
    min_backoff: timedelta,
    queue_lifetime: timedelta,
    rng: random.Random,
) -> Decision:
    """The ruling for one result. ``attempts`` counts this one; ``retry`` is the wait for the second attempt."""
    reply = str(result.reply) if result.reply else result.detail
    match result.outcome:
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.sent, reply)
        case Outcome.UNKNOWN:
            return Decision(DeliveryState.uncertain, reply or "no answer after the final dot")
        case Outcome.HARD_BOUNCE:
            return Decision(DeliveryState.failed, reply, suppression_reason=SuppressionReason.hard_bounce)
        case Outcome.CONTENT_REJECTED | Outcome.REJECTED:
            return Decision(DeliveryState.failed, reply)
        case Outcome.NOT_SENT | Outcome.RELAY_UNAVAILABLE | Outcome.SENDER_REJECTED:
            return Decision(DeliveryState.pending, reply, now, counts_as_attempt=False)
        case Outcome.POLICY if attempts >= _MAX_POLICY_ATTEMPTS:
            return Decision(DeliveryState.failed, reply)
        case Outcome.MAILBOX_FULL if result.reply and result.reply.code >= 500:
            return Decision(DeliveryState.failed, reply)
    if time_in_queue(attempts, min_backoff) >= queue_lifetime:
        return Decision(DeliveryState.failed, reply)
    return Decision(DeliveryState.pending, reply, now + jittered_backoff(attempts, min_backoff, rng))


def decide_from_journal(final_dot_sent: bool, reply: Reply | None, now: datetime, min_backoff: timedelta) -> Decision:
    """The ruling for a delivery whose worker is gone, from what its journal shows: whether its final dot may
    have gone out, and the relay's reply to it."""
    if reply is None and not final_dot_sent:
        return Decision(DeliveryState.pending, "", now, counts_as_attempt=False)
    if reply is None:
        return Decision(DeliveryState.uncertain, "the worker was lost between the final dot and the answer")
    said = str(reply)
    match classify(reply, Stage.FINAL):
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.sent, said)
        case Outcome.UNKNOWN:
            return Decision(DeliveryState.uncertain, said)
        case Outcome.HARD_BOUNCE:
            return Decision(DeliveryState.failed, said, suppression_reason=SuppressionReason.hard_bounce)
        case Outcome.CONTENT_REJECTED | Outcome.REJECTED:
            return Decision(DeliveryState.failed, said)
        case Outcome.SENDER_REJECTED:
            return Decision(DeliveryState.pending, said, now, counts_as_attempt=False)
        case Outcome.MAILBOX_FULL if reply.code >= 500:
            return Decision(DeliveryState.failed, said)
    return Decision(DeliveryState.pending, said, now + min_backoff)
