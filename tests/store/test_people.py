"""Letting a reader go, and bringing two together, while their mail is on its way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.store import batches, ledger, people
from tests.locks import wait_for_a_lock

Import = Callable[..., int]
AddReaders = Callable[[str], None]
Prepare = Callable[[int], None]
LEASE = timedelta(minutes=1)


def erase(parts: Mailer, subscriber: int) -> None:
    with parts.database.transaction() as session:
        people.erase(session, subscriber, datetime.now(UTC))


def test_whoever_lets_a_reader_go_waits_for_the_worker_that_takes(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_readers("ada@example.org;en;\nbob@example.org;en;")
    prepare(issue)
    with parts.database.transaction() as session:
        claim = batches.claim(session, session.scalar(text("SELECT id FROM batch")) or 0, "worker", LEASE)
    assert claim
    with ThreadPoolExecutor(1) as pool:
        with parts.database.transaction() as session:
            assert batches.keep(session, claim, LEASE)
            erasing = pool.submit(erase, parts, 1)
            wait_for_a_lock(session, erasing)
            due, _, _ = ledger.take(session, claim, claim.first, 10)
        erasing.result()
    assert [one.subscriber for one in due] == [1, 2]
