"""Erasing and merging subscribers while their mail is being sent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.services.issues import report
from mailer.settings import Settings
from mailer.store import batches, ledger, personal_data
from tests.support.locks import wait_for_lock

Import = Callable[..., int]
AddReaders = Callable[[str], None]
Prepare = Callable[[int], None]
LEASE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"batch_size": 2})


def run(app: Container, statement: str) -> None:
    with app.database.transaction() as session:
        session.execute(text(statement))


def erase(app: Container, subscriber: int) -> None:
    with app.database.transaction() as session:
        personal_data.erase(session, subscriber, datetime.now(UTC))


def test_erasure_waits_for_a_reserving_worker(
    app: Container, import_issue: Import, add_subscribers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_subscribers("ada@example.org;en;\nbob@example.org;en;")
    prepare(issue)
    with app.database.transaction() as session:
        claim = batches.claim(session, session.scalar(text("SELECT id FROM batch")) or 0, "worker", LEASE)
    assert claim
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            assert batches.renew_lease(session, claim, LEASE)
            erasing = pool.submit(erase, app, 1)
            wait_for_lock(session, erasing)
            due, _, _ = ledger.reserve(session, claim, claim.first_subscriber_id, 10)
        erasing.result()
    assert [one.subscriber for one in due] == [1, 2]


@pytest.mark.parametrize("into", [2, 6], ids=["in a batch that is done", "in no batch"])
def test_what_waits_for_a_digest_goes_to_the_merged_subscriber(
    app: Container, import_issue: Import, add_subscribers: AddReaders, prepare: Prepare, into: int
) -> None:
    issue = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;" for n in range(1, 6)))
    run(app, "DELETE FROM subscription WHERE subscriber_id = 2")
    run(app, "UPDATE subscription SET frequency = 'monthly' WHERE subscriber_id = 5")
    prepare(issue)
    add_subscribers("r6@example.org;en;")
    with app.database.transaction() as session:
        personal_data.merge(session, 5, into, datetime.now(UTC))
        waiting = text("SELECT subscriber_id FROM delivery WHERE skip_reason = 'digest_only'")
        assert session.scalars(waiting).all() == [into]
    assert report.audit(app.database, issue) == []


@pytest.mark.parametrize("into", [2, 6], ids=["in a batch that is done", "in no batch"])
def test_pending_mail_goes_to_the_merged_subscriber(
    app: Container,
    import_issue: Import,
    add_subscribers: AddReaders,
    prepare: Prepare,
    send: Callable[[], int],
    inbox: InboxServer,
    into: int,
) -> None:
    issue = import_issue("en")
    add_subscribers("\n".join(f"r{n}@example.org;en;" for n in range(1, 6)))
    run(app, "DELETE FROM subscription WHERE subscriber_id = 2")
    prepare(issue)
    add_subscribers("r6@example.org;en;")
    run(app, "UPDATE delivery SET due_at = now() + interval '1 hour' WHERE subscriber_id = 5")
    assert send() == 3
    with app.database.transaction() as session:
        personal_data.merge(session, 5, into, datetime.now(UTC))
    assert report.audit(app.database, issue) == []
    for table in ("delivery", "batch"):
        run(app, f"UPDATE {table} SET due_at = now() WHERE due_at > now()")
    assert send() == 1
    assert f"r{into}@example.org" in {mail.recipients[0] for mail in inbox.messages()}
    assert report.audit(app.database, issue) == []
