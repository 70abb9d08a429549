"""Fixtures for flows through the pages of staff: the web process, on a port that is known before it is made."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from mailer.bootstrap import Container
from mailer.web.app import create_app
from tests.support.browser import PageCheck


@pytest.fixture(scope="session")
def look_over() -> PageCheck:
    return PageCheck()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def server(app: Container, listener: socket.socket) -> Iterator[None]:
    """The web process, in a thread."""
    running = uvicorn.Server(uvicorn.Config(create_app(app), log_level="error"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield
    running.should_exit = True
    thread.join()
