"""Fixtures to run the command line in this process."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from mailer import cli
from mailer.bootstrap import Container
from tests.conftest import SECRET

RunCli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mailer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCli:
    """Run the command line. Return its exit status, standard output and standard error."""

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mailer", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def cli_app(monkeypatch: pytest.MonkeyPatch, app: Container) -> Container:
    """Make the command line use the test's database."""
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    return app
