"""Sends a heartbeat of each worker process every few seconds, with the time of its last task per queue.

A worker whose loop no longer receives messages from Redis sends no heartbeat, even if its threads are running, nor does
one whose messages are with a relay and whose connections make no progress.
"""

import threading
import time
from dataclasses import replace
from typing import Any

from celery import bootsteps
from celery.signals import task_postrun, task_prerun, worker_ready, worker_shutting_down

from mailer.domain.metrics import WorkerHeartbeat
from workers.app import celery_app, container

HEARTBEAT_SECONDS = 5.0
LOOP_SILENCE_SECONDS = 10.0
"""How long the consumer's loop may be silent before the worker sends no more heartbeats."""

_lock = threading.Lock()
_active_tasks = 0
_last_consumed: dict[str, float] = {}
_stopping = threading.Event()
_queues: list[str] = []
"""Those that the worker was started for. A drained worker takes from none of them."""
_loop_seen = float("-inf")
"""When the consumer's loop last ran, in seconds on the monotonic clock."""


class LoopWatch(bootsteps.StartStopStep):  # type: ignore[misc]
    """Records every second that the consumer's loop is running. Restarted with each connection to Redis."""

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **_: object) -> None:
        super().__init__(consumer)
        _queues[:] = consumer.app.amqp.queues.consume_from

    def start(self, consumer: Any) -> None:
        """Start recording."""
        _record_loop()
        self._timer_entry = consumer.timer.call_repeatedly(1.0, _record_loop)

    def stop(self, consumer: Any) -> None:
        """Stop recording when the connection is closed."""
        self._timer_entry.cancel()


celery_app.steps["consumer"].add(LoopWatch)


def _record_loop() -> None:
    global _loop_seen
    _loop_seen = time.monotonic()


def loop_is_running(now: float) -> bool:
    """Return whether the consumer's loop ran recently. ``now`` is in seconds on the monotonic clock."""
    return now - _loop_seen < LOOP_SILENCE_SECONDS


@task_prerun.connect  # type: ignore[untyped-decorator]
def _on_task_started(task: Any = None, **_: object) -> None:
    global _active_tasks
    with _lock:
        _active_tasks += 1
        queue = (task.request.delivery_info or {}).get("routing_key")
        if queue:
            _last_consumed[str(queue)] = time.time()


@task_postrun.connect  # type: ignore[untyped-decorator]
def _on_task_finished(**_: object) -> None:
    global _active_tasks
    with _lock:
        _active_tasks -= 1


@worker_ready.connect  # type: ignore[untyped-decorator]
def _start_heartbeat(sender: Any = None, **_: object) -> None:
    queues = sorted(_queues)
    threading.Thread(target=_send_heartbeats, args=[sender.hostname, queues], name="heartbeat", daemon=True).start()
    if "send" in queues:
        threading.Thread(target=_recover_lost, name="recovery", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_heartbeat(**_: object) -> None:
    _stopping.set()


def _send_heartbeats(worker_name: str, queues: list[str]) -> None:
    started_at = time.time()
    while True:
        with _lock:
            heartbeat = WorkerHeartbeat(worker_name, queues, _active_tasks, started_at, dict(_last_consumed))
        pool = container().used_smtp_pool
        if loop_is_running(time.monotonic()) and not (pool and pool.stuck):
            problems = pool.problems() if pool else []
            container().metrics.send_heartbeat(replace(heartbeat, problems=problems))
        if _stopping.wait(HEARTBEAT_SECONDS):
            container().metrics.deregister(worker_name)
            return


def _recover_lost() -> None:
    """Settle what lost workers of this host left in flight, at the start and every few seconds."""
    while True:
        container().send_worker.recover_lost()
        if _stopping.wait(HEARTBEAT_SECONDS):
            return
