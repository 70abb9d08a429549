"""mailer deliveries …, mailer issue retry and mailer issue audit"""

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.cli.errors import is_expected
from mailer.store import feedback

Run = Callable[..., Result]


@pytest.fixture
def mailer(app: Container, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line on the test's database."""
    for name, value in app.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database_url)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words, **more: CliRunner().invoke(commands, [str(word) for word in words], **more)


@pytest.fixture
def issue(app: Container, prepared_issue: Callable[..., int], send: Callable[[], int]) -> int:
    """A sent issue: Ann's and Bea's delivery uncertain, Cil's and Dan's failed, Eve's sent."""
    made = prepared_issue("\n".join(f"{name}@example.org;en;" for name in ("ann", "bea", "cil", "dan", "eve")), "en")
    send()
    with app.database.transaction() as session:
        for statement in (
            "UPDATE delivery SET state = 'uncertain', last_reply = 'lost after the dot' WHERE subscriber_id <= 2",
            "UPDATE delivery SET state = 'failed', last_reply = '550 5.7.1 blocked' WHERE subscriber_id = 3",
            "UPDATE delivery SET state = 'failed', last_reply = '552 5.2.2 full' WHERE subscriber_id = 4",
            "UPDATE batch SET sent = 1, uncertain = 2, failed = 2",
        ):
            session.execute(text(statement))
    return made


def refused(done: Result) -> str:
    """The sentence of an expected error."""
    assert isinstance(done.exception, Exception) and is_expected(done.exception), done.exception
    return str(done.exception)


def test_list_shows_the_next_command(mailer: Run, issue: int) -> None:
    shown = mailer("deliveries", "list")
    assert shown.exit_code == 0
    assert "ann@example.org" in shown.output and "bea@example.org" in shown.output
    assert "cil@example.org" not in shown.output
    assert "lost after the dot" in shown.output
    assert f"mailer deliveries resolve {issue} ADDRESS" in shown.output
    assert f"mailer issue retry {issue}" in mailer("deliveries", "list", "--state", "failed").output
    some = mailer("deliveries", "list", "--limit", 1)
    assert "… and 1 more; list all with --limit 0." in some.output
    assert mailer("deliveries", "list", "--state", "pending").output == "No delivery is pending.\n"
    assert "There is no issue 9" in refused(mailer("deliveries", "list", "--issue", 9))
    told = json.loads(mailer("deliveries", "list", "--issue", issue, "--state", "failed", "--json").output)
    assert (told["state"], told["total"]) == ("failed", 2)
    assert [one["last_reply"] for one in told["deliveries"]] == ["550 5.7.1 blocked", "552 5.2.2 full"]


LONG = "a-reader-with-a-long-name@a-domain-with-a-long-name.example.org"


def on_a_terminal(*words: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "mailer", *words], stdout=theirs, env=os.environ | {"COLUMNS": "80"}):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # so a terminal ends
            while more := os.read(ours, 10_000):
                said += more
        os.close(ours)
    return said.decode()


def test_addresses_are_never_truncated(mailer: Run, app: Container, issue: int) -> None:
    said = "it said a lot " * 10
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscriber SET address = :long WHERE id = 1"), {"long": LONG})
        session.execute(text("UPDATE delivery SET last_reply = :said WHERE subscriber_id = 1"), {"said": said})
    terminal, pipe = on_a_terminal("deliveries", "list"), mailer("deliveries", "list").output
    assert LONG in terminal and LONG in pipe
    assert "it said a lot it sa…" in terminal and said in pipe


def test_resolving_by_address(mailer: Run, issue: int) -> None:
    looked = mailer("deliveries", "resolve", issue, "ann@example.org", "--as", "sent", "--dry-run")
    assert "ann@example.org" in looked.output and "Nothing was done." in looked.output
    done = mailer(
        "deliveries",
        "resolve",
        issue,
        "ANN@example.org",
        "--as",
        "sent",
        "--why",
        "she says so",
        "--by",
        "zoe",
    )
    assert done.output == "1 delivery resolved as sent.\n"
    assert "zoe  resolved  1 as sent: she says so (subscriber 1)" in mailer("issue", "log", issue).output
    assert "It was marked as sent by zoe" in mailer("explain", issue, "ann@example.org").output
    again = mailer("deliveries", "resolve", issue, "bea@example.org", "ann@example.org", "--as", "failed")
    assert "to ann@example.org is sent, not uncertain. Nothing was done." in refused(again)
    assert json.loads(mailer("deliveries", "list", "--json").output)["total"] == 1


def test_resolving_all_asks_first(mailer: Run, issue: int) -> None:
    no = mailer("deliveries", "resolve", issue, "--all", "--as", "resend", input="n\n")
    assert "ann@example.org" in no.output and "bea@example.org" in no.output
    assert "Resend 2 deliveries? [y/N]" in no.output
    assert no.output.endswith("Nothing was done.\n")
    yes = mailer("deliveries", "resolve", issue, "--all", "--as", "resend", "--yes")
    assert yes.output.startswith("2 deliveries will be sent again with the same Message-ID.")
    assert json.loads(mailer("issue", "status", issue, "--json").output)["state"] == "sending"
    assert "2 readers may have received it twice" in mailer("issue", "audit", issue).output
    none = mailer("deliveries", "resolve", issue, "--all", "--as", "sent")
    assert none.output == f"No delivery of issue {issue} is uncertain.\n"


def test_resolving_needs_addresses_or_all(mailer: Run, issue: int) -> None:
    for words in ((), ("ann@example.org", "--all")):
        done = mailer("deliveries", "resolve", issue, *words, "--as", "sent")
        assert "Give addresses or --all, not both." in refused(done)
    assert mailer("deliveries", "resolve", issue, "ann@example.org").exit_code == 2, "--as is needed"
    assert "is not valid" in refused(mailer("deliveries", "resolve", issue, "no address", "--as", "sent"))


def test_explanation_names_the_command(mailer: Run, issue: int) -> None:
    assert f"mailer deliveries resolve {issue} ann@example.org --as sent, --as failed or --as resend." in (
        mailer("explain", issue, "ann@example.org").output
    )


def test_retrying(mailer: Run, app: Container, issue: int) -> None:
    assert "“abc” is not a failure code" in refused(mailer("issue", "retry", issue, "--code", "abc"))
    no = mailer("issue", "retry", issue, "--code", "5.7", input="n\n")
    assert "1 delivery is not retried: it failed with another code." in no.output
    assert "Retry 1 failed delivery? [y/N]" in no.output
    mailer("suppress", "dan@example.org")
    done = mailer("issue", "retry", issue, "--yes")
    assert done.output.splitlines() == [
        "1 delivery is not retried: their address is suppressed.",
        "Retrying 1 failed delivery.",
        f"Follow it with: mailer issue status {issue}",
    ]
    again = mailer("issue", "retry", issue)
    assert again.output.splitlines()[-1] == "There is nothing to retry."
    assert "retried  1 that failed" in mailer("issue", "log", issue).output


def test_the_audit_shows_offending_rows_and_exits_with_1(mailer: Run, app: Container, issue: int) -> None:
    good = mailer("issue", "audit", issue)
    assert good.exit_code == 0
    assert "5 candidates = 1 sent + 2 failed + 0 skipped + 0 pending + 2 uncertain" in good.output
    shown = mailer("issue", "audit", issue, "--json")
    assert shown.exit_code == 0
    told = json.loads(shown.output)
    assert (told["adds_up"], told["findings"], told["resent"], told["uncertain"]) == (True, [], 0, 2)
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET last_reply = NULL WHERE state = 'sent'"))
    bad = mailer("issue", "audit", issue)
    assert bad.exit_code == 1
    assert "The delivery to subscriber 5 is sent without an outcome." in bad.output
    shown = mailer("issue", "audit", issue, "--json")
    assert shown.exit_code == 1
    told = json.loads(shown.output)
    assert (told["adds_up"], told["findings"][0]["rule"], told["findings"][0]["subscriber"]) == (
        False,
        "outcome",
        5,
    )


def test_status_shows_the_next_command(mailer: Run, issue: int) -> None:
    said = mailer("issue", "status", issue).output
    assert f"mailer deliveries list --issue {issue}" in said
    assert f"mailer issue retry {issue}" in said


def test_unrecognized_mails_are_listed_and_printed(mailer: Run, app: Container, issue: int) -> None:
    assert "Every mail to a return path was recognized." in mailer("deliveries", "unrecognized").output
    with app.database.transaction() as session:
        at = datetime(2026, 9, 30, tzinfo=UTC)
        feedback.keep_unrecognized(session, issue, 1, b"From: a\nSubject: strange\n\nhello", at)
    assert f"1  issue {issue}  2026-09-30 00:00 UTC  Subject: strange" in mailer("deliveries", "unrecognized").output
    assert mailer("deliveries", "unrecognized", 1).output == "From: a\nSubject: strange\n\nhello\n"
    assert refused(mailer("deliveries", "unrecognized", 2))
