"""Carries out orders to drain this worker: it finishes its tasks and takes no more until the order is taken back.

A thread reads the order; the consumer's loop, which alone may touch the connection to Redis, acts on it. Both look
often enough for an order to take hold within two seconds.
"""

import threading
from typing import Any

from celery import bootsteps
from celery.signals import worker_ready, worker_shutting_down

from mailer.domain.errors import DatabaseDown
from mailer.services.delivery import worker_orders
from workers.app import celery_app, container

READ_SECONDS = 0.7
ACT_SECONDS = 1.0

_drained = threading.Event()
_stopping = threading.Event()


class OrderWatch(bootsteps.StartStopStep):  # type: ignore[misc]
    """Stops taking tasks from the queues, or starts again. Restarted with each connection to Redis."""

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **_: object) -> None:
        super().__init__(consumer)
        self._queues = list(consumer.app.amqp.queues.consume_from)

    def start(self, consumer: Any) -> None:
        """Act on the order before the loop takes its first task: with it the worker begins to consume."""
        _read(consumer.hostname)
        if _drained.is_set():
            for queue in self._queues:
                consumer.cancel_task_queue(queue)
        self._timer_entry = consumer.timer.call_repeatedly(ACT_SECONDS, self._act, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Stop acting when the connection is closed."""
        self._timer_entry.cancel()

    def _act(self, consumer: Any) -> None:
        for queue in self._queues:  # in their order, which is that of their priority
            taking = consumer.task_consumer.consuming_from(queue)
            if taking and _drained.is_set():
                consumer.cancel_task_queue(queue)
            elif not taking and not _drained.is_set():
                consumer.add_task_queue(queue)


celery_app.steps["consumer"].add(OrderWatch)


def _read(worker: str) -> None:
    try:
        drained = worker_orders.is_drained(container().database, worker)
    except DatabaseDown:
        return  # the last order that was read still holds
    (_drained.set if drained else _drained.clear)()


@worker_ready.connect  # type: ignore[untyped-decorator]
def _start_reading(sender: Any = None, **_: object) -> None:
    threading.Thread(target=_read_repeatedly, args=[sender.hostname], name="orders", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_reading(**_: object) -> None:
    _stopping.set()


def _read_repeatedly(worker: str) -> None:
    while not _stopping.wait(READ_SECONDS):
        _read(worker)
