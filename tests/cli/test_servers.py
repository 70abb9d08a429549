"""mailer web and mailer inbox: what they say when they cannot begin."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def taken() -> Iterator[int]:
    """A port where somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_named(mailer: Run, served: object, taken: int, tmp_path: Path) -> None:
    said = f"mailer: Nothing can be served on 127.0.0.1:{taken}: Address already in use. Choose another with"
    inbox = ("inbox", "--smtp-port", "0", "--folder", tmp_path)
    assert mailer(*inbox, "--web-port", taken) == (2, "", f"{said} --web-port.\n")


def test_a_port_of_the_settings_that_is_taken_is_named(
    mailer: Run, served: object, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_WEB_PORT", str(taken))
    status, out, err = mailer("web")
    assert (status, out) == (2, "")
    assert err.endswith("Address already in use. Choose another with MAILER_WEB_PORT.\n")
