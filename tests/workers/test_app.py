"""The shared state of a worker process."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from celery.signals import beat_init, worker_init
from celery.utils.dispatch import Signal

from mailer.store.database import Database
from workers import app


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the process had only begun. Nothing connects: the database is asked for nothing."""
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path))
    app._container.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_concurrent_threads_share_one_sender() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            go = threading.Barrier(8)

            def ask(_: int, go: threading.Barrier = go) -> object:
                go.wait()
                return app.container().send_worker

            with ThreadPoolExecutor(8) as threads:
                found = list(threads.map(ask, range(8)))
            assert len(set(map(id, found))) == 1
            app._container.cache_clear()
    finally:
        sys.setswitchinterval(before)
        app._container.cache_clear()


def test_only_short_tasks_share_the_queue_of_the_scheduler() -> None:
    routes = {name.rpartition(".")[2]: route["queue"] for name, route in app.celery_app.conf.task_routes.items()}
    assert {name for name, queue in routes.items() if queue == "scheduler"} == {"tick", "record_flow"}
    long = {"run_maintenance", "check_network", "count_reports", "import_lists"}
    assert {name for name, queue in routes.items() if queue == "maintenance"} == long
    app.celery_app.loader.import_default_modules()
    tasks = {name for name in app.celery_app.tasks if name.startswith("workers.")}
    assert tasks == app.celery_app.conf.task_routes.keys()
    assert {line["task"] for line in app.celery_app.conf.beat_schedule.values()} <= tasks


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("start", [worker_init, beat_init])
def test_workers_with_the_keys_of_another_database_do_not_start(
    start: Signal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    start.send(sender=None)  # without a database they wait for it
    monkeypatch.setenv("MAILER_DATABASE_URL", database.url)
    start.send(sender=None)
    start.send(sender=None)
    monkeypatch.setenv("MAILER_SECRET_KEY", "x" * 32)
    with pytest.raises(SystemExit, match=r"^mailer: MAILER_PREVIOUS_SECRET_KEYS: the addresses in this database"):
        start.send(sender=None)


@pytest.mark.parametrize("module", ["workers.app", "mailer.__main__"])
def test_garbage_collection_is_enabled_after_start(module: str) -> None:
    said = f"import gc, {module}; print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
