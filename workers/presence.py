"""Each worker process says every few seconds that it is at work, and what it took last."""

import threading
import time
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_ready, worker_shutting_down

from mailer.domain.traffic import Presence
from workers.app import mailer

EVERY = 5.0

_lock = threading.Lock()
_busy = 0
_consumed: dict[str, float] = {}
_ended = threading.Event()


@task_prerun.connect  # type: ignore[untyped-decorator]
def _began(task: Any = None, **_: object) -> None:
    global _busy
    with _lock:
        _busy += 1
        queue = (task.request.delivery_info or {}).get("routing_key")
        if queue:
            _consumed[str(queue)] = time.time()


@task_postrun.connect  # type: ignore[untyped-decorator]
def _done(**_: object) -> None:
    global _busy
    with _lock:
        _busy -= 1


@worker_ready.connect  # type: ignore[untyped-decorator]
def _begin(sender: Any = None, **_: object) -> None:
    queues = sorted(queue.name for queue in sender.task_consumer.queues)
    threading.Thread(target=_tell, args=[sender.hostname, queues], name="presence", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _end(**_: object) -> None:
    _ended.set()


def _tell(name: str, queues: list[str]) -> None:
    since = time.time()
    while True:
        with _lock:
            presence = Presence(name, queues, _busy, since, dict(_consumed))
        mailer().telemetry.be_present(presence)
        if _ended.wait(EVERY):
            mailer().telemetry.leave(name)
            return
