"""Fixtures for pages of an issue that is being sent."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.newsletter_check import read_newsletter
from mailer.services.newsletters.apply import apply_newsletter
from mailer.web.app import create_app
from tests.support.clock import StoppedClock
from tests.support.mailing import Mailing
from tests.support.snapshots import Snapshots

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"


@pytest.fixture
def app(make_app: Callable[..., Container]) -> Container:
    """The whole service on an empty database, at one moment: limits count by the hour and the day."""
    return make_app(clock=StoppedClock())


@pytest.fixture
def mailing(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    snapshots: Snapshots,
) -> Mailing:
    """Return the sample issue, expanded and rendered but not sent. Its first section is always included."""

    def make() -> int:
        issue = import_issue("en", "ar")
        newsletter = read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8"))
        newsletter.sections[0].always_included = True
        apply_newsletter(app.database, newsletter)
        add_subscribers("""
            ada@example.org;en fr;
            leila@example.org;ar fr;water-and-rivers
            jovan@example.org;sr-Latn-BA pt en;water-and-rivers
        """)
        prepare(issue)
        return issue

    key = f"mailing of {app.settings.public_url} in batches of {app.settings.batch_size}"
    return Mailing(app, snapshots.restore_or_make(app.database, key, make))


@pytest.fixture
def web_app(mailing: Mailing) -> FastAPI:
    return create_app(mailing.app)


@pytest.fixture
def client(web_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(web_app, follow_redirects=False) as made:
        yield made


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return a function that serves an app on a local port and returns its URL."""
    running = []

    def run(web_app: FastAPI, **options: object) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(web_app, **({"log_level": "error"} | options)))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield run
    for server, thread, listener in running:
        server.should_exit = True
        thread.join()
        listener.close()
