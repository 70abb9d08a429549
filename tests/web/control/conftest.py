"""Fixtures for the pages of the control room."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.metrics import QUEUES, WorkerHeartbeat
from mailer.domain.permissions import Role
from mailer.web.app import create_app
from tests.support.clock import StoppedClock
from tests.support.smtp_sink import SinkServer
from tests.support.staff import add_account, sign_in


@pytest.fixture
def app(make_app: Callable[..., Container], sink: SinkServer) -> Container:
    """The whole service at one moment, behind HTTPS."""
    changes = {"public_url": "https://news.example.org", "smtp_port": sink.port, "batch_size": 1000}
    return make_app(changes, clock=StoppedClock())


@pytest.fixture
def web_app(app: Container) -> FastAPI:
    return create_app(app)


@pytest.fixture
def client(app: Container, web_app: FastAPI) -> Iterator[TestClient]:
    """Somebody of ops, signed in."""
    add_account(app, "omar@example.org", Role.ops)
    with TestClient(web_app, base_url="https://testserver", follow_redirects=False) as made:
        sign_in(made, "omar@example.org")
        yield made


@pytest.fixture
def live_worker(app: Container) -> None:
    """A worker that has just reported, for all queues."""
    at = app.clock.now().timestamp()
    app.metrics.send_heartbeat(WorkerHeartbeat("one@host", QUEUES, 1, at - 60, {"scheduler": at}))
