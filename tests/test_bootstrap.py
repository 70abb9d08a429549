"""The container: what it makes from the settings."""

import contextlib
import os
import socketserver
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.sink import SinkServer
from mailer.adapters.embedded import UnusableStateDir
from mailer.bootstrap import Container
from mailer.settings import Settings
from tests.conftest import SECRET
from tests.support.scripted_smtp import RecordingObserver, envelopes


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:9/none", secret_key=SECRET, state_dir=tmp_path / "a" / "state"
    )
    with Container(settings) as app:
        assert app.journals.folder_id
    assert mode(tmp_path / "a" / "state") == 0o700


def test_a_state_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with Container(Settings(state_dir=tmp_path)) as app:
        assert app.journals.folder_id
    assert mode(tmp_path) == 0o750


def test_only_the_embedded_server_of_root_can_pass_through_the_state_folder(tmp_path: Path) -> None:
    """Started by root, the embedded PostgreSQL runs as another user; else the folder is for its owner alone."""
    with Container(Settings(state_dir=tmp_path / "state")) as app:
        assert app.secret_key
    assert mode(tmp_path / "state") == (0o711 if os.geteuid() == 0 else 0o700)
    assert mode(tmp_path / "state" / "secret.key") == 0o600


def test_new_database_is_named_with_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = tmp_path / "a b"  # in which no server can run, so that none starts
    for _ in range(2):
        with Container(Settings(state_dir=state)) as app, pytest.raises(UnusableStateDir):
            assert app.database_url
        (state / "postgres").mkdir(exist_ok=True)
    (told,) = caplog.messages
    assert told.startswith("MAILER_DATABASE_URL is not set: a new, empty database is made in ")
    assert str(state / "postgres") in told


SMTP_SETTINGS: list[dict[str, Any]] = [
    {"smtp_messages_per_connection": 1, "smtp_pipelining": False, "smtp_timeouts": {"mail": 0.2}},
    {
        "relays": [
            {
                "name": "relay",
                "host": "127.0.0.1",
                "messages_per_connection": 1,
                "pipelining": False,
                "timeouts": {"mail": 0.2},
            }
        ]
    },
]


def with_port(fields: dict[str, Any], port: int) -> Settings:
    relays = fields.get("relays")
    if isinstance(relays, list):
        return Settings(relays=[relay | {"port": port} for relay in relays])
    return Settings(**fields, smtp_port=port)


@pytest.mark.parametrize("fields", SMTP_SETTINGS)
def test_messages_per_connection_are_those_of_the_relay(fields: dict[str, Any]) -> None:
    with SinkServer("/dev/null") as sink, Container(with_port(fields, sink.port)) as app:
        report = app.smtp_pool.transfer(envelopes(3), RecordingObserver(), "relay").result(10)
        assert [str(result.outcome) for result in report.results] == ["accepted"] * 3
        assert sink.counts.connections == 3


class SilentAfterMail(socketserver.StreamRequestHandler):
    """Offers PIPELINING and never answers MAIL. ``first_packets`` is what follows EHLO."""

    first_packets: list[bytes]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.wfile.write(b"220 here\r\n")
            self.rfile.readline()
            self.wfile.write(b"250-here\r\n250 PIPELINING\r\n")
            self.first_packets.append(self.connection.recv(65536))
            self.connection.recv(1)


@pytest.fixture
def silent() -> Iterator[socketserver.ThreadingTCPServer]:
    SilentAfterMail.first_packets = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SilentAfterMail) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("fields", SMTP_SETTINGS)
def test_pipelining_and_time_outs_are_those_of_the_relay(
    fields: dict[str, Any], silent: socketserver.ThreadingTCPServer
) -> None:
    with Container(with_port(fields, silent.server_address[1])) as app:
        report = app.smtp_pool.transfer(envelopes(1), RecordingObserver(), "relay").result(10)
    assert [result.detail for result in report.results] == ["timed out"]
    assert [packet.count(b"\r\n") for packet in SilentAfterMail.first_packets] == [1, 1]
