"""``mailer subscribers show``, ``export`` and ``erase``."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.cli.errors import UsageError
from mailer.web.app import create_app
from tests.conftest import SECRET

ADA, BOB = "ada@example.org", "bob@example.org"
TODAY = f"{datetime.now(UTC).day} {datetime.now(UTC):%B %Y}"


@pytest.fixture
def run(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:
    """The command line, after an issue went out to two readers."""
    issue = import_issue("en")
    add_subscribers(f"{ADA};en fr;water-and-rivers\n{BOB};en;")
    prepare(issue)
    send()
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    return lambda *words, **more: CliRunner().invoke(commands, ["subscribers", *words], **more)


def test_show_summarizes_a_person(run: Callable[..., Result], app: Container) -> None:
    with TestClient(create_app(app)) as client:
        key = app.tokens.make_link_token(Purpose.magic_link, int(datetime.now(UTC).timestamp()), 2)
        client.post(f"/k/{key}/lumen-basin", data={"action": "pause", "weeks": "1"})
        client.post("/subscribe/lumen-basin", data={"address": "eva@example.org"})
    assert run("show", ADA).output.splitlines() == [
        "ada@example.org reads en, fr, in UTC.",
        "lumen-basin: subscribed, each issue. Sections: water-and-rivers.",
        "lumen-basin: consent (subscribe) given on 2 January 2026 by way of an import (“a form”).",
        f"lumen-basin 2026/3: sent on {TODAY}.",
    ]
    assert "lumen-basin: paused until " in run("show", BOB).output
    assert run("show", "eva@example.org").output.splitlines() == [f"lumen-basin: signed up on {TODAY}, not confirmed."]
    run("unsubscribe", ADA, "--newsletter", "lumen-basin")
    said = run("show", ADA).output
    assert f"lumen-basin: unsubscribed since {TODAY}." in said
    assert f"consent (subscribe) withdrawn on {TODAY} by way of staff, by hand." in said


def test_everything_is_exported(run: Callable[..., Result]) -> None:
    held = json.loads(run("export", "ADA@Example.org", "--json").output)
    assert held["subscriber"][0]["address"] == ADA
    assert [row["state"] for row in held["deliveries"]] == ["sent"]
    assert f"  address: {ADA}" in run("export", ADA).output.splitlines()


def test_erasing_asks_first_and_keeps_only_the_suppression(run: Callable[..., Result]) -> None:
    assert run("erase", ADA, input="n\n").exit_code == 1
    assert "reads en" in run("show", ADA).output
    assert run("erase", ADA, input="y\n").output.endswith("Erased, with 1 subscription.\n")
    assert run("show", ADA).output == f"No email is sent to this address since {TODAY}: erased.\n"
    assert BOB in run("show", BOB).output


def test_unknown_address(run: Callable[..., Result]) -> None:
    for command in (["show"], ["export"], ["erase", "--yes"]):
        done = run(*command, "nobody@example.org")
        assert (done.exit_code, done.output) == (0, "No data is stored about this address.\n")
        assert isinstance(run(*command, "nobody").exception, UsageError)


@pytest.mark.usefixtures("run")
def test_suppression_can_be_lifted() -> None:
    said = [
        CliRunner().invoke(commands, ["suppress", *words, ADA, BOB]).output
        for words in (["--reason", "complaint", "--note", "by letter"], ["--lift"], ["--lift"])
    ]
    assert said == [
        "Suppressed 2 of 2 addresses.\n",
        "Lifted the suppression of 2 of 2 addresses.\n",
        "Lifted the suppression of 0 of 2 addresses.\n",
    ]


def test_suppression_keeps_reason_source_and_note(run: Callable[..., Result]) -> None:
    CliRunner().invoke(commands, ["suppress", ADA, "--reason", "complaint", "--note", "by letter"])
    (row,) = json.loads(run("export", ADA, "--json").output)["suppression"]
    assert (row["reason"], row["source"], row["note"]) == ("complaint", "staff", "by letter")
    assert ": complaint (by letter)." in run("show", ADA).output.splitlines()[-1]


@pytest.mark.usefixtures("run")
def test_retention_report_before_the_first_run() -> None:
    said = [CliRunner().invoke(commands, ["retention", *words]).output for words in (["--report"], [], ["--report"])]
    assert said[0].startswith("No run yet.")
    assert "0 requests" in said[1] and "0 requests" in said[2]
