"""Starts the service's processes from one that has imported the libraries: importing took most of their start."""

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mailer.cli.supervisor import Supervisor

_SERVER = multiprocessing.get_context("forkserver")
# Not workers.app, which reads its settings when it is imported.
_SERVER.set_forkserver_preload(
    [
        "celery.apps.beat",
        "celery.apps.worker",
        "celery.bin.beat",
        "celery.bin.celery",
        "celery.bin.worker",
        "celery.concurrency.thread",
        "celery.fixups.django",
        "kombu.transport.redis",
        "mailer.adapters.mjml",
        "mailer.adapters.smtp.pool",
        "mailer.cli",
        "mailer.services.delivery.bulk",
        "mailer.services.delivery.dispatch",
        "mailer.services.delivery.monitor",
        "mailer.services.delivery.send.worker",
        "mailer.services.delivery.transactional",
        "mailer.services.issues.compile",
        "mailer.services.issues.digest",
        "mailer.services.issues.edit",
        "mailer.services.issues.network_checks",
        "mailer.services.issues.report",
        "mailer.services.issues.text_requests",
        "mailer.services.maintenance.address_key",
        "mailer.services.maintenance.mx_records",
        "mailer.services.maintenance.pictures",
        "mailer.services.maintenance.retention",
        "mailer.services.newsletters.address_book",
        "mailer.services.subscribers.import_jobs",
        "mailer.settings",
        "psycopg_pool",
        "uvloop",
    ]
)
_PR_SET_PDEATHSIG = 1


def _run(arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    """Be ``python -m arguments…`` from here on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab", buffering=0) as output, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


class _Process:
    """A process with the part of subprocess.Popen's interface that the supervisor uses."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.terminate, self.kill = process.terminate, process.kill
        assert process.pid
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._process.exitcode


class PreloadedSupervisor(Supervisor):
    """Runs the same programs with the same settings as Supervisor."""

    def start(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        logs = self._app.state_dir / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{name}.log"
        log.write_bytes(b"")
        process = _SERVER.Process(target=_run, args=(arguments, {**self._environment(), **(environment or {})}, log))
        process.start()
        self._running[name] = _Process(process)  # type: ignore[assignment]
