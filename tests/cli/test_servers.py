"""Start-up errors of ``mailer web``, ``inbox`` and ``migrate``."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mailer.adapters.embedded import Postgres, Valkey
from tests.cli.conftest import RunCli
from tests.conftest import SECRET
from tests.support.smtp_sink import SinkServer


@pytest.fixture
def taken() -> Iterator[int]:
    """A port where somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_occupied_port_is_named(mailer: RunCli, cli_app: object, taken: int, tmp_path: Path) -> None:
    said = f"mailer: Cannot listen on 127.0.0.1:{taken}: Address already in use. Choose another port with"
    inbox = ("inbox", "--smtp-port", "0", "--folder", tmp_path)
    assert mailer(*inbox, "--web-port", taken) == (2, "", f"{said} --web-port.\n")


def test_occupied_port_of_the_settings_is_named(
    mailer: RunCli, cli_app: object, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_WEB_PORT", str(taken))
    status, out, err = mailer("web")
    assert (status, out) == (2, "")
    assert err.endswith("Address already in use. Choose another port with MAILER_WEB_PORT.\n")


def test_missing_tables_are_reported(
    mailer: RunCli, postgres: Postgres, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"bare_{worker}_{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("MAILER_DATABASE_URL", postgres.url(name))
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    for words in (["issue", "list"], ["queues", "--once"], ["explain", "1", "ada@example.org"]):
        assert mailer(*words) == (
            2,
            "",
            "mailer: The database has no tables. Create them with: mailer migrate.\n",
        )


def test_migrating_an_unreachable_database_reports_one_sentence(
    mailer: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    status, out, err = mailer("migrate")
    assert (status, out) == (2, "")
    assert err.startswith("mailer: The database does not answer: connection failed:") and err.count("\n") == 1


@pytest.fixture
def mail_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SinkServer]:
    """A relay that the settings name."""
    with SinkServer(tmp_path / "log") as sink:
        monkeypatch.setenv("MAILER_SMTP_PORT", str(sink.port))
        yield sink


def test_settings_that_hold_are_said_to_be_valid(
    mailer: RunCli, cli_app: object, valkey: Valkey, mail_relay: SinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_REDIS_URL", valkey.url)
    assert mailer("settings", "--check", "--relay") == (0, "The settings are valid.\n", "")


def test_every_wrong_setting_is_named_at_once(
    mailer: RunCli, mail_relay: SinkServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "s1.pem"
    monkeypatch.setenv("MAILER_BATCH_SIZE", "many")
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("MAILER_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("MAILER_DKIM", json.dumps([{"domain": "example.org", "selector": "s1", "key_file": str(key)}]))
    monkeypatch.setenv("MAILER_SMTP_TLS", "starttls")
    status, out, err = mailer("settings", "--check", "--relay")
    assert (status, out) == (2, "")
    said = dict(line.split(": ", 1) for line in err.splitlines())
    assert list(said) == [
        "MAILER_BATCH_SIZE",
        "MAILER_SECRET_KEY",
        "MAILER_DKIM[0].key_file",
        "MAILER_DATABASE_URL",
        "MAILER_REDIS_URL",
        f"relay relay, 127.0.0.1:{mail_relay.port}",
    ]
    assert said.popitem()[1] == "starttls: STARTTLS is not offered"


def test_a_check_starts_no_server(mailer: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path / "state"))
    assert mailer("settings", "--check") == (0, "The settings are valid.\n", "")
    assert not (tmp_path / "state").exists()
