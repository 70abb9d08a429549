"""Recent outcomes by relay and provider, and heartbeats of workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

QUEUES = ("scheduler", "expand", "compose", "send", "retry", "transactional")
"""The Celery queues. Separate, so that retries do not delay first sends, nor sends the scheduler."""


class OutcomeKey(NamedTuple):
    """The key under which outcomes are counted."""

    queue: str
    """``send`` for first attempts, ``retry`` for later ones."""
    relay: str
    provider: str
    outcome: str


@dataclass(frozen=True, slots=True)
class WorkerHeartbeat:
    """The latest report of a running worker process."""

    name: str
    queues: Sequence[str]
    active_tasks: int
    started_at: float
    """Seconds since the epoch."""
    last_consumed: Mapping[str, float]
    """When it last took a task from each queue, in seconds since the epoch."""
    problems: Sequence[str] = field(default_factory=list)
    """What keeps its messages from having a result, each with the relay's host and port."""
