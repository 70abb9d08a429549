"""Orders to workers: to finish their tasks and take no more, and to take tasks again.

An order is a row with the name of a worker or a host. It holds until it is taken back, also for a worker that starts
later: one that its supervisor restarts stays drained.
"""

import re
from datetime import datetime

from mailer.domain.errors import UserError
from mailer.domain.metrics import DrainOrder, host_of
from mailer.domain.ports import Metrics
from mailer.store import worker_orders
from mailer.store.database import Database

_NAME = re.compile(r"[\w.+-]{1,100}(@[\w.+-]{1,150})?")


class InvalidWorkerName(UserError, ValueError):
    """This cannot be the name of a worker or a host."""


def drain(database: Database, name: str, actor: str, reason: str, now: datetime) -> bool:
    """Order a worker, or all workers of a host, to take no more tasks; return False if they are drained already.

    Raises InvalidWorkerName.
    """
    if not _NAME.fullmatch(name):
        raise InvalidWorkerName(f"“{name[:100]}” is neither a worker, such as send@mail-1, nor a host, such as mail-1.")
    with database.transaction() as session:
        return worker_orders.add(session, DrainOrder(name, actor, now, reason))


def release(database: Database, name: str) -> bool:
    """Take an order back; return whether there was one. An order to the whole host still holds for its workers."""
    with database.transaction() as session:
        return worker_orders.take_back(session, name)


def is_drained(database: Database, worker: str) -> bool:
    """Return whether a worker, or its host, is ordered to take no tasks."""
    with database.transaction() as session:
        return worker_orders.is_drained(session, worker)


def count_running(metrics: Metrics, name: str) -> int:
    """Return how many running workers an order of this name is for."""
    return sum(name in (worker.name, host_of(worker.name)) for worker in metrics.live_workers())
