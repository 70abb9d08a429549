"""Claims and leases of transactional emails."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.transactional import TransactionalEmailKind
from mailer.services.delivery.transactional import TransactionalLimits
from mailer.settings import Settings
from mailer.store import transactional
from tests.support.query_plans import disable_plans, with_each_plan
from tests.support.smtp_sink import SinkServer
from tests.support.transactional import send_transactional

LEASE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings, sink: SinkServer) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port})


@with_each_plan
def test_claimed_emails_are_limited(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    without: tuple[str, ...],
) -> None:
    import_issue("en")
    add_subscribers("\n".join(f"reader{n}@example.org;en;" for n in range(6)))
    now = datetime.now(UTC)
    with app.database.transaction() as session:
        newsletter = session.scalars(text("SELECT id FROM newsletter")).one()
        for reader in session.scalars(text("SELECT id FROM subscriber")):
            transactional.add(session, TransactionalEmailKind.welcome, newsletter, "en", now, subscriber=reader)
    with app.database.transaction() as session:
        disable_plans(session, without)
        first = transactional.claim(session, now, LEASE, 2)
        second = transactional.claim(session, now, LEASE, 2)
        assert (len(first), len(second)) == (2, 2)
        assert not set(first) & set(second)
        assert session.scalar(text("SELECT sum(attempts) FROM transactional_email")) == 4


def test_lease_is_renewed_while_the_relay_is_slow(
    app: Container,
    sink: SinkServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    make_app: Callable[..., Container],
) -> None:
    import_issue("en")
    add_subscribers("ann@example.org;en;")
    worker_app = make_app(transactional_limits=TransactionalLimits(lease=timedelta(seconds=1)))
    sink.behaviour.stall, sink.behaviour.stall_seconds = 1.0, 3.0
    with app.database.transaction() as session:
        transactional.add(session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send_transactional, worker_app)
        time.sleep(2)
        assert send_transactional(worker_app) == 0
        assert first.result() == 1


def test_suppression_contains_no_address(
    app: Container, sink: SinkServer, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers("ann@example.org;en;")
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 <ann@example.org> unknown", 1.0)]
    with app.database.transaction() as session:
        transactional.add(session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=1)
    assert send_transactional(app) == 1
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT note FROM suppression")) == "550 5.1.1 <…> unknown"
