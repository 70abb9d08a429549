"""Asking for leave to send: so many messages, within the rates of one or several buckets."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket and its ``rate`` in messages a second, above 0."""

    bucket: str
    rate: float


@dataclass(frozen=True, slots=True)
class Ask:
    """For ``want`` messages that count in every bucket of ``limits``; fewer than ``least`` are not worth it."""

    limits: Sequence[Limit]
    want: int
    least: int = 1
    ahead: bool = False
    """May have what the buckets gain in the next second too: so that few messages have their turn beside many."""


@dataclass(frozen=True, slots=True)
class Grant:
    count: int
    wait: float = 0.0
    """Seconds until asking again is worth it, where nothing was granted."""


def worthwhile(want: int, limits: Sequence[Limit]) -> int:
    """The least to ask for: what a fifth of a second brings, so that slow limits cost few transactions."""
    return max(1, min(want, int(min(limit.rate for limit in limits) / 5)))
