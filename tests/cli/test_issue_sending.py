"""Output of the commands that send and follow an issue."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.services.issues import schedule
from tests.cli.conftest import RunCli


def test_scheduled_issue_shows_its_start_or_delay(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    assert mailer("issue", "reopen", issue)[1] == f"Issue {issue} is already a draft.\n"
    mailer("issue", "approve", issue)
    mailer("issue", "send", issue, "--at", "2126-09-30T09:00+02:00")
    assert "starts 30 September 2126 at 07:00 UTC" in mailer("issue", "list")[1]
    assert json.loads(mailer("issue", "list", "--json")[1])[0]["goes_out"] == "2126-09-30 07:00:00+00:00"
    assert "30 September 2126 at 07:00 UTC" in mailer("issue", "status", issue)[1]
    schedule.schedule(cli_app.database, issue, datetime.now(UTC) - timedelta(minutes=5), "tests")
    assert "late by 5 min" in mailer("issue", "list")[1]
    shown = mailer("issue", "status", issue)[1]
    assert "by 5 min" in shown and "starts" not in shown


def test_no_confirmation_question_if_cancelling_is_impossible(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    with cli_app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'sent'"))
    status, out, err = mailer("issue", "cancel", issue)
    assert (status, out) == (2, "")
    assert err == f"mailer: Issue {issue} is sent; it cannot become cancelled.\n"
