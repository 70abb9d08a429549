"""Sending in this process, and simulated disturbances."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailer.adapters.clock import SystemClock
from mailer.bootstrap import Container
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import compile
from mailer.store.database import Database, DatabaseDown, Session


def send_due_batches(app: Container) -> int:
    """Send every batch that is due. Return the number of transferred messages."""
    transferred = 0
    for _ in range(100):
        batches = dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 1000)
        if not batches:
            dispatch.finish_done(app.database, datetime.now(UTC))
            return transferred
        transferred += sum(app.send_worker.send_batch(batch) for batch, _ in batches)
    raise AssertionError("the same batches are enqueued again and again")


def send_scheduled(app: Container, issue: int) -> None:
    """Do what the workers do from the time of a scheduled issue to its last message."""
    now = datetime.now(UTC)
    assert dispatch.start_due(app.database, now, app.settings.batch_size) == [issue]
    while expand.expand_next(app.database, issue, now):
        pass
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    send_due_batches(app)


def count_sending(app: Container, issue: int) -> int:
    """Return the number of deliveries of an issue that a worker is sending now."""
    query = text("SELECT count(*) FROM delivery WHERE issue_id = :issue AND state = 'sending'")
    with app.database.transaction() as session:
        return session.scalar(query, {"issue": issue}) or 0


class ClockSetBack(SystemClock):
    """A clock whose time of day is set back by 0.3 seconds with every reading."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return super().now() - timedelta(seconds=0.3 * self.looks)


class ForgetfulDatabase(Database):
    """A database that loses the reply to the first COMMIT that reserves deliveries."""

    answer_lost = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            yield session
            reserved = not self.answer_lost and session.scalar(
                text("SELECT EXISTS (SELECT FROM delivery WHERE state = 'sending')")
            )
        if reserved:
            self.answer_lost = True
            raise DatabaseDown("the answer to COMMIT did not come")
