"""Asking for leave to send: so many messages, within the rates of one or several buckets."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket and its ``rate`` in messages a second, above 0."""

    bucket: str
    rate: float


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """For ``want`` messages that count in every bucket of ``limits``; fewer than ``least`` are not worth it."""

    limits: Sequence[RateLimit]
    tokens: int
    minimum: int = 1
    may_borrow: bool = False
    """May have what the buckets gain in the next second too: so that few messages have their turn beside many."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    tokens: int
    retry_after_seconds: float = 0.0
    """Seconds until asking again is worth it, where nothing was granted."""


def min_useful_tokens(tokens: int, limits: Sequence[RateLimit]) -> int:
    """The least to ask for: what a fifth of a second brings, so that slow limits cost few transactions."""
    return max(1, min(tokens, int(min(limit.rate for limit in limits) / 5)))
