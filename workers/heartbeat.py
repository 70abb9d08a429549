"""Each worker process says every few seconds that it is at work, and what it took last."""

import threading
import time
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_ready, worker_shutting_down

from mailer.domain.metrics import WorkerHeartbeat
from workers.app import container

HEARTBEAT_SECONDS = 5.0

_lock = threading.Lock()
_active_tasks = 0
_last_consumed: dict[str, float] = {}
_stopping = threading.Event()


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
    queues = sorted(queue.name for queue in sender.task_consumer.queues)
    threading.Thread(target=_send_heartbeats, args=[sender.hostname, queues], name="presence", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_heartbeat(**_: object) -> None:
    _stopping.set()


def _send_heartbeats(worker_name: str, queues: list[str]) -> None:
    since = time.time()
    while True:
        with _lock:
            presence = WorkerHeartbeat(worker_name, queues, _active_tasks, since, dict(_last_consumed))
        container().metrics.send_heartbeat(presence)
        if _stopping.wait(HEARTBEAT_SECONDS):
            container().metrics.deregister(worker_name)
            return
