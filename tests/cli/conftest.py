"""The command line, in this process."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from mailer import cli
from mailer.bootstrap import Mailer
from tests.conftest import SECRET

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mailer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; returns its exit status, what it printed, and what it complained of."""

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mailer", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, parts: Mailer) -> Mailer:
    """The command line works on the test's database."""
    monkeypatch.setenv("MAILER_DATABASE_URL", parts.database.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    return parts
