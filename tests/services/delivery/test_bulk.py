"""One action on many deliveries: found a page at a time, changed in chunks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.errors import QueryTimeout
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState, SkipReason
from mailer.domain.suppressions import SuppressionReason
from mailer.services.delivery import bulk
from mailer.services.delivery.bulk import DeliveryFilter, NumberChanged, Place
from mailer.services.feedback import bounces
from mailer.services.issues import report, schedule
from mailer.settings import Settings
from mailer.store.database import Database
from tests.support.smtp_sink import SinkServer

READERS = 8


@pytest.fixture
def settings(settings: Settings, sink: SinkServer) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "batch_size": 3})


@pytest.fixture
def failed(prepared_issue: Callable[..., int], sink: SinkServer, send: Callable[[], int]) -> int:
    """An issue in three batches that was refused for each reader."""
    issue = prepared_issue("\n".join(f"r{n}@{'ab'[n % 2]}.example;en;" for n in range(READERS)), "en")
    sink.behaviour.faults = [Fault("final", "554 5.3.0 not today", 1.0)]
    send()
    sink.behaviour.faults = []
    return issue


FAILED = DeliveryFilter(state=DeliveryState.failed)


def order(app: Container, only: DeliveryFilter, number: int) -> int:
    now = datetime.now(UTC)
    return bulk.place_order(app.database, only, Resolution.retry, number, "ann", "their log", now, described={})


def test_every_page_goes_on_where_the_last_one_ended(app: Container, failed: int) -> None:
    found: list[int] = []
    after = None
    while rows := bulk.list_page(app.database, FAILED, after, 3):
        found += [row.delivery.subscriber for row in rows]
        after = Place(failed, found[-1])
    assert found == sorted(found)
    assert len(set(found)) == len(found) == READERS
    assert [row.relay for row in bulk.list_page(app.database, FAILED, None, 1)] == ["relay"]


def test_an_order_is_carried_out_in_chunks_until_it_is_done(
    app: Container, failed: int, send: Callable[[], int]
) -> None:
    placed = order(app, FAILED, READERS)
    for done in (3, 6):
        assert not bulk.carry_on(app.database, placed, datetime.now(UTC), seconds=0, chunk=3)
        row = bulk.find_order(app.database, placed)
        assert row and (row.done, row.total, row.finished_at) == (done, READERS, None)
    bulk.carry_on_all(app.database, datetime.now(UTC), seconds=9)
    row = bulk.find_order(app.database, placed)
    assert row and row.done == READERS and row.finished_at
    bulk.carry_on_all(app.database, datetime.now(UTC), seconds=9)
    assert report.status(app.database, failed, datetime.now(UTC)).counts.pending == READERS
    assert report.audit(app.database, failed) == []
    assert send() == READERS


def test_orders_share_the_time_and_one_that_fails_holds_up_none(
    app: Container, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole, last = (order(app, FAILED, READERS) for _ in range(3))
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery_order SET filter = '{}' WHERE id = :id"), {"id": broken})

    def finished() -> list[bool]:
        rows = [bulk.find_order(app.database, placed) for placed in (broken, whole, last)]
        return [bool(row and row.finished_at) for row in rows]

    bulk.carry_on_all(app.database, datetime.now(UTC), seconds=-1)
    assert finished() == [False, False, False], "the time was over with the first"
    caplog.clear()
    bulk.carry_on_all(app.database, datetime.now(UTC), seconds=9)
    assert finished() == [False, True, True]
    assert [record.getMessage() for record in caplog.records if record.name == "mailer"] == [
        f"The order {broken} on deliveries could not be worked on."
    ]
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery_order SET finished_at = NULL"))
        session.execute(text("DELETE FROM delivery_order WHERE id = :id"), {"id": broken})
    bulk.carry_on_all(app.database, datetime.now(UTC), seconds=-1)
    assert finished() == [False, True, False], "the time was over with the first"


def test_a_count_that_takes_too_long_is_cancelled(app: Container, failed: int) -> None:
    impatient = Database(app.database_url, public_timeout_seconds=0.05)
    with app.database.transaction() as session:
        session.execute(text("LOCK TABLE delivery"))
        with pytest.raises(QueryTimeout):
            bulk.count(impatient, FAILED, Resolution.retry, datetime.now(UTC))
    impatient.close()


def test_readers_who_get_no_mail_are_counted_and_passed_over(app: Container, failed: int) -> None:
    gone = app.tokens.address_hash("r0@a.example")
    bounces.suppress(app.database, [gone], SuppressionReason.manual)
    only = DeliveryFilter(issue=failed, state=DeliveryState.failed, domains=("a.example",))
    now = datetime.now(UTC)
    chosen = bulk.count(app.database, only, Resolution.retry, now)
    assert chosen == (3, {SkipReason.suppressed: 1}, 0)
    with pytest.raises(NumberChanged):
        order(app, only, 4)
    assert bulk.carry_on(app.database, order(app, only, 3), now, seconds=9)
    assert report.status(app.database, failed, now).counts.pending == 3
    older = DeliveryFilter(state=DeliveryState.failed, before=now - timedelta(hours=1))
    assert bulk.count(app.database, older, Resolution.retry, now).number == 0


def test_nothing_of_a_cancelled_issue_is_sent_again(app: Container, failed: int) -> None:
    now = datetime.now(UTC)
    assert bulk.carry_on(app.database, order(app, FAILED, READERS), now, seconds=9)
    schedule.cancel(app.database, failed, "ann", now)
    pending = DeliveryFilter(issue=failed)
    assert bulk.count(app.database, pending, Resolution.resend, now) == (0, {}, READERS)
