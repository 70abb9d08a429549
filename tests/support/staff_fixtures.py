"""Fixtures for the pages of staff, for the conftest.py of each folder with tests of them."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.web.app import create_app
from tests.support.clock import StoppedClock


@pytest.fixture
def app(make_app: Callable[..., Container], request: pytest.FixtureRequest) -> Container:
    """The whole service at one moment, behind HTTPS."""
    changes: dict[str, object] = {"public_url": "https://news.example.org"}
    marker = request.node.get_closest_marker("settings")
    return make_app(changes | (marker.kwargs if marker else {}), clock=StoppedClock())


@pytest.fixture
def client(app: Container) -> Iterator[TestClient]:
    with TestClient(create_app(app), base_url="https://testserver", follow_redirects=False) as made:
        yield made
