"""What a result of SMTP means for the ledger: sent, failed, again later, or uncertain."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from mailer.domain.handover import Result
from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.states import DeliveryState

_LONGEST = timedelta(hours=4)
_POLICY_ATTEMPTS = 3
"""A receiver's policy may change its mind about us, hardly about one mailbox."""


class Ruling(NamedTuple):
    state: DeliveryState
    reply: str
    due_at: datetime | None = None
    suppress: str = ""
    """Why the address must not be mailed again."""
    attempted: bool = True
    """False when the delivery itself was not tried: the attempt does not count."""


def back_off(attempts: int, retry: timedelta, chance: random.Random) -> timedelta:
    """Wait before the next attempt: doubling from ``retry`` to four hours, give or take a fifth, so that
    deliveries deferred together do not come back together."""
    spread: timedelta = _wait(attempts, retry) * chance.uniform(0.8, 1.2)
    return spread


def _wait(attempts: int, retry: timedelta) -> timedelta:
    doubled: timedelta = retry * 2 ** min(attempts - 1, 16)
    return min(_LONGEST, doubled)


def waited(attempts: int, retry: timedelta) -> timedelta:
    """How long a delivery has been tried for, going by its attempts: what an issue's pauses, a slow rate or a
    relay that was away took is not the receiver's fault, and the first attempt is never the last."""
    return sum((_wait(n, retry) for n in range(1, attempts)), timedelta(0))


def rule(
    result: Result,
    attempts: int,
    now: datetime,
    retry: timedelta,
    give_up: timedelta,
    chance: random.Random,
) -> Ruling:
    """The ruling for one result. ``attempts`` counts this one; ``retry`` is the wait for the second attempt."""
    reply = str(result.reply) if result.reply else result.detail
    match result.outcome:
        case Outcome.ACCEPTED:
            return Ruling(DeliveryState.sent, reply)
        case Outcome.UNKNOWN:
            return Ruling(DeliveryState.uncertain, reply or "no answer after the final dot")
        case Outcome.HARD:
            return Ruling(DeliveryState.failed, reply, suppress="hard bounce")
        case Outcome.MESSAGE | Outcome.REJECTED:
            return Ruling(DeliveryState.failed, reply)
        case Outcome.WITHHELD | Outcome.RELAY | Outcome.SENDER:
            return Ruling(DeliveryState.pending, reply, now, attempted=False)
        case Outcome.POLICY if attempts >= _POLICY_ATTEMPTS:
            return Ruling(DeliveryState.failed, reply)
        case Outcome.SOFT if result.reply and result.reply.code >= 500:
            return Ruling(DeliveryState.failed, reply)
    if waited(attempts, retry) >= give_up:
        return Ruling(DeliveryState.failed, f"gave up: {reply}")
    return Ruling(DeliveryState.pending, reply, now + back_off(attempts, retry, chance))


def rule_from_journal(handed: bool, reply: Reply | None, now: datetime, retry: timedelta) -> Ruling:
    """The ruling for a delivery whose worker is gone, from what its journal shows: whether its final dot may
    have gone out, and the relay's reply to it."""
    if reply is None and not handed:
        return Ruling(DeliveryState.pending, "", now, attempted=False)
    if reply is None:
        return Ruling(DeliveryState.uncertain, "the worker was lost between the final dot and the answer")
    said = str(reply)
    match classify(reply, Stage.FINAL):
        case Outcome.ACCEPTED:
            return Ruling(DeliveryState.sent, said)
        case Outcome.UNKNOWN:
            return Ruling(DeliveryState.uncertain, said)
        case Outcome.HARD:
            return Ruling(DeliveryState.failed, said, suppress="hard bounce")
        case Outcome.MESSAGE | Outcome.REJECTED:
            return Ruling(DeliveryState.failed, said)
        case Outcome.SENDER:
            return Ruling(DeliveryState.pending, said, now, attempted=False)
        case Outcome.SOFT if reply.code >= 500:
            return Ruling(DeliveryState.failed, said)
    return Ruling(DeliveryState.pending, said, now + retry)
