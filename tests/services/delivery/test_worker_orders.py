"""Orders to workers."""

from datetime import UTC, datetime

import pytest

from mailer.domain.metrics import DrainOrder
from mailer.services.delivery import worker_orders
from mailer.services.delivery.worker_orders import InvalidWorkerName
from mailer.store import worker_orders as store
from mailer.store.database import Database

AT = datetime(2026, 9, 30, 9, tzinfo=UTC)


def test_an_order_holds_for_the_worker_or_for_all_of_a_host_until_it_is_taken_back(database: Database) -> None:
    assert worker_orders.drain(database, "send@mail-1", "Omar", "an update", AT)
    assert not worker_orders.drain(database, "send@mail-1", "Olga", "too", AT), "the first one stays"
    assert worker_orders.is_drained(database, "send@mail-1")
    assert not worker_orders.is_drained(database, "send@mail-2")
    assert worker_orders.drain(database, "mail-2", "Omar", "", AT)
    assert worker_orders.is_drained(database, "send@mail-2")
    with database.transaction() as session:
        orders = store.list_all(session)
    assert orders == [DrainOrder("mail-2", "Omar", AT, ""), DrainOrder("send@mail-1", "Omar", AT, "an update")]
    assert [order.covers("retry@mail-2") for order in orders] == [True, False]
    assert worker_orders.release(database, "mail-2")
    assert not worker_orders.release(database, "mail-2")
    assert not worker_orders.is_drained(database, "send@mail-2")


@pytest.mark.parametrize("name", ["", "@mail-1", "send@", "send mail", "a@b@c", "x" * 101])
def test_what_is_no_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(InvalidWorkerName):
        worker_orders.drain(database, name, "Omar", "", AT)
