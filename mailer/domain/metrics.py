"""What went where lately: counts of outcomes by relay and destination, and the processes that are at work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

QUEUES = ("scheduler", "expand", "compose", "send", "retry", "transactional")
"""One queue a purpose, so that retries never hold up first sends, nor sends the clock."""


class OutcomeKey(NamedTuple):
    """What is counted together."""

    queue: str
    """``send`` for first attempts, ``retry`` for later ones."""
    relay: str
    provider: str
    outcome: str


@dataclass(frozen=True, slots=True)
class WorkerHeartbeat:
    """A process that said a moment ago that it is at work."""

    name: str
    queues: Sequence[str]
    active_tasks: int
    """Tasks under way."""
    started_at: float
    """Seconds since the epoch."""
    last_consumed: Mapping[str, float]
    """When it last took a task from each queue, in seconds since the epoch: what proves that it consumes."""
