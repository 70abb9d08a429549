"""What is counted of a batch when it is released."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.throttling import ThrottleScope
from mailer.services.delivery import dispatch, monitor, resolve
from mailer.settings import Settings
from mailer.store import refusals, resolution
from tests.support.smtp_sink import SinkServer


@pytest.fixture
def settings(settings: Settings, sink: SinkServer) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "batch_size": 2})


@pytest.fixture
def issue(prepared_issue: Callable[..., int]) -> int:
    """Ready to go out to three readers at each of two domains, in three batches."""
    return prepared_issue("\n".join(f"reader{n}@{name}.example;en;" for n in range(3) for name in "ab"), "en")


def one_round(app: Container) -> None:
    for batch, _ in dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 1000):
        app.send_worker.send_batch(batch)


def refused(app: Container, scope: ThrottleScope, name: str) -> list[tuple[str, int, int, str]]:
    found = monitor.refusals(app.database, app.providers, scope, name)
    return sorted((group.code, group.waiting, group.failed, group.example) for group in found)


@pytest.mark.usefixtures("issue")
def test_refusals_of_all_batches_are_counted_by_wording(app: Container, sink: SinkServer) -> None:
    sink.behaviour.faults = [
        Fault("rcpt", "450 4.2.1 busy until 12:07", 1.0, "a.example"),
        Fault("rcpt", "450 4.2.1 over quota", 1.0, "b.example"),
    ]
    one_round(app)
    busy, over = ("450 4.2.1", 3, 0, "450 4.2.1 busy until 12:07"), ("450 4.2.1", 3, 0, "450 4.2.1 over quota")
    assert refused(app, ThrottleScope.relay, "relay") == [busy, over]
    assert refused(app, ThrottleScope.provider, "b.example") == [over]
    assert refused(app, ThrottleScope.relay, "another") == []
    (group,) = monitor.refusals(app.database, app.providers, ThrottleScope.provider, "a.example")
    assert group.next_attempt is not None
    assert group.next_attempt > datetime.now(UTC)


def test_what_is_being_sent_is_counted_when_it_is_released(app: Container, issue: int, sink: SinkServer) -> None:
    sink.behaviour.faults = [Fault("final", "554 5.3.0 not today", 1.0, "a.example")]
    one_round(app)
    with app.database.transaction() as session:
        stored = text("SELECT sum(failed) FROM batch_refusal")
        assert session.scalar(stored) == 3
        session.execute(text("UPDATE batch SET state = 'sending'"))
        resolution.retry_failed(session, issue, [0], "tests", datetime.now(UTC))
        assert session.scalar(stored) == 3, "nothing changed, so nothing is counted"
        refusals.count(session, session.scalars(text("SELECT id FROM batch")).all())
        assert session.scalar(stored) is None


def test_what_is_retried_is_not_counted_as_failed(app: Container, issue: int, sink: SinkServer) -> None:
    sink.behaviour.faults = [Fault("final", "554 5.3.0 not today", 1.0, "a.example")]
    one_round(app)
    assert refused(app, ThrottleScope.provider, "a.example") == [("554 5.3.0", 0, 3, "554 5.3.0 not today")]
    resolve.retry(app.database, issue, [], "tests", datetime.now(UTC))
    assert refused(app, ThrottleScope.provider, "a.example") == []
