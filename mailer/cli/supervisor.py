"""Starts and stops the service's processes on one host."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mailer.bootstrap import Container

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the kernel stop this child when its parent dies, so that it does not keep sending."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def handle_termination() -> None:
    """Raise KeyboardInterrupt on SIGTERM, and on SIGINT even where a shell started us ignoring it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


class Supervisor:
    """Runs the web server, workers and beat as child processes with the same settings and servers."""

    def __init__(self, app: Container) -> None:
        self._settings = app.settings
        self._app = app
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def _environment(self) -> Mapping[str, str]:
        return (
            os.environ
            | self._settings.environment()
            | {
                "MAILER_DATABASE_URL": self._app.database_url,
                "MAILER_REDIS_URL": self._app.redis_url,
                "MAILER_SECRET_KEY": self._app.secret_key,
                "MAILER_STATE_DIR": str(self._settings.state_dir.resolve()),
            }
        )

    def start(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start ``python -m arguments…``. Its output goes to ``logs/{name}.log`` in the state folder."""
        logs: Path = self._app.state_dir / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**self._environment(), **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,
            )

    def start_worker(self, name: str, queues: str, threads: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a Celery worker for a comma-separated list of queues."""
        command = [
            "celery",
            "-A",
            "workers.app",
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            str(threads),
        ]
        options = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        self.start(name, *command, "-Q", queues, "-n", f"{name}@%h", *options, environment=environment)

    def start_beat(self, name: str = "beat", environment: Mapping[str, str] | None = None) -> None:
        """Start Celery beat with a schedule file of its own."""
        schedule = str(self._settings.state_dir / f"{name}-schedule")
        command = ["celery", "-A", "workers.app", "beat", "--loglevel", "WARNING", "-s", schedule]
        self.start(name, *command, environment=environment)

    def start_all(self, *, web: bool = True) -> None:
        """Start workers and beat, and the web server unless ``web`` is false."""
        if web:
            self.start("web", "mailer", "web")
        # At most four tasks of maintenance run at the same time, so the others always have a thread.
        self.start_worker("prepare", "scheduler,transactional,expand,compose,maintenance", 8)
        # Two processes, because the GIL keeps one on one core. Two threads each: while one waits for the
        # last messages of its batch, the other is sending.
        self.start_worker("send", "send,retry", 2)
        self.start_worker("send-2", "send,retry", 2)
        self.start_beat()

    def exited(self) -> list[str]:
        """Return the names of processes that have exited on their own."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def pid(self, name: str) -> int:
        """Return the process id of a running process."""
        return self._running[name].pid

    def stop(self, seconds: float = 15, *names: str) -> None:
        """Stop the named processes, or all: SIGTERM, then SIGKILL after ``seconds``."""
        stopping = [self._running.pop(name) for name in names or tuple(self._running)]
        for process in stopping:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + seconds
        for process in stopping:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
