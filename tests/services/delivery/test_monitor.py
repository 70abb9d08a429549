"""Snapshots for ops, and suspending a relay or a receiving domain."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text

from bench.sink import Fault
from mailer.adapters.embedded import Valkey
from mailer.bootstrap import Container
from mailer.domain.metrics import QUEUES, OutcomeKey, WorkerHeartbeat
from mailer.domain.queue_status import QueueSnapshot
from mailer.domain.throttling import ThrottleScope
from mailer.services.delivery import dispatch, expand, monitor
from mailer.services.delivery.monitor import EndpointNotFound, SuspendResult
from mailer.services.issues import approve, compile, schedule
from mailer.settings import Settings
from tests.conftest import NOW
from tests.support.smtp_sink import SinkServer


@pytest.fixture
def settings(settings: Settings, sink: SinkServer, valkey: Valkey) -> Settings:
    redis.Redis.from_url(valkey.url).flushall()
    return settings.model_copy(update={"smtp_port": sink.port, "redis_url": valkey.url, "batch_size": 1000})


@pytest.fixture
def issue(prepared_issue: Callable[..., int]) -> int:
    """Ready to go out to 20 readers at each of two domains."""
    return prepared_issue("\n".join(f"reader{n}@{name}.example;en;" for n in range(20) for name in "ab"), "en")


def look(app: Container, before: QueueSnapshot | None = None) -> QueueSnapshot:
    app.metrics.flush()
    return monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, datetime.now(UTC), before)


def suspend(app: Container, name: str, until: datetime | None, reason: str) -> SuspendResult:
    return monitor.suspend(app.database, app.relay_routes, app.providers, name, until, reason, datetime.now(UTC))


def resume(app: Container, name: str) -> SuspendResult:
    return monitor.resume(app.database, app.relay_routes, app.providers, name, datetime.now(UTC))


def one_round(app: Container) -> int:
    handed = dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 1000)
    return sum(app.send_worker.send_batch(batch) for batch, _ in handed)


def pending(picture: QueueSnapshot) -> int:
    """What the queues of deliveries hold."""
    return sum(queue.waiting + queue.postponed for queue in picture.queues if queue.name in ("expand", "send", "retry"))


def due_now(app: Container) -> None:
    with app.database.transaction() as session:
        for table, state in (("delivery", "pending"), ("batch", "ready")):
            session.execute(text(f"UPDATE {table} SET due_at = now() - interval '1 second' WHERE state = '{state}'"))
    app.traffic_shaper.throttles.expire()


def test_snapshot_of_a_new_installation_is_empty(app: Container) -> None:
    picture = look(app)
    assert (picture.issues, picture.workers, picture.providers, picture.retries) == ([], [], [], 0)
    assert {queue.name: queue.waiting for queue in picture.queues} == dict.fromkeys(
        ("expand", "compose", "send", "retry", "transactional"), 0
    )
    assert [(relay.name, relay.state, relay.limit) for relay in picture.relays] == [("relay", "closed", None)]


def test_snapshot_shows_depths_flows_and_deferrals(app: Container, sink: SinkServer, issue: int) -> None:
    before = look(app)
    queues = {queue.name: queue for queue in before.queues}
    assert queues["send"].waiting == 40
    assert queues["send"].oldest_seconds is not None
    assert queues["send"].inflow_rate is None, "one look tells no flow"
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 busy", 1.0, "a.example")]
    one_round(app)
    after = look(app, before)
    queues = {queue.name: queue for queue in after.queues}
    assert queues["send"].waiting == 0
    assert queues["send"].outflow_rate == pytest.approx(after.relays[0].rate)
    assert (queues["retry"].waiting, queues["retry"].postponed) == (0, 20)
    assert (after.retries, after.next_retry is not None, after.rate_limited) == (20, True, 0)
    assert [(one.issue, one.counts.sent, one.counts.pending) for one in after.issues] == [(issue, 20, 20)]
    lines = {line.name: line for line in after.providers}
    a_rate, b_rate = lines["a.example"].rate, lines["b.example"].rate
    assert a_rate is not None and b_rate is not None
    assert (lines["a.example"].state, lines["a.example"].waiting) == ("slowed", 20)
    assert lines["a.example"].deferral_rate == pytest.approx(a_rate)
    assert lines["a.example"].reason == "450 4.2.1 busy"
    assert (lines["b.example"].state, lines["b.example"].waiting) == ("closed", 0)
    assert b_rate > 0
    assert after.relays[0].rate == pytest.approx(a_rate + b_rate)

    due_now(app)
    assert {queue.name: queue.waiting for queue in look(app).queues}["retry"] == 20

    sink.behaviour.faults = []
    one_round(app)
    assert {queue.name: queue.outflow_rate for queue in look(app).queues}["send"] == pytest.approx(
        2 * b_rate, rel=0.5
    ), "second attempts left the queue of retries"


def test_suspended_domain_waits_while_others_are_sent(app: Container, sink: SinkServer, issue: int) -> None:
    held = suspend(app, "A.example", None, "their request")
    assert held == (ThrottleScope.provider, "a.example", "closed", True)
    one_round(app)
    due_now(app)
    assert one_round(app) == 0
    assert len(sink.accepted(app.tokens)) == 20
    picture = look(app)
    lines = {line.name: line for line in picture.providers}
    assert (lines["a.example"].state, lines["a.example"].reason) == ("suspended", "their request")
    assert (lines["a.example"].waiting, picture.rate_limited, picture.retries) == (20, 20, 0)
    assert pending(picture) == picture.issues[0].counts.pending == 20
    resume(app, "a.example")
    app.traffic_shaper.throttles.expire()
    one_round(app)
    assert len(sink.accepted(app.tokens)) == 40


def test_relay_can_be_suspended_for_a_time(app: Container, sink: SinkServer, issue: int) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    assert suspend(app, "relay", until, "maintenance")[0] is ThrottleScope.relay
    assert app.traffic_shaper.all_relays_blocked()
    one_round(app)
    assert sink.accepted(app.tokens) == []
    picture = look(app)
    assert (picture.relays[0].state, picture.relays[0].open_until) == ("suspended", until)
    assert {queue.name: (queue.waiting, queue.postponed) for queue in picture.queues}["send"] == (0, 40)
    assert pending(picture) == picture.issues[0].counts.pending
    schedule.pause(app.database, issue, "tests")
    assert pending(look(app)) == 40


def test_unexpanded_and_unrendered_deliveries_count_as_pending(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue = import_issue("en")
    add_subscribers("\n".join(f"reader{n}@a.example;en;" for n in range(25)))
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.schedule(app.database, issue, NOW, "tests")
    dispatch.start_due(app.database, NOW, 10)
    assert pending(look(app)) == 25
    expand.expand_next(app.database, issue, NOW)
    picture = look(app)
    assert pending(picture) == picture.issues[0].counts.pending == 25


def test_second_suspension_keeps_the_reason_unless_it_has_one(app: Container) -> None:
    def hold(why: str) -> tuple[str, str]:
        held = suspend(app, "Gmail", None, why)
        return held.previous_state, look(app).providers[0].reason

    assert hold("") == ("closed", "suspended by hand")
    assert hold("their request") == ("suspended", "their request")
    assert hold("") == ("suspended", "their request")
    assert hold("an outage") == ("suspended", "an outage")
    assert resume(app, "Gmail").previous_state == "suspended"
    assert resume(app, "Gmail").previous_state == "closed"


def test_suspending_reports_domains_without_subscribers(app: Container, issue: int) -> None:
    known = {
        name: suspend(app, name, None, "").has_subscribers for name in ("a.example", "gmial.com", "Gmail", "relay")
    }
    assert known == {"a.example": True, "gmial.com": False, "Gmail": True, "relay": True}


def test_providers_beyond_the_busiest_are_counted(app: Container) -> None:
    app.metrics.add({OutcomeKey("send", "relay", f"d{n}.example", "accepted"): 1 for n in range(20)})
    picture = look(app)
    assert (len(picture.providers), picture.more_providers) == (15, 5)


def test_unknown_endpoint_is_refused(app: Container) -> None:
    with pytest.raises(EndpointNotFound, match="Valid names: relay, Gmail, Microsoft, Yahoo"):
        suspend(app, "gmial", None, "")
    assert suspend(app, "googlemail.com", None, "")[1] == "Gmail"


def test_workers_are_listed_until_they_deregister(app: Container) -> None:
    here = WorkerHeartbeat("send@host", ["retry", "send"], 2, 1000.0, {"send": 2000.0})
    app.metrics.send_heartbeat(here)
    app.metrics.send_heartbeat(replace(here, name="prepare@host"))
    assert [one.name for one in look(app).workers] == ["prepare@host", "send@host"]
    assert look(app).workers[1] == here
    app.metrics.deregister("prepare@host")
    assert [one.name for one in look(app).workers] == ["send@host"]


def test_unconsumed_queues_are_listed(app: Container) -> None:
    assert look(app).unconsumed_queues == list(QUEUES)
    app.metrics.send_heartbeat(
        WorkerHeartbeat("one@host", ["scheduler", "expand", "compose", "maintenance"], 0, 1000.0, {})
    )
    app.metrics.send_heartbeat(WorkerHeartbeat("two@host", ["retry", "transactional"], 0, 1000.0, {}))
    assert look(app).unconsumed_queues == ["send"]


def test_stopped_scheduler_is_detected_from_worker_heartbeats(app: Container) -> None:
    assert look(app).beat_silence_seconds is None
    now = datetime.now(UTC).timestamp()
    app.metrics.send_heartbeat(WorkerHeartbeat("new@host", ["scheduler"], 0, now - 90, {}))
    assert look(app).beat_silence_seconds == pytest.approx(90, abs=5)
    app.metrics.send_heartbeat(WorkerHeartbeat("old@host", ["scheduler"], 0, 1000.0, {"scheduler": now - 50}))
    assert look(app).beat_silence_seconds == pytest.approx(50, abs=5)


def test_snapshot_without_redis_shows_database_values(app: Container, issue: int, settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    with Container(away, application="tests") as cut_off:
        cut_off.metrics.add({OutcomeKey("send", "relay", "a.example", "accepted"): 1})
        picture = look(cut_off, look(app))
    assert {queue.name: (queue.waiting, queue.broker_messages) for queue in picture.queues}["send"] == (
        40,
        None,
    )
    assert (
        picture.redis_available,
        picture.workers,
        picture.unconsumed_queues,
        picture.beat_silence_seconds,
    ) == (False, [], [], None)
    assert (picture.relays[0].rate, picture.relays[0].deferral_rate) == (None, None)
    assert {queue.name: queue.outflow_rate for queue in picture.queues}["retry"] is None


def stalled(app: Container, now: datetime) -> list[datetime | None]:
    snapshot = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, now)
    return [issue.stalled_since for issue in snapshot.issues]


def test_issue_without_progress_is_stalled(app: Container, sink: SinkServer, issue: int) -> None:
    now, later = datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=5)
    assert stalled(app, now) == [None], "it has just begun"
    with app.database.transaction() as session:
        ready_at = session.scalar(text("SELECT ready_at FROM issue"))
    assert stalled(app, later) == [ready_at]
    sink.behaviour.faults = [Fault("mail", "451 4.3.2 not now", 1.0)]
    one_round(app)
    assert stalled(app, later) == [ready_at], "an attempt is no progress"
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 busy", 1.0, "a.example")]
    with app.database.transaction() as session:
        session.execute(text("DELETE FROM throttle"))
    due_now(app)
    one_round(app)
    assert stalled(app, later - timedelta(minutes=3)) == [None], "what is left is due later"
    due_now(app)
    (since,) = stalled(app, later)
    assert since is not None and since > ready_at
