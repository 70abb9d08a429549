"""The seed list: addresses that get every issue in full, beside its readers, once."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.states import IssueEventKind
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.delivery import dispatch
from mailer.services.issues import report
from mailer.services.issues.report import DeliveryCounts
from mailer.store import newsletters, subscribers
from mailer.store.transactional import SeedCounts
from tests.support.emails import html_body
from tests.support.transactional import emails_to, send_transactional

ANN, BEA = "ann@example.org", "bea@example.org"


@pytest.fixture
def seeded(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    """An issue in two languages with one reader of one section, and a seed list."""
    issue = import_issue("en", "fr")
    add_subscribers("jeanne@example.org;fr;water-and-rivers")
    put_on_list(app, {ANN: "fr", BEA: "en"})
    return issue


def put_on_list(app: Container, seeds: dict[str, str]) -> None:
    with app.database.transaction() as session:
        newsletters.get(session, "lumen-basin").seed_list = seeds


def counts(app: Container, issue: int) -> DeliveryCounts:
    return report.status(app.database, issue, datetime.now(UTC)).counts


def test_the_seed_list_gets_the_full_edition_once_beside_the_readers(
    app: Container,
    inbox: InboxServer,
    seeded: int,
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    prepare(seeded)
    send()
    assert counts(app, seeded).candidates == counts(app, seeded).sent == 1
    assert report.count_seeds(app.database, seeded) == SeedCounts(0, 2, 0)
    while send_transactional(app):
        pass
    assert report.count_seeds(app.database, seeded) == SeedCounts(2, 0, 0)
    (french,) = emails_to(inbox, ANN)
    (english,) = emails_to(inbox, BEA)
    assert (french["Content-Language"], english["Content-Language"]) == ("fr", "en")
    assert not french["Subject"].startswith("[Test]")
    (reader,) = emails_to(inbox, "jeanne@example.org")
    assert len(html_body(french)) > 2 * len(html_body(reader)), "all sections"
    assert counts(app, seeded).candidates == 1
    logged = [(kind, detail) for _, _, kind, detail in report.events(app.database, seeded)]
    assert (IssueEventKind.seed_list, "2 addresses") in logged
    assert not dispatch.open_for_sending(app.database, seeded, datetime.now(UTC), app.tokens.address_hash)
    assert send_transactional(app) == 0


def test_an_address_in_two_spellings_gets_it_once(app: Container, seeded: int, prepare: Callable[[int], None]) -> None:
    put_on_list(app, {ANN: "fr", "Ann@EXAMPLE.org": "en"})
    prepare(seeded)
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM issue_test")) == 1


def test_a_suppressed_address_gets_nothing(app: Container, seeded: int, prepare: Callable[[int], None]) -> None:
    with app.database.transaction() as session:
        key = app.tokens.address_hash(ANN)
        subscribers.suppress(session, key, SuppressionReason.erased, SuppressionSource.staff, "")
    prepare(seeded)
    with app.database.transaction() as session:
        assert session.scalars(text("SELECT address FROM issue_test")).all() == [BEA]


def test_a_language_without_an_edition_falls_back_as_for_a_reader(
    app: Container, inbox: InboxServer, seeded: int, prepare: Callable[[int], None]
) -> None:
    put_on_list(app, {ANN: "de"})
    prepare(seeded)
    send_transactional(app)
    (mail,) = emails_to(inbox, ANN)
    assert mail["Content-Language"] == "en"
