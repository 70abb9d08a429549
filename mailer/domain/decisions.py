"""Turns the result of an SMTP transfer into the next state of a delivery: sent, failed, pending or uncertain."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.states import DeliveryState
from mailer.domain.suppressions import SuppressionReason
from mailer.domain.transfer import TransferResult

_MAX_BACKOFF = timedelta(hours=4)
_MAX_POLICY_REFUSALS = 3
"""A receiver's policy may change for the sender, but hardly for one mailbox."""
_MIN_RELAY_REFUSALS = 3
"""Refusals in one chunk that show the relay to be at fault when it accepts nothing."""


class Decision(NamedTuple):
    """The next state of a delivery."""

    state: DeliveryState
    reply: str
    due_at: datetime | None = None
    suppression_reason: SuppressionReason | None = None
    """Why the address must not be mailed again; None if it may be."""
    counts_as_attempt: bool = True
    """False if the delivery itself was not attempted."""
    policy_refused: bool = False


def jittered_backoff(attempts: int, min_backoff: timedelta, rng: random.Random) -> timedelta:
    """Return the wait before the next attempt: ``min_backoff``, doubled each time up to four hours, plus jitter.

    The jitter of up to a fifth keeps deliveries that were deferred together from being retried together.
    """
    spread: timedelta = _backoff(attempts, min_backoff) * rng.uniform(0.8, 1.2)
    return spread


def _backoff(attempts: int, min_backoff: timedelta) -> timedelta:
    doubled: timedelta = min_backoff * 2 ** min(attempts - 1, 16)
    return min(_MAX_BACKOFF, doubled)


def time_in_queue(attempts: int, min_backoff: timedelta) -> timedelta:
    """Return how long a delivery has been in the queue, computed from its attempts.

    Time lost to pauses of the issue, rate limits or an unavailable relay does not count. After the first attempt the
    result is 0, so at least one retry is made.
    """
    return sum((_backoff(n, min_backoff) for n in range(1, attempts)), timedelta(0))


def attribute_refusals(results: Sequence[TransferResult], probing: bool) -> Sequence[TransferResult]:
    """Return a chunk's results, its ``RELAY_REFUSED`` as ``RELAY_UNAVAILABLE`` if the relay is at fault.

    It is if it accepted nothing and refused at least three recipients so. ``probing``, which sends a single message to
    a relay that could not be used before, needs only one.
    """
    refusals = sum(result.outcome is Outcome.RELAY_REFUSED for result in results)
    if refusals < (1 if probing else _MIN_RELAY_REFUSALS) or any(
        result.outcome is Outcome.ACCEPTED for result in results
    ):
        return results
    return [
        replace(result, outcome=Outcome.RELAY_UNAVAILABLE) if result.outcome is Outcome.RELAY_REFUSED else result
        for result in results
    ]


def decide(
    result: TransferResult,
    attempts: int,
    policy_refusals: int,
    now: datetime,
    min_backoff: timedelta,
    queue_lifetime: timedelta,
    rng: random.Random,
) -> Decision:
    """Return the decision for a transfer result.

    ``attempts`` includes this one, ``policy_refusals`` counts those before it; ``min_backoff`` is the wait for the
    second attempt.
    """
    reply = str(result.reply) if result.reply else result.detail
    policy_refused = result.outcome is Outcome.POLICY
    match result.outcome:
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.sent, reply)
        case Outcome.UNKNOWN:
            return Decision(DeliveryState.uncertain, reply or "no reply after the final dot")
        case Outcome.HARD_BOUNCE:
            return Decision(DeliveryState.failed, reply, suppression_reason=SuppressionReason.hard_bounce)
        case Outcome.CONTENT_REJECTED | Outcome.REJECTED:
            return Decision(DeliveryState.failed, reply)
        case Outcome.NOT_SENT | Outcome.RELAY_UNAVAILABLE | Outcome.RELAY_BUSY | Outcome.SENDER_REJECTED:
            return Decision(DeliveryState.pending, reply, now, counts_as_attempt=False)
        case Outcome.POLICY if policy_refusals + 1 >= _MAX_POLICY_REFUSALS:
            return Decision(DeliveryState.failed, reply, policy_refused=True)
        case Outcome.MAILBOX_FULL if result.reply and result.reply.code >= 500:
            return Decision(DeliveryState.failed, reply)
    if time_in_queue(attempts, min_backoff) >= queue_lifetime:
        return Decision(DeliveryState.failed, reply, policy_refused=policy_refused)
    due_at = now + jittered_backoff(attempts, min_backoff, rng)
    return Decision(DeliveryState.pending, reply, due_at, policy_refused=policy_refused)


def decide_from_journal(final_dot_sent: bool, reply: Reply | None, now: datetime, min_backoff: timedelta) -> Decision:
    """Return the decision for a delivery of a lost worker, from the evidence in its journal.

    ``final_dot_sent``: whether the final dot may have been sent. ``reply``: the relay's reply to it, if recorded.
    """
    if reply is None and not final_dot_sent:
        return Decision(DeliveryState.pending, "", now, counts_as_attempt=False)
    if reply is None:
        return Decision(DeliveryState.uncertain, "the worker was lost between the final dot and the reply")
    reply_text = str(reply)
    match classify(reply, Stage.FINAL):
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.sent, reply_text)
        case Outcome.UNKNOWN:
            return Decision(DeliveryState.uncertain, reply_text)
        case Outcome.HARD_BOUNCE:
            return Decision(DeliveryState.failed, reply_text, suppression_reason=SuppressionReason.hard_bounce)
        case Outcome.CONTENT_REJECTED | Outcome.REJECTED:
            return Decision(DeliveryState.failed, reply_text)
        case Outcome.SENDER_REJECTED:
            return Decision(DeliveryState.pending, reply_text, now, counts_as_attempt=False)
        case Outcome.POLICY:
            return Decision(DeliveryState.pending, reply_text, now + min_backoff, policy_refused=True)
        case Outcome.MAILBOX_FULL if reply.code >= 500:
            return Decision(DeliveryState.failed, reply_text)
    return Decision(DeliveryState.pending, reply_text, now + min_backoff)
