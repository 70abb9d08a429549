"""The Celery application, and the container of each worker process."""

import gc
import threading
from functools import cache

from celery import Celery
from celery.signals import beat_init, worker_init, worker_process_shutdown, worker_shutdown, worker_shutting_down
from kombu import Queue

from mailer.bootstrap import Container
from mailer.domain.errors import DatabaseDown
from mailer.domain.metrics import QUEUES
from mailer.services.maintenance.address_key import WrongAddressKey
from mailer.settings import read_settings


def broker_url(redis_url: str) -> str:
    """Return the URL of Redis in the form required by Celery."""
    return redis_url.replace("unix://", "redis+socket://", 1) if redis_url.startswith("unix://") else redis_url


celery_app = Celery("mailer")
celery_app.conf.update(
    broker_url=broker_url(read_settings().redis_url),
    imports=("workers.pipeline", "workers.maintenance", "workers.heartbeat", "workers.orders"),
    task_queues=[Queue(name, routing_key=name) for name in QUEUES],
    task_default_queue="scheduler",
    task_routes={
        "workers.pipeline.tick": {"queue": "scheduler"},
        "workers.pipeline.expand": {"queue": "expand"},
        "workers.pipeline.compose": {"queue": "compose"},
        "workers.pipeline.send": {"queue": "send"},
        "workers.maintenance.send_transactional": {"queue": "transactional"},
        "workers.maintenance.run_maintenance": {"queue": "maintenance"},
        "workers.maintenance.check_network": {"queue": "maintenance"},
        "workers.maintenance.record_flow": {"queue": "scheduler"},
        "workers.maintenance.count_reports": {"queue": "maintenance"},
        "workers.maintenance.import_lists": {"queue": "maintenance"},
    },
    task_ignore_result=True,
    task_acks_late=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_consumer="workers.consumer:ResilientConsumer",
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        # A task that is delivered again has no further effect, so long tasks are safe.
        "visibility_timeout": 600,
        # Queues are served in the order in which a worker names them: senders retry when they have no first attempts.
        "queue_order_strategy": "priority",
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    },
    redis_socket_timeout=5,
    redis_socket_connect_timeout=5,
    redis_backend_health_check_interval=10,
    worker_send_task_events=False,
    # A delayed tick may expire, since the next one does its work.
    beat_schedule={
        "tick": {"task": "workers.pipeline.tick", "schedule": 1.0, "options": {"expires": 5}},
        "transactional": {
            "task": "workers.maintenance.send_transactional",
            "schedule": 2.0,
            "options": {"expires": 5},
        },
        "imports": {"task": "workers.maintenance.import_lists", "schedule": 2.0, "options": {"expires": 5}},
        "flow": {"task": "workers.maintenance.record_flow", "schedule": 60.0, "options": {"expires": 30}},
        "reports": {"task": "workers.maintenance.count_reports", "schedule": 60.0, "options": {"expires": 30}},
        "maintenance": {
            "task": "workers.maintenance.run_maintenance",
            "schedule": 3600.0,
            "options": {"expires": 600},
        },
    },
    timezone="UTC",
)
gc.freeze()
gc.enable()


_container_lock = threading.RLock()


def container() -> Container:
    """Return this process's container, shared by its threads. It is created by the first task, so after any fork."""
    with _container_lock:
        return _container()


@cache
def _container() -> Container:
    app = Container(application="mailer worker", pool_size=10)
    # Exempt existing objects from garbage collection: scanning them took a tenth of the sending time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    return app


@worker_init.connect  # type: ignore[untyped-decorator]
@beat_init.connect  # type: ignore[untyped-decorator]
def _check_key(**_: object) -> None:
    """Refuse to start with keys that do not belong to the database."""
    with Container(application="mailer worker") as container:
        try:
            container.tokens  # noqa: B018
        except WrongAddressKey as error:
            raise SystemExit(f"mailer: {error}") from None
        except DatabaseDown:
            pass  # sending goes on by itself when it is back


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_sending(**_: object) -> None:
    if _container.cache_info().currsize:
        container().send_worker.stop()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close_container(**_: object) -> None:
    if _container.cache_info().currsize:
        container().close()
        _container.cache_clear()
