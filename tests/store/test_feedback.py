"""Recording feedback."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.store import feedback
from tests.support.locks import wait_for_lock

SAID = "550 5.1.1 no such user"


def test_concurrent_suppressions_of_the_same_addresses_do_not_deadlock(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    addresses = [f"reader{n}@example.org" for n in range(5)]
    # By their ids, the readers stand in the other order than by the hashes of their addresses.
    for address in sorted(addresses, key=app.tokens.address_hash, reverse=True):
        add_subscribers(f"{address};en;")

    def bounced(*readers: int) -> None:
        with app.database.transaction() as session:
            feedback.record_hard_bounces(session, issue, dict.fromkeys(readers, SAID), now)

    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            feedback.record_hard_bounces(session, issue, {5: SAID}, now)
            others = pool.submit(bounced, 1, 2, 3, 4, 5)
            wait_for_lock(session, others)
            feedback.record_hard_bounces(session, issue, {1: SAID}, now)
        others.result(10)


def test_suppression_contains_no_address(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    add_subscribers("ada@example.org;en;")
    with app.database.transaction() as session:
        feedback.record_hard_bounces(session, issue, {1: "550 5.1.1 <ada@example.org> unknown"}, now)
        assert session.scalar(text("SELECT note FROM suppression")) == "550 5.1.1 <…> unknown"


def test_address_change_during_a_send_prevents_the_suppression(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    add_subscribers("ada@example.org;en;\nbob@example.org;en;")
    with app.database.transaction() as session:
        moved = text("UPDATE subscriber SET address_changed_at = :at WHERE id = :id")
        session.execute(moved, [{"id": 1, "at": now}, {"id": 2, "at": now - timedelta(days=1)}])
        feedback.record_hard_bounces(session, issue, {1: SAID, 2: SAID}, now)
        assert session.scalar(text("SELECT count(*) FROM feedback")) == 2
        assert list(session.scalars(text("SELECT address_hash FROM suppression"))) == [
            app.tokens.address_hash("bob@example.org")
        ]
