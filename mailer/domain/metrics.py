"""Recent outcomes by relay and provider, and heartbeats of workers and orders to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

QUEUES = ("scheduler", "expand", "compose", "send", "retry", "transactional", "maintenance")
"""The Celery queues. Separate, so that retries do not delay first sends, nor sends the scheduler."""


class OutcomeKey(NamedTuple):
    """The key under which outcomes are counted."""

    queue: str
    """``send`` for first attempts, ``retry`` for later ones."""
    relay: str
    provider: str
    outcome: str


def host_of(worker: str) -> str:
    """Return the host in the name of a worker, such as ``mail-1`` for ``send@mail-1``."""
    return worker.partition("@")[2]


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """An order to a worker, or to all workers of a host, to finish their tasks and take no more."""

    name: str
    """The worker's or the host's."""
    ordered_by: str
    ordered_at: datetime
    reason: str

    def covers(self, worker: str) -> bool:
        return self.name in (worker, host_of(worker))


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
