"""Fixtures: real Celery workers on a real broker, and a relay that logs accepted messages."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from mailer.adapters.embedded import Valkey
from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.services.issues import report
from mailer.services.issues.report import IssueStatus
from mailer.settings import ROOT, Settings
from tests.support.preloaded import PreloadedSupervisor


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty broker: the one that MAILER_TEST_REDIS_URL names, else an embedded one."""
    url = os.environ.get("MAILER_TEST_REDIS_URL")
    if url is None:
        valkey: Valkey = request.getfixturevalue("valkey")
        url = valkey.url
    redis.Redis.from_url(url).flushall()
    return url


@dataclass(slots=True)
class SinkProcess:
    """The process of bench/sink.py and its log of accepted messages."""

    port: int
    log: Path
    process: subprocess.Popen[str]

    def accepted(self) -> Counter[str]:
        """Message-ID → number of times it was accepted."""
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()

    def stop(self) -> dict[str, int]:
        self.process.terminate()
        return dict(json.loads(self.process.communicate()[0]))


@pytest.fixture
def relay(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SinkProcess]:
    """Return a slow relay, so that a send can be disturbed. Markers change its behaviour."""
    words = getattr(request, "param", ["--latency", "0.01"])
    log = tmp_path / "accepted.log"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "sink.py"), "--log", str(log), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield SinkProcess(int(process.stdout.readline()), log, process)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def settings(settings: Settings, relay: SinkProcess, redis_url: str) -> Settings:
    return settings.model_copy(
        update={
            "smtp_port": relay.port,
            "redis_url": redis_url,
            "batch_size": 50,
            "lease_seconds": 5,
            "smtp_connections": 2,
        }
    )


@pytest.fixture
def processes(app: Container) -> Iterator[Supervisor]:
    with PreloadedSupervisor(app) as made:
        yield made


@pytest.fixture
def wait_for_status(app: Container) -> Callable[..., IssueStatus]:
    """Wait until an issue has the expected status. Fail with the last one seen."""

    def wait(issue: int, condition: Callable[[IssueStatus], bool], seconds: float = 60) -> IssueStatus:
        began = time.monotonic()
        while True:
            status = report.status(app.database, issue, datetime.now(UTC))
            if condition(status):
                return status
            if time.monotonic() - began > seconds:
                logs = "\n".join(
                    f"--- {log.name}\n{log.read_text()[-1500:]}"
                    for log in sorted((app.settings.state_dir / "logs").glob("*.log"))
                )
                pytest.fail(f"after {seconds} s: {status}\n{logs}")
            time.sleep(0.05)

    return wait
