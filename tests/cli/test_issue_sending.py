"""Output of the commands that send and follow an issue."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from time import tzset

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.services.issues import schedule
from tests.cli.conftest import RunCli
from tests.support.clock import next_change


def test_scheduled_issue_shows_its_start_or_delay(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    assert mailer("issue", "reopen", issue)[1] == f"Issue {issue} is already a draft.\n"
    mailer("issue", "approve", issue)
    at = datetime.now(timezone(timedelta(hours=2))).replace(hour=1, minute=0, second=0, microsecond=0)
    at += timedelta(days=400)
    said = mailer("issue", "send", issue, "--at", at.isoformat())[1]
    eve = at.astimezone(UTC)
    assert f"on {at:%-d %B %Y} at 01:00 UTC+02:00 ({eve:%-d %B}, 23:00 UTC)." in said
    assert f"starts {eve:%-d %B %Y} at 23:00 UTC" in mailer("issue", "list")[1]
    assert json.loads(mailer("issue", "list", "--json")[1])[0]["goes_out"] == str(eve)
    assert f"{eve:%-d %B %Y} at 23:00 UTC" in mailer("issue", "status", issue)[1]
    schedule.schedule(cli_app.database, issue, datetime.now(UTC) - timedelta(minutes=5), "tests")
    assert "late by 5 min" in mailer("issue", "list")[1]
    shown = mailer("issue", "status", issue)[1]
    assert "by 5 min" in shown and "starts" not in shown


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--at", "9999-12-31T23:59-12:00"), "is at the end of all dates"),
        (("--at", "9999-12-31T23:59"), "is at the end of all dates"),
        (("--at", "9998-12-31T23:59"), "31 December 9998 at 23:59 is more than two years ahead"),
        (("--at", "9999-12-31T23:59+14:00"), "31 December 9999 at 23:59 is more than two years ahead"),
        (("--at", "9999-12-31T23:59", "--local"), "31 December 9999 at 23:59 is more than two years ahead"),
        (("--at", "0001-01-01T00:00+14:00"), "is at the end of all dates"),
        (("--at", "0001-01-01T00:00", "--local"), "has passed in every time zone"),
        (("--at", "2020-01-01T00:00Z"), "is in the past"),
        (("--at", "tomorrow"), "“tomorrow” is not a time such as 2026-09-30T09:00+02:00"),
        (("--at", "2026-09-30T09:00+02:00", "--local"), "--local needs a time without an offset"),
    ],
)
def test_impossible_times_are_refused(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int], words: tuple[str, ...], problem: str
) -> None:
    issue = import_issue("en")
    mailer("issue", "approve", issue)
    status, out, err = mailer("issue", "send", issue, *words)
    assert (status, out) == (2, "")
    assert problem in err
    assert "approved" in mailer("issue", "list")[1]


@pytest.mark.parametrize(
    ("offset", "note", "in_utc"),
    [
        (2, "clocks are set forward then and never show 02:30. It goes out when they show 03:30.", "01:30 UTC"),
        (1, "clocks are set back then and show 02:30 twice. It goes out the first time.", "00:30 UTC"),
    ],
)
def test_a_change_of_clocks_is_said(
    mailer: RunCli,
    cli_app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
    note: str,
    in_utc: str,
) -> None:
    issue = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;" for n in range(4)))
    with cli_app.database.transaction() as session:
        for number, zone in enumerate(("Europe/Paris", "Europe/Belgrade", "Asia/Tokyo", "Europe/Berlin"), start=1):
            session.execute(text(f"UPDATE subscriber SET time_zone = '{zone}' WHERE id = {number}"))
        session.execute(text("UPDATE subscription SET state = 'unsubscribed' WHERE subscriber_id = 4"))
    mailer("issue", "approve", issue)
    at = next_change("Europe/Belgrade", offset)
    with monkeypatch.context() as host:
        host.setenv("TZ", "Europe/Belgrade")
        tzset()
        said = mailer("issue", "send", issue, "--at", at.isoformat())[1]
    tzset()
    assert f"Note: on this host, {note}" in said
    assert f"{in_utc})." in said
    said = mailer("issue", "send", issue, "--at", at.isoformat(), "--local")[1]
    assert f"Note: in Europe/Belgrade, Europe/Paris, {note}" in said
    assert "Note" not in mailer("issue", "send", issue, "--at", at.replace(hour=9).isoformat(), "--local")[1]


def test_no_confirmation_question_if_cancelling_is_impossible(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    with cli_app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'sent'"))
    status, out, err = mailer("issue", "cancel", issue)
    assert (status, out) == (2, "")
    assert err == f"mailer: Issue {issue} is sent; it cannot become cancelled.\n"


def test_status_tells_in_which_digest_an_issue_is(
    mailer: RunCli,
    cli_app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
) -> None:
    issue = import_issue("en")
    add_subscribers("ada@example.org;en;\nbob@example.org;en;")
    with cli_app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'monthly'"))
    prepare(issue)
    with cli_app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET digest_id = 7 WHERE subscriber_id = 1"))
        session.execute(text("UPDATE issue SET digest_source_ids = ARRAY[id]"))
    shown = mailer("issue", "status", issue)[1]
    assert "skipped, digest only: 2 (1 in digest 7, 1 waits for the next digest)" in shown
    assert "digest of  2026/3" in shown
    assert "2026/3, digest of 2026/3" in mailer("issue", "list")[1]
