"""What the results of a chunk tell about its relay and its providers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.outcomes import Outcome, redact_addresses
from mailer.domain.transfer import TransferResult
from mailer.store.ledger import DueDelivery

_SLOWDOWN_CODES = frozenset({421, 450, 451, 452, 454})
"""Replies that may ask for fewer messages."""
_CLOSING_CODE = 421
_OUTCOMES_OF_RELAY = frozenset({Outcome.RELAY_UNAVAILABLE, Outcome.RELAY_BUSY})


@dataclass(frozen=True, slots=True)
class ChunkStats:
    relay: str
    outcomes: Mapping[str, Counter[str]]
    """By provider: how often each outcome came."""
    slowdown_replies: Mapping[str, int]
    """By provider: replies that may ask for fewer messages."""
    policy_refusals: Mapping[str, int]
    """By provider: deliveries refused by policy for the first time. Later refusals of them only repeat that."""
    closing_replies: int
    """421 alone, which is about the relay's own state."""
    answered: int
    """Messages that the relay accepted or refused, rather than asked to wait or could not take at all."""
    seconds: float
    """From handing the chunk to the relay to its last reply."""
    last_replies: Mapping[str, str]
    """By provider, and under the empty name for the relay: the last reply that was no acceptance."""


def summarize(
    relay: str,
    deliveries: Sequence[DueDelivery],
    providers: Sequence[str],
    results: Sequence[TransferResult],
    seconds: float,
) -> ChunkStats:
    """Count the results of a chunk; ``providers`` are those of its deliveries."""
    outcomes: dict[str, Counter[str]] = {}
    slowdowns: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    last_replies: dict[str, str] = {}
    closing = 0
    accepted = Outcome.ACCEPTED
    if all(result.outcome is accepted for result in results) and len(results) == len(deliveries):
        # As nearly always: no need to look at each.
        counts = Counter(providers)
        outcomes = {name: Counter({accepted: count}) for name, count in counts.items()}
        return ChunkStats(relay, outcomes, slowdowns, refused, closing, len(results), seconds, last_replies)
    by_subscriber = {
        one.subscriber: (name, one.policy_refusals) for one, name in zip(deliveries, providers, strict=True)
    }
    for result in results:
        outcome = result.outcome
        name, policy_refusals = by_subscriber[result.key]  # type: ignore[index]
        outcomes.setdefault(name, Counter())[outcome] += 1
        if outcome is Outcome.ACCEPTED:
            continue
        code = result.reply.code if result.reply else 0
        reply = redact_addresses(str(result.reply) if result.reply else result.detail)
        last_replies[name] = reply
        if outcome in _OUTCOMES_OF_RELAY or code in (0, _CLOSING_CODE):
            last_replies[""] = reply
        slowdowns[name] += outcome is Outcome.DEFERRED and code in _SLOWDOWN_CODES
        refused[name] += outcome is Outcome.POLICY and not policy_refusals
        closing += code == _CLOSING_CODE
    answered = sum(result.reply is not None and result.outcome not in _OUTCOMES_OF_RELAY for result in results)
    return ChunkStats(relay, outcomes, slowdowns, refused, closing, answered, seconds, last_replies)
