"""Requests and grants for token buckets. One message takes one token from each of its buckets."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket and its rate in messages a second, above 0."""

    bucket: str
    rate: float


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for tokens from several buckets at once."""

    limits: Sequence[RateLimit]
    tokens: int
    minimum: int = 1
    """The smallest useful grant; if fewer tokens are available, none are granted."""
    may_borrow: bool = False
    """Whether to use the next second's tokens too. Lets small senders pass next to large ones."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """The answer to a request: the same number of tokens from each bucket."""

    tokens: int
    retry_after_seconds: float = 0.0
    """Seconds to wait before the next request, if nothing was granted."""


def min_useful_tokens(tokens: int, limits: Sequence[RateLimit]) -> int:
    """Return the smallest useful grant: a fifth of a second's tokens, to limit transactions."""
    return max(1, min(tokens, int(min(limit.rate for limit in limits) / 5)))
