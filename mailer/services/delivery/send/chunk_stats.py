"""What the results of a micro-batch say of its relay and of its destinations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.outcomes import Outcome, redact_addresses
from mailer.domain.transfer import TransferResult
from mailer.store.ledger import DueDelivery

_SLOWDOWN_CODES = frozenset({421, 450, 451, 452, 454})
"""Replies that may ask for fewer messages."""
_CLOSING_CODE = 421


@dataclass(frozen=True, slots=True)
class ChunkStats:
    """Counted by destination."""

    relay: str
    outcomes: Mapping[str, Counter[str]]
    """By destination: how often each outcome came."""
    slowdown_replies: Mapping[str, int]
    """By destination: replies that may ask for fewer messages."""
    policy_refusals: Mapping[str, int]
    """By destination: first attempts that were refused for policy. Second ones only repeat a word on one mailbox."""
    closing_replies: int
    """421 alone, which is about the relay's own state."""
    answered: int
    """Messages that the relay has said a word on, whichever."""
    seconds: float
    """What the micro-batch took."""
    last_replies: Mapping[str, str]
    """By destination, and under the empty name for the relay: the last reply that was no acceptance."""


def summarize(
    relay: str,
    deliveries: Sequence[DueDelivery],
    providers: Sequence[str],
    results: Sequence[TransferResult],
    seconds: float,
) -> ChunkStats:
    """``destinations``: of each of ``due``."""
    outcomes: dict[str, Counter[str]] = {}
    deferred: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    words: dict[str, str] = {}
    closing = 0
    accepted = Outcome.ACCEPTED
    if all(result.outcome is accepted for result in results) and len(results) == len(deliveries):
        # As nearly always: no need to look at each.
        counts = Counter(providers)
        outcomes = {name: Counter({accepted: count}) for name, count in counts.items()}
        return ChunkStats(relay, outcomes, deferred, refused, closing, len(results), seconds, words)
    of = {one.subscriber: (name, one.attempts) for one, name in zip(deliveries, providers, strict=True)}
    for result in results:
        outcome = result.outcome
        name, attempts = of[result.key]  # type: ignore[index]
        outcomes.setdefault(name, Counter())[outcome] += 1
        if outcome is Outcome.ACCEPTED:
            continue
        code = result.reply.code if result.reply else 0
        said = redact_addresses(str(result.reply) if result.reply else result.detail)
        words[name] = said
        if outcome is Outcome.RELAY_UNAVAILABLE or code in (0, _CLOSING_CODE):
            words[""] = said
        deferred[name] += outcome is Outcome.DEFERRED and code in _SLOWDOWN_CODES
        refused[name] += outcome is Outcome.POLICY and attempts == 1
        closing += code == _CLOSING_CODE
    answered = sum(
        result.reply is not None and result.outcome is not Outcome.RELAY_UNAVAILABLE for result in results
    )
    return ChunkStats(relay, outcomes, deferred, refused, closing, answered, seconds, words)
