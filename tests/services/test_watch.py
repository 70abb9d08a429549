"""What ops see, and holding a relay or a receiving domain by hand."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from bench.sink import Fault
from mailer.adapters.embedded import Valkey
from mailer.bootstrap import Mailer
from mailer.domain.throttling import Kind
from mailer.domain.traffic import Presence
from mailer.services import schedule, watch
from mailer.services.watch import NoSuchName, Picture
from mailer.settings import Settings
from tests.sinks import RunningSink


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[RunningSink]:
    with RunningSink(tmp_path / "accepted.log") as running:
        yield running


@pytest.fixture
def settings(settings: Settings, sink: RunningSink, valkey: Valkey) -> Settings:
    redis.Redis.from_url(valkey.url).flushall()
    return settings.model_copy(update={"smtp_port": sink.port, "redis_url": valkey.url, "batch_size": 1000})


@pytest.fixture
def issue(
    import_issue: Callable[..., int], add_readers: Callable[[str], None], prepare: Callable[[int], None]
) -> int:
    """Ready to go out to 20 readers at each of two domains."""
    made = import_issue("en")
    add_readers("\n".join(f"reader{n}@{name}.example;en;" for n in range(20) for name in "ab"))
    prepare(made)
    return made


def look(parts: Mailer, before: Picture | None = None) -> Picture:
    parts.telemetry.flush()
    return watch.look(
        parts.database, parts.telemetry, parts.routes, parts.destinations, datetime.now(UTC), before
    )


def one_round(parts: Mailer) -> int:
    handed = schedule.hand_out(parts.database, datetime.now(UTC), timedelta(0), 1000)
    return sum(parts.sender.send_batch(batch) for batch, _ in handed)


def due_now(parts: Mailer) -> None:
    with parts.database.transaction() as session:
        for table, state in (("delivery", "pending"), ("batch", "ready")):
            session.execute(
                text(f"UPDATE {table} SET due_at = now() - interval '1 second' WHERE state = '{state}'")
            )
    parts.gate._read_at = -1e9


def test_before_anything_was_sent_all_is_empty_and_nothing_fails(parts: Mailer) -> None:
    picture = look(parts)
    assert (picture.issues, picture.workers, picture.destinations, picture.retries) == ([], [], [], 0)
    assert {queue.name: queue.waiting for queue in picture.queues} == dict.fromkeys(
        ("expand", "compose", "send", "retry", "notes"), 0
    )
    assert [(relay.name, relay.state, relay.limit) for relay in picture.relays] == [("relay", "open", None)]


def test_depths_flows_and_deferrals_are_told(parts: Mailer, sink: RunningSink, issue: int) -> None:
    before = look(parts)
    queues = {queue.name: queue for queue in before.queues}
    assert queues["send"].waiting == 40
    assert queues["send"].oldest_seconds is not None
    assert queues["send"].leaving is None, "one look tells no flow"
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 busy", 1.0, "a.example")]
    one_round(parts)
    after = look(parts, before)
    queues = {queue.name: queue for queue in after.queues}
    seconds = (after.at - before.at) / timedelta(seconds=1)
    assert queues["send"].waiting == 0
    assert queues["send"].leaving == pytest.approx(20 / seconds)
    assert (after.retries, after.next_retry is not None) == (20, True)
    assert [(one.issue, one.counts.sent, one.counts.pending) for one in after.issues] == [(issue, 20, 20)]
    lines = {line.name: line for line in after.destinations}
    assert (lines["a.example"].state, lines["a.example"].waiting) == ("slowed", 20)
    assert lines["a.example"].deferred == pytest.approx(lines["a.example"].rate)
    assert lines["a.example"].reason == "450 4.2.1 busy"
    assert (lines["b.example"].state, lines["b.example"].waiting) == ("open", 0)
    assert lines["b.example"].rate > 0
    assert after.relays[0].rate == pytest.approx(lines["a.example"].rate + lines["b.example"].rate)

    due_now(parts)
    assert {queue.name: queue.waiting for queue in look(parts).queues}["retry"] == 20


def test_a_domain_that_is_held_waits_and_everything_else_goes_on(
    parts: Mailer, sink: RunningSink, issue: int
) -> None:
    kind, name = watch.hold(
        parts.database, parts.routes, parts.destinations, "A.example", None, "their request"
    )
    assert (kind, name) == (Kind.destination, "a.example")
    one_round(parts)
    due_now(parts)
    assert one_round(parts) == 0
    assert len(sink.accepted(parts.tokens)) == 20
    lines = {line.name: line for line in look(parts).destinations}
    assert (lines["a.example"].state, lines["a.example"].reason) == ("held", "their request")
    watch.release(parts.database, parts.routes, parts.destinations, "a.example")
    parts.gate._read_at = -1e9
    one_round(parts)
    assert len(sink.accepted(parts.tokens)) == 40


def test_a_relay_can_be_held_for_a_while(parts: Mailer, sink: RunningSink, issue: int) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    assert (
        watch.hold(parts.database, parts.routes, parts.destinations, "relay", until, "maintenance")[0]
        is Kind.relay
    )
    assert parts.gate.is_shut()
    one_round(parts)
    assert sink.accepted(parts.tokens) == []
    relay = look(parts).relays[0]
    assert (relay.state, relay.until) == ("held", until)


def test_a_name_that_is_nothing_is_said_to_be_nothing(parts: Mailer) -> None:
    with pytest.raises(NoSuchName, match="there is relay, Gmail, Microsoft, Yahoo"):
        watch.hold(parts.database, parts.routes, parts.destinations, "gmial", None, "")
    assert (
        watch.hold(parts.database, parts.routes, parts.destinations, "googlemail.com", None, "")[1] == "Gmail"
    )


def test_processes_at_work_are_seen_until_they_say_goodbye(parts: Mailer) -> None:
    here = Presence("send@host", ["retry", "send"], 2, 1000.0, {"send": 2000.0})
    parts.telemetry.be_present(here)
    parts.telemetry.be_present(replace(here, name="prepare@host"))
    assert [one.name for one in look(parts).workers] == ["prepare@host", "send@host"]
    assert look(parts).workers[1] == here
    parts.telemetry.leave("prepare@host")
    assert [one.name for one in look(parts).workers] == ["send@host"]


def test_without_redis_what_the_database_knows_is_still_told(
    parts: Mailer, issue: int, settings: Settings
) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    with Mailer(away, application="tests") as cut_off:
        picture = look(cut_off)
    assert {queue.name: (queue.waiting, queue.hints) for queue in picture.queues}["send"] == (40, None)
    assert picture.workers == []
