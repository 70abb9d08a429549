"""The archive of the sample newsletter: its issue in some languages, sent."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.document import parse
from mailer.domain.states import IssueEventKind, IssueState
from mailer.services.issues import document_import
from mailer.store import issues
from mailer.web.app import create_app

SHORT = """---
subject: "{subject}"
preheader: "In short."
---

Welcome.

## News and events

### {headline}

{body}
"""


@pytest.fixture
def mark_state(app: Container) -> Callable[..., None]:
    """Say how far an issue is, without sending it."""

    def run(issue: int, state: IssueState = IssueState.sent, *, went_out: bool = False) -> None:
        with app.database.transaction() as session:
            row = issues.by_id(session, issue)
            assert row
            row.state = state
            row.ready_at = datetime.combine(row.issue_date, datetime.min.time(), UTC)
            if went_out or state is IssueState.sent:
                row.finished_at = row.ready_at
                issues.log(session, issue, "tests", IssueEventKind.sent)

    return run


@pytest.fixture
def sample(import_issue: Callable[..., int], mark_state: Callable[..., None]) -> int:
    """The sample issue, sent in English, Arabic and Slovene, of which the last has few stories."""
    issue = import_issue("en", "ar", "sl")
    mark_state(issue)
    return issue


@pytest.fixture
def add_issue(app: Container, mark_state: Callable[..., None], tmp_path: Path) -> Callable[..., int]:
    """Add a short issue with one story, sent."""

    def run(
        number: str,
        on: date,
        subject: str = "Short",
        headline: str = "One story",
        body: str = "Few words.",
        language: str = "en",
        state: IssueState = IssueState.sent,
    ) -> int:
        source = SHORT.format(subject=subject, headline=headline, body=body)
        done = document_import.import_document(
            app.database,
            parse(source, language),
            "lumen-basin",
            language,
            number=number,
            today=on,
            picture_loader=app.picture_loader(tmp_path),
            picture_store=app.picture_store,
            actor="tests",
        )
        mark_state(done.issue, state)
        return done.issue

    return run


@pytest.fixture
def archive_web_app(app: Container) -> FastAPI:
    return create_app(app)


@pytest.fixture
def visitor(archive_web_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(archive_web_app, follow_redirects=False) as made:
        yield made
