"""The service's processes on one host, started and ended together."""

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
    """A child whose parent was killed must not go on sending."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def handle_termination() -> None:
    """SIGTERM is KeyboardInterrupt, too; and so is SIGINT where a shell has it ignored, as in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


class Supervisor:
    """Web, workers and beat as children of this process, with the same settings and servers."""

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
        """Start ``python -m words…``, with what ``environment`` adds; what it prints goes to ``{name}.log``
        in the state folder."""
        logs: Path = self._settings.state_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**self._environment(), **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,
            )

    def start_worker(
        self, name: str, queues: str, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        words = ["celery", "-A", "workers.app", "worker", "--pool", "threads", "--concurrency", str(threads)]
        options = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        self.start(name, *words, "-Q", queues, "-n", f"{name}@%h", *options, environment=environment)

    def start_beat(self, name: str = "beat", environment: Mapping[str, str] | None = None) -> None:
        schedule = str(self._settings.state_dir / f"{name}-schedule")
        words = ["celery", "-A", "workers.app", "beat", "--loglevel", "WARNING", "-s", schedule]
        self.start(name, *words, environment=environment)

    def start_all(self, *, web: bool = True) -> None:
        if web:
            self.start("web", "mailer", "web")
        self.start_worker("prepare", "scheduler,expand,compose,transactional", 3)
        # Python runs on one core at a time: two processes use two. While one thread of a process waits for
        # the last messages of its batch, the other one's are under way.
        self.start_worker("send", "send,retry", 2)
        self.start_worker("send-2", "send,retry", 2)
        self.start_beat()

    def exited(self) -> list[str]:
        """Names of processes that have ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def stop(self, seconds: float = 15, *names: str) -> None:
        """End those, or all: SIGTERM, and SIGKILL for what is still there after a while."""
        ending = [self._running.pop(name) for name in names or tuple(self._running)]
        for process in ending:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + seconds
        for process in ending:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
