"""Limits that are kept, receivers that ask for less, breakers, and relays that stand in for each other."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from bench.sink import Fault
from mailer.adapters.embedded import Valkey
from mailer.adapters.limiter import Limiter
from mailer.bootstrap import Container
from mailer.domain.states import IssueState
from mailer.domain.throttling import ThrottleScope, ThrottleState
from mailer.domain.transactional import TransactionalEmailKind
from mailer.services.delivery import dispatch
from mailer.services.issues import report, schedule
from mailer.services.issues.report import DeliveryCounts
from mailer.settings import Settings
from mailer.store import throttles, transactional
from tests.support.smtp_sink import SinkServer
from tests.support.transactional import send_transactional

Ready = Callable[..., int]
Send = Callable[[], int]
LATER = "UPDATE throttle SET open_until = now() - interval '1 second', probe_lease_until = NULL"


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[SinkServer]:
    with SinkServer(tmp_path / "spare.log") as running:
        yield running


@pytest.fixture
def settings(settings: Settings, sink: SinkServer, valkey: Valkey, request: pytest.FixtureRequest) -> Settings:
    """Sends to the sink. A test marked with ``settings`` changes some; ports are filled in by relays' names."""
    redis.Redis.from_url(valkey.url).flushall()
    asked = {"smtp_port": sink.port, "redis_url": valkey.url, "batch_size": 1000, "lease_seconds": 30}
    for marker in request.node.iter_markers("settings"):
        asked |= marker.kwargs
    for one in asked.get("relays", []):  # type: ignore[attr-defined]
        one |= {"host": "127.0.0.1"}
        if "port" not in one:
            one["port"] = request.getfixturevalue(one["name"]).port
    return Settings(**(settings.model_dump() | asked))


@pytest.fixture
def ready(prepared_issue: Callable[..., int]) -> Ready:
    """An issue with so many readers at each domain, in turn, expanded and rendered."""

    def run(**domains: int) -> int:
        return prepared_issue(
            "\n".join(
                f"reader{n}@{name.replace('_', '.')};en;"
                for n in range(max(domains.values()))
                for name, count in domains.items()
                if n < count
            ),
            "en",
        )

    return run


def query(app: Container, statement: str) -> list[tuple[object, ...]]:
    with app.database.transaction() as session:
        result = session.connection().execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def held(app: Container, kind: ThrottleScope, name: str) -> ThrottleState | None:
    with app.database.transaction() as session:
        return throttles.load_all(session).get((kind, name))


def due_now(app: Container) -> None:
    query(app, "UPDATE delivery SET due_at = now() - interval '1 second' WHERE state = 'pending'")
    query(app, "UPDATE batch SET due_at = now() - interval '1 second' WHERE state = 'ready'")


def one_round(app: Container) -> int:
    """Send each batch that is due once."""
    handed = dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 1000)
    return sum(app.send_worker.send_batch(batch) for batch, _ in handed)


def send_all(app: Container, issue: int, seconds: float = 30) -> float:
    """Send until the issue is sent; returns how long it took."""
    began = time.monotonic()
    while dispatch.finish_done(app.database, datetime.now(UTC)) != [issue]:
        assert time.monotonic() - began < seconds, query(app, "SELECT state::text, count(*) FROM delivery GROUP BY 1")
        one_round(app)
        time.sleep(0.02)
    return time.monotonic() - began


def counts(app: Container, issue: int) -> DeliveryCounts:
    assert report.audit(app.database, issue) == []
    return report.status(app.database, issue, datetime.now(UTC)).counts


def by_domain(app: Container, state: str = "sent") -> Counter[str]:
    rows = query(
        app,
        "SELECT split_part(address, '@', 2) FROM delivery d JOIN subscriber r ON r.id = d.subscriber_id"
        f" WHERE d.state = '{state}'",
    )
    return Counter(str(row[0]) for row in rows)


@pytest.mark.settings(smtp_rate="50/s")
def test_a_relay_gets_no_more_than_its_rate(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(example_org=100)
    seconds = send_all(app, issue)
    assert seconds >= 100 / 50 - 0.1
    assert counts(app, issue) == DeliveryCounts(candidates=100, sent=100)
    assert len(set(sink.accepted(app.tokens))) == 100


def test_an_issue_is_slowed_down_while_it_goes_out(app: Container, ready: Ready) -> None:
    issue = ready(example_org=60)
    schedule.set_max_rate(app.database, issue, 40, "ann")
    assert send_all(app, issue) >= 60 / 40 - 0.1
    assert ("ann", "limited", "40/s") in [event[1:] for event in report.events(app.database, issue)]


@pytest.mark.settings(providers=[{"name": "Slow", "domains": ["a.example", "b.example"], "rate": "40/s"}])
def test_a_destination_has_its_rate_and_holds_up_nobody_else(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(a_example=30, b_example=30, example_org=200)
    one_round(app)
    assert by_domain(app)["example.org"] == 200, "all that has no limit went out at once"
    first = sum(by_domain(app).values()) - 200
    assert first < 40
    assert query(app, "SELECT DISTINCT is_retry FROM batch WHERE state = 'ready'") == [(True,)]
    assert query(app, "SELECT max(attempts) FROM delivery WHERE state = 'pending'") == [(0,)]
    seconds = send_all(app, issue)
    assert seconds >= (60 - first) / 40 - 1.1, "a bucket saves up no more than a second"
    assert sorted(Counter(sink.accepted(app.tokens)).values()) == [1] * 260


@pytest.mark.settings(domain_rate="20/s")
def test_every_domain_has_the_common_rate(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(a_example=30, b_example=30)
    assert send_all(app, issue) >= 30 / 20 - 0.1
    assert counts(app, issue) == DeliveryCounts(candidates=60, sent=60)
    assert query(app, "SELECT max(attempts) FROM delivery") == [(1,)], "waiting is no attempt"


@pytest.mark.settings(smtp_rate="1000/s", redis_url="unix:///nowhere/redis.sock")
def test_without_redis_nothing_runs_free(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(example_org=5)
    sending = threading.Thread(target=one_round, args=[app])
    sending.start()
    time.sleep(1.5)
    assert not sink.accepted(app.tokens)
    app.send_worker.stop()
    sending.join(5)
    assert not sending.is_alive()
    assert counts(app, issue) == DeliveryCounts(candidates=5)
    assert not sink.accepted(app.tokens)


def test_a_refusal_for_policy_stops_that_domain_alone(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(a_example=40, example_org=40)
    sink.behaviour.faults = [Fault("rcpt", "550 5.7.1 <reader1@a.example> is not for you", 1.0, "a.example")]
    one_round(app)
    assert by_domain(app) == Counter({"example.org": 40})
    breaker = held(app, ThrottleScope.provider, "a.example")
    assert breaker is not None
    assert breaker.is_open(datetime.now(UTC))
    assert breaker.reason == "550 5.7.1 <…> is not for you", "nobody's address stands there"
    assert query(app, "SELECT count(*) FROM suppression") == [(0,)]
    due_now(app)
    assert one_round(app) == 0, "shut"

    query(app, LATER)
    due_now(app)
    app.traffic_shaper.throttles.expire()
    assert one_round(app) == 3, "half-open: three try"
    breaker = held(app, ThrottleScope.provider, "a.example")
    assert breaker is not None
    assert breaker.trips == 2

    sink.behaviour.faults = []
    query(app, LATER)
    due_now(app)
    app.traffic_shaper.throttles.expire()
    one_round(app)
    assert held(app, ThrottleScope.provider, "a.example") is None, "closed"
    due_now(app)
    send_all(app, issue)
    assert counts(app, issue) == DeliveryCounts(candidates=80, sent=80)


def test_one_mailbox_that_refuses_us_stops_nobody(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(a_example=40)
    sink.behaviour.faults = [Fault("rcpt", "550 5.7.1 no newsletters", 1.0, "reader7@a.example")]
    one_round(app)
    assert held(app, ThrottleScope.provider, "a.example") is None
    for _ in range(2):
        due_now(app)
        one_round(app)
    assert counts(app, issue) == DeliveryCounts(candidates=40, sent=39, failed=1)
    assert query(app, "SELECT attempts FROM delivery WHERE state = 'failed'") == [(3,)]


@pytest.mark.parametrize(
    "plea",
    [
        "450 4.7.0 too fast",
        "452 4.3.1 insufficient system storage",
        "454 Throttling failure: maximum sending rate exceeded",
    ],
)
def test_who_asks_for_less_gets_less(app: Container, sink: SinkServer, ready: Ready, plea: str) -> None:
    ready(a_example=40, example_org=40)
    sink.behaviour.faults = [Fault("rcpt", plea, 1.0, "a.example")]
    one_round(app)
    assert by_domain(app) == Counter({"example.org": 40})
    slowed = held(app, ThrottleScope.provider, "a.example")
    assert slowed is not None
    # From the pace of these forty, which took far less than two seconds: nothing was told of earlier ones.
    assert (slowed.current_rate(datetime.now(UTC)) or 0) > 10
    assert slowed.reason == plea
    assert held(app, ThrottleScope.provider, "example.org") is None


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("mail", "553 5.7.1 sender rejected"),
        ("mail", "550 5.1.8 Sender address rejected: Domain not found"),
        ("mail", "501 5.5.4 bad address"),
        ("rcpt", "550 5.1.8 Sender address rejected: Domain not found"),
        ("final", "554 Message rejected: Email address is not verified."),
    ],
)
def test_a_sender_that_is_refused_pauses_the_issue_and_fails_nobody(
    app: Container, sink: SinkServer, ready: Ready, stage: str, reply: str
) -> None:
    issue = ready(example_org=30)
    sink.behaviour.faults = [Fault(stage, reply, 1.0)]
    one_round(app)
    assert query(app, "SELECT DISTINCT state::text, attempts FROM delivery") == [("pending", 0)]
    status = report.status(app.database, issue, datetime.now(UTC))
    assert status.state is IssueState.paused
    assert status.counts == DeliveryCounts(candidates=30)
    assert query(app, "SELECT count(*) FROM throttle") == [(0,)]


def test_a_relay_that_asks_for_less_gets_less(app: Container, sink: SinkServer, ready: Ready) -> None:
    ready(example_org=40)
    sink.behaviour.faults = [Fault("rcpt", "421 4.7.0 too much, closing", 0.6)]
    one_round(app)
    slowed = held(app, ThrottleScope.relay, "relay")
    assert slowed is not None
    assert slowed.current_rate(datetime.now(UTC))


@pytest.mark.settings(smtp_rate="100/s")
def test_leave_that_was_not_used_is_there_for_others(app: Container, ready: Ready) -> None:
    issue = ready(example_org=1)
    whole = 0
    until = time.monotonic() + 5
    while whole < 50 and time.monotonic() < until:
        time.sleep(0.7)
        leave = app.traffic_shaper.acquire(issue, 500)
        whole = leave.count
    assert whole >= 50
    app.traffic_shaper.release_unused(leave, [])
    assert app.traffic_shaper.acquire(issue, 500).count >= whole, "at once, not after another second"


@pytest.mark.settings(smtp_port=1)
def test_while_the_relay_is_away_nothing_moves(app: Container, ready: Ready) -> None:
    issue = ready(example_org=30)
    one_round(app)
    shut = held(app, ThrottleScope.relay, "relay")
    assert shut is not None
    assert shut.is_open(datetime.now(UTC))
    assert app.traffic_shaper.all_relays_blocked()
    due_now(app)
    assert one_round(app) == 0
    assert query(app, "SELECT DISTINCT state::text, attempts FROM delivery") == [("pending", 0)]
    assert query(app, "SELECT bool_and(due_at > now() AND NOT is_retry) FROM batch") == [(True,)]
    assert counts(app, issue) == DeliveryCounts(candidates=30)


@pytest.mark.settings(relays=[{"name": "away", "port": 1, "weight": 5}, {"name": "spare", "weight": 0}])
def test_another_relay_stands_in(app: Container, spare: SinkServer, ready: Ready) -> None:
    issue = ready(example_org=60)
    send_all(app, issue)
    assert sorted(spare.accepted(app.tokens)) == list(range(1, 61))
    assert query(app, "SELECT DISTINCT relay FROM delivery") == [("spare",)]
    assert held(app, ThrottleScope.relay, "away") is not None


def test_a_relay_that_hangs_up_after_the_dot_is_tried_less_and_less(
    app: Container, sink: SinkServer, ready: Ready
) -> None:
    """Each try leaves a delivery uncertain."""
    ready(example_org=40)
    sink.behaviour.drop_after = 1.0
    one_round(app)
    uncertain = by_domain(app, "uncertain")["example.org"]
    query(app, "UPDATE throttle SET trips = 10")
    for tries in (1, 2):
        query(app, LATER)
        app.traffic_shaper.throttles.expire()
        due_now(app)
        one_round(app)
        assert by_domain(app, "uncertain")["example.org"] == uncertain + tries
        shut = held(app, ThrottleScope.relay, "relay")
        assert shut is not None
        assert shut.open_until is not None
        assert shut.open_until - datetime.now(UTC) > timedelta(minutes=50)
    sink.behaviour.drop_after = 0.0
    query(app, LATER)
    app.traffic_shaper.throttles.expire()
    due_now(app)
    one_round(app)
    assert held(app, ThrottleScope.relay, "relay") is None


def test_a_try_of_a_relay_that_nothing_was_taken_for_is_free_again(app: Container, ready: Ready) -> None:
    issue = ready(example_org=5)
    with app.database.transaction() as session:
        how = partial(ThrottleState.trip, now=datetime.now(UTC), reason="away")
        throttles.update(session, ThrottleScope.relay, "relay", how)
    query(app, LATER)
    leave = app.traffic_shaper.acquire(issue, 5)
    assert (ThrottleScope.relay, "relay") in leave.probes
    app.traffic_shaper.release_unused(leave, [])
    assert query(app, "SELECT probe_lease_until FROM throttle") == [(None,)]


@pytest.mark.settings(relays=[{"name": "sink"}, {"name": "spare"}])
def test_a_relay_that_was_away_catches_up_on_little(
    app: Container, sink: SinkServer, spare: SinkServer, ready: Ready
) -> None:
    issue = ready(example_org=1)
    gate, turns = app.traffic_shaper, Counter[str]()
    first = gate.acquire(issue, 500)
    assert first.route is not None
    for _ in range(200):
        gate.release_unused(first, ["example.org"] * 500)
    for _ in range(20):
        leave = gate.acquire(issue, 500)
        assert leave.route is not None
        gate.release_unused(leave, ["example.org"] * 500)
        turns[leave.route.relay] += 1
    assert 6 <= turns[first.route.relay] <= 14


@pytest.mark.settings(relays=[{"name": "sink", "weight": 3}, {"name": "spare", "weight": 1}])
def test_relays_share_by_weight(app: Container, sink: SinkServer, spare: SinkServer, ready: Ready) -> None:
    app.send_worker.context.chunk_size.current = 20
    issue = ready(example_org=400)
    send_all(app, issue)
    taken = len(sink.accepted(app.tokens)), len(spare.accepted(app.tokens))
    assert sum(taken) == 400
    assert taken[0] > taken[1] > 0


@pytest.mark.settings(relays=[{"name": "sink", "rate": "40/s"}])
def test_transactional_emails_have_their_turn_within_the_rate_of_a_relay(
    app: Container, sink: SinkServer, ready: Ready
) -> None:
    issue = ready(example_org=160)
    with app.database.transaction() as session:
        for reader in range(1, 41):
            transactional.add(session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=reader)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        sending = pool.submit(send_all, app, issue)
        gone = 0
        while gone < 40:
            gone += send_transactional(app)
            assert time.monotonic() - began < 20
            time.sleep(0.02)
        # No more than what a bucket holds and what is drawn ahead, beside what comes in.
        assert sink.counts.accepted <= 40 * (time.monotonic() - began) + 80
        assert counts(app, issue).sent < 160, "who asked for one need not wait for the whole issue"
        sending.result()
    assert sink.counts.accepted == 200


@pytest.mark.settings(relays=[{"name": "sink", "rate": "10/s"}])
def test_without_redis_notes_wait(
    app: Container, sink: SinkServer, ready: Ready, make_app: Callable[..., Container]
) -> None:
    ready(example_org=1)
    with app.database.transaction() as session:
        transactional.add(session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=1)
    assert send_transactional(make_app(limiter=Limiter("redis://127.0.0.1:1"))) == 0
    assert send_transactional(app) == 1


@pytest.mark.settings(relays=[{"name": "away", "port": 1}, {"name": "spare"}])
def test_notes_go_by_another_relay_while_one_is_away(app: Container, spare: SinkServer, ready: Ready) -> None:
    ready(example_org=1)
    with app.database.transaction() as session:
        transactional.add(session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=1)
    assert send_transactional(app) == 1
    assert send_transactional(app) == 0, "not again in the same breath"
    soon = datetime.now(UTC) + timedelta(seconds=2)
    assert send_transactional(app, soon) == 1
    assert spare.counts.accepted == 1
    assert query(app, "SELECT attempts, sent_at IS NOT NULL FROM transactional_email") == [(1, True)]
    shut = held(app, ThrottleScope.relay, "away")
    assert shut is not None and shut.is_open(soon)


@pytest.mark.settings(relays=[{"name": "sink"}])
def test_a_note_that_is_answered_closes_the_breaker(app: Container, sink: SinkServer, ready: Ready) -> None:
    ready(example_org=1)
    now = datetime.now(UTC)
    with app.database.transaction() as session:
        transactional.add(session, TransactionalEmailKind.welcome, 1, "en", now, subscriber=1)
        throttles.update(session, ThrottleScope.relay, "sink", lambda held: held.trip(now, "away"))
    assert send_transactional(app, now + timedelta(seconds=2)) == 0
    assert send_transactional(app, now + timedelta(seconds=6)) == 1
    assert held(app, ThrottleScope.relay, "sink") is None


@pytest.mark.settings(
    relays=[
        {
            "name": "sink",
            "warm_up": {"starts_on": datetime.now(UTC).date().isoformat(), "first_day_limit": 25},
        }
    ]
)
def test_a_relay_that_warms_up_sends_no_more_than_its_day_allows(
    app: Container, sink: SinkServer, ready: Ready
) -> None:
    issue = ready(example_org=40)
    for _ in range(3):
        due_now(app)
        one_round(app)
    assert len(sink.accepted(app.tokens)) == 25
    assert counts(app, issue) == DeliveryCounts(candidates=40, sent=25)
    assert query(app, "SELECT relay, sent FROM relay_daily_usage") == [("sink", 25)]


@pytest.mark.settings(
    relays=[
        {
            "name": "away",
            "port": 1,
            "warm_up": {"starts_on": datetime.now(UTC).date().isoformat(), "first_day_limit": 25},
        }
    ]
)
def test_what_a_relay_never_got_does_not_use_up_its_day(app: Container, ready: Ready) -> None:
    ready(example_org=40)
    one_round(app)
    assert query(app, "SELECT relay, sent FROM relay_daily_usage") == [("away", 0)]


WARM = {"starts_on": datetime.now(UTC).date().isoformat(), "first_day_limit": 3}


def queue_welcomes(app: Container, count: int) -> None:
    with app.database.transaction() as session:
        for subscriber in range(1, count + 1):
            transactional.add(
                session, TransactionalEmailKind.welcome, 1, "en", datetime.now(UTC), subscriber=subscriber
            )


@pytest.mark.settings(relays=[{"name": "sink", "warm_up": WARM}])
def test_confirmations_count_in_a_warm_up_and_are_never_held_up(app: Container, sink: SinkServer, ready: Ready) -> None:
    ready(example_org=4)
    queue_welcomes(app, 2)
    assert send_transactional(app) == 2
    assert one_round(app) == 1, "of the three messages of the day, one is left for the issue"
    queue_welcomes(app, 1)
    assert send_transactional(app) == 1, "somebody is waiting for it"
    assert query(app, "SELECT relay, sent FROM relay_daily_usage") == [("sink", 4)]


@pytest.mark.settings(relays=[{"name": "sink", "warm_up": WARM, "weight": 9}, {"name": "spare"}])
def test_confirmations_go_by_a_relay_that_has_room(
    app: Container, sink: SinkServer, spare: SinkServer, ready: Ready
) -> None:
    ready(example_org=4)
    for count, by_sink, by_spare in ((3, 3, 0), (4, 3, 4)):
        queue_welcomes(app, count)
        assert send_transactional(app) == count
        assert query(app, "SELECT relay, sent FROM relay_daily_usage") == [("sink", 3)]
        assert (sink.counts.accepted, spare.counts.accepted) == (by_sink, by_spare)


@pytest.mark.settings(relays=[{"name": "away", "port": 1, "warm_up": WARM}])
def test_a_confirmation_that_a_relay_never_got_does_not_use_up_its_day(app: Container, ready: Ready) -> None:
    ready(example_org=1)
    queue_welcomes(app, 1)
    assert send_transactional(app) == 1
    assert query(app, "SELECT relay, sent FROM relay_daily_usage") == [("away", 0)]


def test_issues_have_their_turn_beside_a_larger_one(app: Container, ready: Ready) -> None:
    ready(example_org=5)
    query(
        app,
        """
        INSERT INTO issue (newsletter_id, number, issue_date, state, missing_translations, revision, ready_at)
        SELECT newsletter_id, 'other', issue_date, 'sending', missing_translations, 1, now() FROM issue
        """,
    )
    query(
        app,
        """
        INSERT INTO batch (issue_id, first_subscriber_id, last_subscriber_id, state, due_at, epoch, worker, is_retry,
            candidates, sent, failed, skipped, uncertain)
        SELECT (SELECT max(id) FROM issue), n, n, 'ready', now() - interval '1 day', 0, '', false, 1, 0, 0, 0, 0
        FROM generate_series(100, 199) n
        """,
    )
    handed = dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(seconds=15), 4)
    mine = query(app, "SELECT id FROM batch WHERE issue_id = (SELECT min(id) FROM issue)")
    assert mine[0][0] in [batch for batch, _ in handed], "though all of the other's are due for longer"


def untouched(app: Container) -> bool:
    """Whether no delivery has an attempt behind it, and no receiving domain is held back."""
    return query(app, "SELECT DISTINCT state::text, attempts FROM delivery") == [("pending", 0)] and not query(
        app, "SELECT name FROM throttle WHERE scope = 'provider'"
    )


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("mail", "450 4.3.2 try later"),
        ("mail", "451 4.3.0 local error in processing"),
        ("mail", "421 4.7.0 too much mail"),
        ("mail", "503 5.5.1 send HELO first"),
        ("rcpt", "554 5.7.1 Relay access denied"),
        ("rcpt", "504 5.5.2 Helo command rejected: need fully-qualified hostname"),
        ("data", "500 command unrecognised"),
    ],
)
def test_a_relay_that_refuses_everybody_is_the_relays_state(
    app: Container, sink: SinkServer, ready: Ready, stage: str, reply: str
) -> None:
    issue = ready(a_example=20, example_org=20)
    sink.behaviour.faults = [Fault(stage, reply, 1.0)]
    one_round(app)
    assert untouched(app), query(app, "SELECT state::text, attempts, count(*) FROM delivery GROUP BY 1, 2")
    breaker = held(app, ThrottleScope.relay, "relay")
    assert breaker is not None
    assert breaker.is_open(datetime.now(UTC))
    assert breaker.reason.endswith(reply)
    assert query(app, "SELECT state::text FROM issue") == [("sending",)]

    query(app, LATER)
    app.traffic_shaper.throttles.expire()
    due_now(app)
    one_round(app)
    assert untouched(app), "the trial counts for nobody either"

    sink.behaviour.faults = []
    query(app, LATER)
    app.traffic_shaper.throttles.expire()
    due_now(app)
    send_all(app, issue)
    assert counts(app, issue) == DeliveryCounts(candidates=40, sent=40)
    assert held(app, ThrottleScope.relay, "relay") is None


def test_a_relay_that_is_busy_now_and_then_is_slowed_down(app: Container, sink: SinkServer, ready: Ready) -> None:
    issue = ready(example_org=60)
    sink.behaviour.faults = [Fault("mail", "451 4.3.2 too many messages", 0.5)]
    one_round(app)
    throttle = held(app, ThrottleScope.relay, "relay")
    assert throttle is not None
    assert throttle.open_until is None
    assert throttle.current_rate(datetime.now(UTC))
    assert query(app, "SELECT max(attempts) FROM delivery WHERE state = 'pending'") == [(0,)]
    assert not query(app, "SELECT name FROM throttle WHERE scope = 'provider'")
    sink.behaviour.faults = []
    query(app, "DELETE FROM throttle")
    app.traffic_shaper.throttles.expire()
    due_now(app)
    send_all(app, issue)
    assert counts(app, issue) == DeliveryCounts(candidates=60, sent=60)


def test_two_greylistings_and_then_a_policy_refusal_fail_nobody(app: Container, sink: SinkServer, ready: Ready) -> None:
    ready(example_org=10)
    for reply in ("450 4.2.0 greylisted", "450 4.2.0 greylisted", "550 5.7.1 not today"):
        sink.behaviour.faults = [Fault("rcpt", reply, 1.0)]
        query(app, "DELETE FROM throttle")
        app.traffic_shaper.throttles.expire()
        due_now(app)
        one_round(app)
    assert query(app, "SELECT DISTINCT state::text, attempts, policy_refusals FROM delivery") == [("pending", 3, 1)]


def test_the_log_of_a_relay_that_works_again_names_no_fault(
    app: Container, sink: SinkServer, ready: Ready, caplog: pytest.LogCaptureFixture
) -> None:
    issue = ready(example_org=10)
    sink.behaviour.faults = [Fault("mail", "451 4.3.2 not now", 1.0)]
    one_round(app)
    sink.behaviour.faults = []
    query(app, LATER)
    app.traffic_shaper.throttles.expire()
    due_now(app)
    send_all(app, issue)
    assert "The relay relay cannot be used: 451 4.3.2 not now" in caplog.messages
    assert "The relay relay works again." in caplog.messages
