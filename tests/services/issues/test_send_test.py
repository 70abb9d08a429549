"""A test of an issue: the edition as its readers get it, sent to one address by the workers."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import IssueEventKind
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.issues import compile, edit, report, send_test
from mailer.services.issues.compile import EditionCompiler, EditionNotFound
from mailer.services.subscribers import personal_data
from mailer.store import subscribers
from mailer.web.app import create_app
from tests.support.emails import html_body, text_body
from tests.support.transactional import emails_to, send_transactional

ANN = "ann@example.org"
Queue = Callable[..., int]


@pytest.fixture
def queue(app: Container) -> Queue:
    """Ask for a test of issue 1; return the id of the email."""

    def run(language: str = "en", sections: int | None = None, address: str = ANN) -> int:
        source = compile.load_issue(app.database, app.urls, 1)
        compiler = EditionCompiler(source, app.renderer, app.urls, "", send_test.SUBJECT_PREFIX)
        recipients = [send_test.Recipient(address, app.tokens.address_hash(address))]
        (email,) = send_test.send_tests(
            app.database, source, compiler, app.urls, [(language, sections)], recipients, "tests", datetime.now(UTC)
        )
        return email

    return run


def test_edition_is_sent_marked_as_a_test(
    app: Container, inbox: InboxServer, import_issue: Callable[..., int], queue: Queue
) -> None:
    import_issue("en", "fr")
    email = queue("fr", 0b10)
    assert not send_test.progress(app.database, email).sent
    assert send_transactional(app) == 1
    done = send_test.progress(app.database, email)
    assert done.sent and done.reply.startswith("250")
    (message,) = emails_to(inbox, ANN)
    assert message["Subject"].startswith("[Test] ") and len(message["Subject"]) > 20
    assert message["Content-Language"] == "fr" and message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    content, _ = compile.preview(app.database, app.renderer, app.urls, 1, "fr", 0b10)
    assert all(story.headline in html_body(message) for story in content.sections[0].stories)
    assert "Neuf pays signent" not in text_body(message)
    assert (IssueEventKind.tested, "fr") in [(kind, detail) for _, _, kind, detail in report.events(app.database, 1)]
    assert send_transactional(app) == 0
    link = re.search(r'http://news\.example\.org(/e/[^"]+)', html_body(message))
    assert link
    with TestClient(create_app(app)) as client:
        view = client.get(link[1])
        assert view.headers["Content-Language"] == "fr"
        assert content.sections[0].stories[0].headline in view.text
        edit.delete_draft(app.database, 1, "tests")
        assert client.get(link[1]).status_code == 404
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM subscriber")) == 0, "nobody becomes a subscriber by it"


def test_what_cannot_be_sent_is_refused(app: Container, import_issue: Callable[..., int], queue: Queue) -> None:
    import_issue("en")
    with pytest.raises(EditionNotFound, match=r"no text in fr\. Its languages: en"):
        queue("fr")
    with pytest.raises(EditionNotFound, match="no stories in these sections"):
        queue("en", 1 << 40)
    with app.database.transaction() as session:
        hash = app.tokens.address_hash(ANN)
        subscribers.suppress(session, hash, SuppressionReason.complaint, SuppressionSource.staff, "")
    with pytest.raises(ChangeRefused, match=r"^ann@example\.org is suppressed \(complaint\)"):
        queue()


def test_test_is_deleted_with_its_issue_and_with_the_data_of_its_address(
    app: Container, import_issue: Callable[..., int], queue: Queue
) -> None:
    import_issue("en")

    def count() -> tuple[int, int]:
        with app.database.transaction() as session:
            tables = ("issue_test", "transactional_email")
            first, second = (session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables)
            return first, second

    queue()
    assert count() == (1, 1)
    personal_data.erase(app.database, app.tokens.address_hash(ANN), datetime.now(UTC))
    assert count() == (0, 0)
    queue(address="bea@example.org")
    edit.delete_draft(app.database, 1, "tests")
    assert count() == (0, 0)
