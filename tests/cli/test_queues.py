"""mailer queues, as ops type it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailer.adapters.embedded import Valkey
from mailer.cli import app
from mailer.settings import Settings


@pytest.fixture
def run(settings: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    for name, value in settings.model_copy(update={"redis_url": valkey.url}).environment().items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()

    def invoke(*words: str) -> str:
        result = runner.invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_a_hold_is_seen_and_lifted(run: object) -> None:
    assert callable(run)
    assert "destination Gmail until" in run(
        "queues", "hold", "gmail", "--for", "2h", "--why", "their request"
    )
    shown = json.loads(run("queues", "--json"))
    assert {queue["name"] for queue in shown["queues"]} == {"expand", "compose", "send", "retry", "notes"}
    assert [(one["name"], one["state"], one["reason"]) for one in shown["destinations"]] == [
        ("Gmail", "held", "their request")
    ]
    assert "their request" in run("queues", "--once")
    assert "destination Gmail again" in run("queues", "release", "Gmail")
    assert json.loads(run("queues", "--json"))["destinations"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["queues", "hold", "nobody"], "is no relay and no receiving domain"),
        (["queues", "hold", "Gmail", "--for", "long"], "is not a time such as 30m"),
        (["issue", "limit", "1", "fast"], "is not a rate such as 50/s"),
        (["issue", "limit", "1", "5/s"], "There is no issue 1"),
    ],
)
def test_nonsense_is_answered_in_a_sentence(run: object, words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert said in str(result.exception)
