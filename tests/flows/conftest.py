"""Stories start here: the sample newsletter, its issue, some readers, an inbox that catches the mail."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from mailer.adapters.inbox import RunningInbox, start
from mailer.bootstrap import Mailer
from mailer.domain.document import parse
from mailer.domain.newsletter import read_newsletter
from mailer.services import approve, author, compose, expand, schedule, subscribers
from mailer.settings import ROOT, Settings

SAMPLE = ROOT / "docs" / "sample"
NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[RunningInbox]:
    with start("127.0.0.1", 0, tmp_path / "inbox") as running:
        yield running


@pytest.fixture
def settings(settings: Settings, inbox: RunningInbox) -> Settings:
    return settings.model_copy(update={"smtp_port": inbox.port, "batch_size": 10})


@pytest.fixture
def import_issue(parts: Mailer) -> Callable[..., int]:
    """Import the sample newsletter and its issue in some languages; returns the issue."""

    def run(*languages: str) -> int:
        author.apply_newsletter(parts.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
        issue = 0
        for language in languages:
            done = author.import_document(
                parts.database,
                parse((SAMPLE / f"2026-3.{language}.md").read_text("utf-8"), language),
                "lumen-basin",
                language,
                number="2026/3",
                today=date(2026, 9, 30),
                pictures=parts.picture_from(SAMPLE),
                actor="tests",
            )
            issue = done.issue
        return issue

    return run


@pytest.fixture
def add_readers(parts: Mailer, tmp_path: Path) -> Callable[[str], None]:
    """Take in readers from lines of ``address;languages;sections``."""

    def run(lines: str) -> None:
        file = tmp_path / "readers.csv"
        head = "address;languages;sections;consent_source;consent_date\n"
        rows = [f"{line.strip()};a form;2026-01-02" for line in lines.strip().splitlines()]
        file.write_text(head + "\n".join(rows) + "\n", "utf-8")
        report = subscribers.import_subscribers(
            parts.database, file, "lumen-basin", pads=parts.tokens.address_pads(), now=NOW
        )
        assert not report.rejected, (tmp_path / "readers.rejects.csv").read_text("utf-8")

    return run


@pytest.fixture
def prepare(parts: Mailer) -> Callable[[int], None]:
    """Approve and schedule an issue, freeze its audience, expand and render: everything but sending."""

    def run(issue: int) -> None:
        approve.approve(parts.database, compose.load(parts.database, parts.links, issue), "tests")
        now = datetime.now(UTC)
        schedule.schedule(parts.database, issue, now, "tests")
        assert schedule.begin_due(parts.database, now, parts.settings.batch_size) == [issue]
        while expand.expand_some(parts.database, issue, now):
            pass
        while compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8):
            pass
        assert expand.settle(parts.database, issue, now)

    return run


@pytest.fixture
def send(parts: Mailer) -> Callable[[], int]:
    """Send every batch that is due, in this process; returns how many messages were handed over."""
    from datetime import timedelta

    def run() -> int:
        handed = 0
        while batches := schedule.hand_out(parts.database, datetime.now(UTC), timedelta(0), 1000):
            handed += sum(parts.sender.send_batch(batch) for batch, _ in batches)
        schedule.finish_done(parts.database, datetime.now(UTC))
        return handed

    return run
