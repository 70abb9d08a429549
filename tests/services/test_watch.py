"""What ops see, and holding a relay or a receiving domain by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text

from bench.sink import Fault
from mailer.adapters.embedded import Valkey
from mailer.bootstrap import Mailer
from mailer.domain.throttling import Kind
from mailer.domain.traffic import QUEUES, Passage, Presence
from mailer.services import approve, compose, expand, schedule, watch
from mailer.services.watch import NoSuchName, Picture
from mailer.settings import Settings
from tests.conftest import NOW
from tests.sinks import RunningSink


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


def pending(picture: Picture) -> int:
    """What the queues of deliveries hold."""
    return sum(
        queue.waiting + queue.later for queue in picture.queues if queue.name in ("expand", "send", "retry")
    )


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
    assert queues["send"].entering is None, "one look tells no flow"
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 busy", 1.0, "a.example")]
    one_round(parts)
    after = look(parts, before)
    queues = {queue.name: queue for queue in after.queues}
    assert queues["send"].waiting == 0
    assert queues["send"].leaving == pytest.approx(after.relays[0].rate)
    assert (queues["retry"].waiting, queues["retry"].later) == (0, 20)
    assert (after.retries, after.next_retry is not None, after.held_back) == (20, True, 0)
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

    sink.behaviour.faults = []
    one_round(parts)
    assert {queue.name: queue.leaving for queue in look(parts).queues}["send"] == pytest.approx(
        2 * lines["b.example"].rate, rel=0.5
    ), "second attempts left the queue of retries"


def test_a_domain_that_is_held_waits_and_everything_else_goes_on(
    parts: Mailer, sink: RunningSink, issue: int
) -> None:
    held = watch.hold(parts.database, parts.routes, parts.destinations, "A.example", None, "their request")
    assert held == (Kind.destination, "a.example", "open", True)
    one_round(parts)
    due_now(parts)
    assert one_round(parts) == 0
    assert len(sink.accepted(parts.tokens)) == 20
    picture = look(parts)
    lines = {line.name: line for line in picture.destinations}
    assert (lines["a.example"].state, lines["a.example"].reason) == ("held", "their request")
    assert (lines["a.example"].waiting, picture.held_back, picture.retries) == (20, 20, 0)
    assert pending(picture) == picture.issues[0].counts.pending == 20
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
    picture = look(parts)
    assert (picture.relays[0].state, picture.relays[0].until) == ("held", until)
    assert {queue.name: (queue.waiting, queue.later) for queue in picture.queues}["send"] == (0, 40)
    assert pending(picture) == picture.issues[0].counts.pending
    schedule.pause(parts.database, issue, "tests")
    assert pending(look(parts)) == 40


def test_what_is_frozen_and_not_expanded_or_rendered_is_pending_too(
    parts: Mailer, import_issue: Callable[..., int], add_readers: Callable[[str], None]
) -> None:
    issue = import_issue("en")
    add_readers("\n".join(f"reader{n}@a.example;en;" for n in range(25)))
    approve.approve(parts.database, compose.load(parts.database, parts.links, issue), "tests")
    schedule.schedule(parts.database, issue, NOW, "tests")
    schedule.begin_due(parts.database, NOW, 10)
    assert pending(look(parts)) == 25
    expand.expand_some(parts.database, issue, NOW)
    picture = look(parts)
    assert pending(picture) == picture.issues[0].counts.pending == 25


def test_a_second_hold_keeps_what_was_said_unless_it_says_something_itself(parts: Mailer) -> None:
    def hold(why: str) -> tuple[str, str]:
        held = watch.hold(parts.database, parts.routes, parts.destinations, "Gmail", None, why)
        return held.before, look(parts).destinations[0].reason

    assert hold("") == ("open", "held by hand")
    assert hold("their request") == ("held", "their request")
    assert hold("") == ("held", "their request")
    assert hold("an outage") == ("held", "an outage")
    assert watch.release(parts.database, parts.routes, parts.destinations, "Gmail").before == "held"
    assert watch.release(parts.database, parts.routes, parts.destinations, "Gmail").before == "open"


def test_whether_anybody_reads_at_a_domain_is_known(parts: Mailer, issue: int) -> None:
    known = {
        name: watch.hold(parts.database, parts.routes, parts.destinations, name, None, "").known
        for name in ("a.example", "gmial.com", "Gmail", "relay")
    }
    assert known == {"a.example": True, "gmial.com": False, "Gmail": True, "relay": True}


def test_destinations_beyond_the_busiest_are_counted(parts: Mailer) -> None:
    parts.telemetry.count({Passage("send", "relay", f"d{n}.example", "accepted"): 1 for n in range(20)})
    picture = look(parts)
    assert (len(picture.destinations), picture.more_destinations) == (15, 5)


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


def test_queues_that_nobody_takes_from_are_named(parts: Mailer) -> None:
    assert look(parts).unserved == list(QUEUES)
    parts.telemetry.be_present(Presence("one@host", ["control", "expand", "compose"], 0, 1000.0, {}))
    parts.telemetry.be_present(Presence("two@host", ["retry", "notes"], 0, 1000.0, {}))
    assert look(parts).unserved == ["send"]


def test_a_clock_that_stands_still_is_seen_by_what_workers_took(parts: Mailer) -> None:
    assert look(parts).silent_seconds is None
    now = datetime.now(UTC).timestamp()
    parts.telemetry.be_present(Presence("new@host", ["control"], 0, now - 90, {}))
    assert look(parts).silent_seconds == pytest.approx(90, abs=5)
    parts.telemetry.be_present(Presence("old@host", ["control"], 0, 1000.0, {"control": now - 50}))
    assert look(parts).silent_seconds == pytest.approx(50, abs=5)


def test_without_redis_what_the_database_knows_is_still_told(
    parts: Mailer, issue: int, settings: Settings
) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    with Mailer(away, application="tests") as cut_off:
        cut_off.telemetry.count({Passage("send", "relay", "a.example", "accepted"): 1})
        picture = look(cut_off, look(parts))
    assert {queue.name: (queue.waiting, queue.hints) for queue in picture.queues}["send"] == (40, None)
    assert (picture.redis, picture.workers, picture.unserved, picture.silent_seconds) == (False, [], [], None)
    assert (picture.relays[0].rate, picture.relays[0].deferred) == (None, None)
    assert {queue.name: queue.leaving for queue in picture.queues}["retry"] is None
