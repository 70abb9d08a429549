"""The commands ``mailer subscribers`` and ``mailer suppress``."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.cli.errors import UsageError
from mailer.domain.newsletter_check import read_newsletter
from mailer.services.newsletters.apply import apply_newsletter
from mailer.web.app import create_app
from tests.cli.conftest import RunCli
from tests.conftest import SAMPLE, SECRET

HEADER = "address,name,languages,sections,time_zone,consent_source,consent_date\n"
ADA, BOB = "ada@example.org", "bob@example.org"
TODAY = f"{datetime.now(UTC).day} {datetime.now(UTC):%B %Y}"


@pytest.fixture
def run(
    app: Container,
    prepared_issue: Callable[..., int],
    send: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:
    """The command line, after an issue went out to two readers."""
    prepared_issue(f"{ADA};en fr;water-and-rivers\n{BOB};en;", "en")
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


@pytest.fixture
def sample(cli_app: Container, mailer: RunCli, tmp_path: Path) -> Path:
    """A file with two readers of the sample newsletter, who are imported."""
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    apply_newsletter(cli_app.database, settings)
    path = tmp_path / "readers.csv"
    lines = f"{ADA},Ada,en fr,water-and-rivers,,form,2026-01-02\n{BOB},,hr,,,form,2026-01-02\n"
    path.write_text(HEADER + lines, "utf-8")
    assert mailer("subscribers", "import", path, "--newsletter", "lumen-basin")[1].startswith("2 lines: 2 added")
    return path


def test_set_shows_what_it_changes(sample: Path, mailer: RunCli) -> None:
    words = ["subscribers", "set", "Bob <BOB@example.org>", "--newsletter", "lumen-basin"]
    assert sample.exists()
    given = ["--name", "Bob Uzorak", "--languages", "hr en", "--sections", "Water and rivers", "--time-zone", "UTC"]
    assert mailer(*words, *given)[:2] == (
        0,
        "Changed bob@example.org:\n"
        "  name       (none) → Bob Uzorak\n"
        "  languages  hr → hr, en\n"
        "  sections   all → water-and-rivers\n",
    )
    assert mailer(*words, *given)[1] == "Nothing changed: bob@example.org has these preferences already.\n"
    assert f"lumen-basin: preferences changed by staff on {TODAY}." in mailer("subscribers", "show", BOB)[1]
    for wrong, why in (
        ([], "Nothing to change: give --name, --languages, --sections or --time-zone."),
        (["--name", "#N/A"], "“#N/A” is not a name for a greeting. Nothing was changed."),
        (["--languages", ""], "There is no language. Nothing was changed."),
        (["--sections", "fishing"], "There is no section “fishing”; there is news-and-events, water-and-rivers,"),
        (["--time-zone", "localtime"], "“localtime” is not a time zone such as Europe/Paris. Nothing was changed."),
    ):
        status, _, said = mailer(*words, *wrong)
        assert (status, said[: len(why) + 8].strip()) == (2, f"mailer: {why}")
    nobody = mailer("subscribers", "set", "nobody@example.org", "--newsletter", "lumen-basin", "--name", "N")
    assert nobody[2].startswith("mailer: This address is not subscribed to lumen-basin.")


def test_import_with_update_lists_and_asks_first(sample: Path, mailer: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.write_text(
        f"{HEADER}{ADA},Ada Uzorak,,,,form,2026-01-02\n"
        f"{BOB},,,,,form,2026-01-02\n"
        "eva@example.org,,,,,form,2026-01-02\n",
        "utf-8",
    )
    words = ["subscribers", "import", sample, "--newsletter", "lumen-basin"]
    listed = "ada@example.org\n  name       Ada → Ada Uzorak\n"
    assert mailer(*words, "--update", "--dry-run")[:2] == (0, listed)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    status, said, _ = mailer(*words, "--update")
    question = "Change 1 reader, and import the rest of the file? [y/N]: "
    assert (status, said) == (1, f"{listed}{question}Nothing was imported and nothing changed.\n")
    assert mailer("subscribers", "show", "eva@example.org")[1] == "No data is stored about this address.\n"
    status, said, _ = mailer(*words, "--update", "--yes")
    assert said.startswith(f"{listed}3 lines: 1 added, 2 already known, 0 suppressed, 0 rejected;")
    assert said.endswith("Changed 1 reader.\n")
    assert mailer(*words, "--update")[1].startswith("No reader who is known would change.\n3 lines: 0 added")
    assert mailer(*words, "--dry-run")[2] == "mailer: --dry-run lists what --update would change: give both.\n"


def test_commands_with_the_key_of_another_database_are_refused(
    sample: Path, mailer: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_SECRET_KEY", "another key, of 32 bytes or more")
    for words in (["show", ADA], ["import", sample, "--newsletter", "lumen-basin"]):
        status, said, problem = mailer("subscribers", *words)
        assert (status, said) == (2, "")
        assert problem.startswith("mailer: MAILER_PREVIOUS_SECRET_KEYS: the addresses in this database are hashed with")
    assert mailer("web")[0] == mailer("run")[0] == 2


def test_list_and_export(sample: Path, mailer: RunCli, tmp_path: Path) -> None:
    words = ["subscribers", "list", "--newsletter", "lumen-basin"]
    assert mailer(*words)[1] == (
        "address          name  languages  sections          time zone  state\n"
        "ada@example.org  Ada   en, fr     water-and-rivers  UTC        active\n"
        "bob@example.org        hr         all               UTC        active\n"
        "2 readers.\n"
    )
    assert mailer(*words, "--language", "fr", "--sections", "Water and rivers")[1].endswith("active\n1 reader.\n")
    assert mailer(*words, "--state", "suppressed")[1] == "No reader is in this list.\n"
    assert mailer(*words, "--language", "tlhx1")[0] == 2
    out = tmp_path / "export.csv"
    assert mailer(*words, "--out", out)[1] == f"Wrote 2 readers to {out}.\n"
    assert out.stat().st_mode & 0o777 == 0o600
    assert (
        out.read_text("utf-8-sig").splitlines()[1].startswith(f"{ADA},Ada,en fr,water-and-rivers,UTC,form,2026-01-02")
    )
    assert mailer(*words, "--out", out)[2] == f"mailer: {out} already exists: choose another file.\n"
    assert sample.exists()
