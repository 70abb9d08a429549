"""Sending against a real relay that misbehaves, and recovering from workers that were lost."""

import email
import email.policy
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bench.sink import Behaviour, Fault
from mailer.adapters.embedded import Postgres
from mailer.adapters.journal import Journals
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.consents import ConsentChannel
from mailer.domain.outcomes import Reply
from mailer.domain.states import DeliveryState, IssueState
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import SuppressionReason
from mailer.services.delivery import dispatch
from mailer.services.delivery.send import SendWorker
from mailer.services.delivery.traffic import TrafficLimits
from mailer.services.feedback import bounces
from mailer.services.issues import report, schedule
from mailer.services.issues.report import DeliveryCounts
from mailer.services.subscribers import unsubscribe
from mailer.settings import Settings
from mailer.store import batches, issues, ledger
from mailer.store.batches import Claim
from mailer.store.database import DatabaseDown
from mailer.store.ledger import DeliveryUpdate
from tests.support.sending import ClockSetBack, ForgetfulDatabase, send_due_batches
from tests.support.smtp_sink import SinkServer

Import = Callable[..., int]
AddReaders = Callable[[str], None]
Prepare = Callable[[int], None]
Send = Callable[[], int]
MakeApp = Callable[..., Container]
OK = Reply(250, "2.0.0", "Ok")


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Tests that ask for the sink send to it, others to the inbox. One connection, one large batch."""
    wanted = request.node.get_closest_marker("settings")
    changed: dict[str, object] = {
        "batch_size": 5000,
        "smtp_connections": 1,
        **(wanted.kwargs if wanted else {}),
    }
    if "sink" in request.fixturenames:
        changed["smtp_port"] = request.getfixturevalue("sink").port
    return settings.model_copy(update=changed)


@pytest.fixture
def ready(prepared_issue: Callable[..., int]) -> Callable[[int], int]:
    """An issue with that many readers, expanded and rendered; their ids count from 1."""

    def run(count: int) -> int:
        return prepared_issue(
            "\n".join(f"reader{n}@example.org;en;trade-and-crossings" for n in range(1, count + 1)), "en"
        )

    return run


def query(app: Container, statement: str, **values: object) -> list[tuple[object, ...]]:
    with app.database.transaction() as session:
        rows = session.connection().execute(text(statement), values)
        return [tuple(row) for row in rows] if rows.returns_rows else []


def wait_for(app: Container, sink: SinkServer, messages: int = 1) -> None:
    """Until the relay has accepted that many."""
    until = time.monotonic() + 10
    while len(sink.accepted(app.tokens)) < messages:
        assert time.monotonic() < until
        time.sleep(0.005)


def states(app: Container) -> dict[int, str]:
    return dict(query(app, "SELECT subscriber_id, state::text FROM delivery ORDER BY 1"))  # type: ignore[arg-type]


def due_now(app: Container) -> None:
    """As if the time of the next attempt had come."""
    query(app, "UPDATE delivery SET due_at = now() - interval '1 second' WHERE state = 'pending'")
    query(app, "UPDATE batch SET due_at = now() - interval '1 second' WHERE state = 'ready'")


def lease_over(app: Container) -> None:
    """As if nobody had heard of the claim for longer than its lease."""
    query(app, "UPDATE batch SET lease_until = now() - interval '1 second' WHERE state = 'sending'")


def counts(app: Container, issue: int) -> DeliveryCounts:
    assert report.audit(app.database, issue) == []
    return report.status(app.database, issue, datetime.now(UTC)).counts


def claimed(app: Container, worker: str = "") -> tuple[Claim, list[int]]:
    """Claim the only batch and take all of it, as a worker does that is lost right after."""
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        batch = session.scalar(text("SELECT id FROM batch"))
        claim = batches.claim(session, batch or 0, worker or app.journals.worker, lease)
        assert claim is not None
    with app.database.transaction() as session:
        assert batches.renew_lease(session, claim, lease)
        due, _, _ = ledger.reserve(session, claim, claim.first_subscriber_id, 1000)
    return claim, [one.subscriber for one in due]


def test_a_mail_as_it_arrives(
    app: Container,
    inbox: InboxServer,
    prepared_issue: Callable[..., int],
    send: Send,
) -> None:
    issue = prepared_issue("ann@example.org;en;\nбоби@пример.example;fr;\nbo@пример.example;en;", "en", "fr")
    assert send() == 3
    caught = inbox.messages()
    assert {one.recipients[0] for one in caught} == {
        "ann@example.org",
        "боби@xn--e1afmkfd.example",
        "bo@xn--e1afmkfd.example",
    }
    for one in caught:
        raw = inbox.inbox.read(one)
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert not message.defects
        assert re.fullmatch(r"bounce\+[0-9a-z]{26,32}@lumen-basin\.example\.org", one.envelope_sender)
        token = one.unsubscribe_url.rpartition("/")[2]
        plain, rich = (message.get_body((kind,)) for kind in ("plain", "html"))
        assert plain is not None
        assert rich is not None
        for part in (plain, rich):
            # The same link as in the header; and no marker of a slot was left behind.
            assert f"http://news.example.org/u/{token}" in part.get_content()
            assert not re.search(r"slot[0-9a-f]{12}", part.get_content())
        assert message["Date"].datetime.tzinfo is not None
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=3)
    assert query(app, "SELECT DISTINCT attempts, left(last_reply, 3) FROM delivery") == [(1, "250")]
    assert not list((app.settings.state_dir / "journal").glob("*.log"))


def test_a_bad_address_fails_and_is_suppressed(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(3)
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 no such user", 1.0)]
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=3, failed=3)
    assert query(app, "SELECT DISTINCT reason, note FROM suppression") == [("hard_bounce", "550 5.1.1 no such user")]
    assert query(app, "SELECT kind, subscriber_id, issue_id FROM feedback ORDER BY 2") == [
        ("bounce", n, issue) for n in (1, 2, 3)
    ]
    assert report.status(app.database, issue, datetime.now(UTC)).state is IssueState.sent


def test_an_issue_whose_first_deliveries_are_all_refused_is_paused_once(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    limit = app.send_worker.context.limits.initial_refusals
    issue = ready(10 * limit)
    sink.behaviour.faults = [Fault("rcpt", "554 we do not like you", 1.0)]
    send()
    status = report.status(app.database, issue, datetime.now(UTC))
    assert status.state is IssueState.paused
    assert limit <= status.counts.failed < 10 * limit
    with app.database.transaction() as session:
        pause = issues.last_pause(session, issue)
    assert pause is not None
    assert (pause.actor, pause.detail) == ("", "554 we do not like you")
    assert query(app, "SELECT pause_reason::text FROM issue") == [("first_refused",)]
    assert [record.name for record in caplog.records if " is paused: " in record.getMessage()] == ["mailer"]

    schedule.resume(app.database, issue, "ann")
    send()
    assert counts(app, issue).failed == 10 * limit, "somebody decided to go on"


def test_a_policy_refusal_suppresses_nobody(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(2)
    sink.behaviour.faults = [Fault("final", "550 5.7.1 blocked by policy", 1.0)]
    send()
    assert counts(app, issue).sent == 0
    assert query(app, "SELECT count(*) FROM suppression") == [(0,)]


def test_what_is_deferred_is_sent_later(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(3)
    sink.behaviour.faults = [Fault("final", "451 4.3.0 busy", 1.0)]
    assert send() == 3
    assert counts(app, issue).pending == 3
    assert query(app, "SELECT DISTINCT attempts, last_reply FROM delivery") == [(1, "451 4.3.0 busy")]
    assert query(app, "SELECT bool_and(due_at > now() + interval '1 minute') FROM delivery") == [(True,)]
    assert query(app, "SELECT state::text, is_retry FROM batch") == [("ready", True)]
    assert send() == 0, "not before its time"
    sink.behaviour.faults = []
    due_now(app)
    assert send() == 3
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=3)
    assert query(app, "SELECT DISTINCT attempts FROM delivery") == [(2,)]
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 3]


def test_how_soon_a_deferred_delivery_comes_back_is_a_setting(
    app: Container, sink: SinkServer, ready: Callable[[int], int], settings: Settings
) -> None:
    ready(3)
    sink.behaviour.faults = [Fault("final", "451 4.3.0 busy", 1.0)]
    with Container(settings.model_copy(update={"min_backoff_seconds": 10}), application="tests") as impatient:
        batch = query(app, "SELECT id FROM batch")[0][0]
        assert impatient.send_worker.send_batch(int(str(batch))) == 3
    left = query(app, "SELECT extract(epoch FROM due_at - now())::float FROM delivery")
    assert all(5 < float(str(seconds)) < 12.1 for (seconds,) in left)


def test_a_relay_that_is_away_costs_no_attempt(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send, settings: Settings
) -> None:
    issue = ready(3)
    nowhere = settings.model_copy(update={"smtp_port": 1})
    with Container(nowhere, application="tests") as cut_off:
        batch = query(app, "SELECT id FROM batch")[0][0]
        cut_off.send_worker.send_batch(int(str(batch)))
    assert query(app, "SELECT DISTINCT state::text, attempts FROM delivery") == [("pending", 0)]
    query(app, "UPDATE throttle SET open_until = now() - interval '1 second'")
    due_now(app)
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=3)


def test_a_faulty_message_stops_the_issue_and_suppresses_nobody(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(600)
    sink.behaviour.faults = [Fault("final", "552 5.3.4 message too big", 1.0)]
    send()
    found = report.status(app.database, issue, datetime.now(UTC))
    assert found.state is IssueState.paused
    assert found.counts.pending > 0, "what was not begun waits for a better message"
    assert found.counts.failed + found.counts.pending == 600
    assert query(app, "SELECT count(*) FROM suppression") == [(0,)]
    assert "552 5.3.4 message too big" in report.events(app.database, issue)[-1][3]


def test_lost_after_the_dot_is_uncertain_and_never_sent_again(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(3)
    sink.behaviour.drop_after = 1.0
    send()
    sink.behaviour.drop_after = 0.0
    due_now(app)
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=3, uncertain=3)
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 3]


@pytest.mark.parametrize(
    "faults",
    [
        Behaviour(drop_before=0.1),
        Behaviour(drop_after=0.1, drop_lost=0.1),
        Behaviour(faults=[Fault("final", "451 4.3.0 busy", 0.2), Fault("rcpt", "421 4.3.2 bye", 0.1)]),
        Behaviour(faults=[Fault("mail", "451 4.3.0 x", 0.2), Fault("data", "451 4.3.0 x", 0.1)], drop_lost=0.05),
    ],
    ids=["cut in the body", "cut after the dot", "deferred", "everything"],
)
def test_under_faults_nobody_gets_two_and_the_ledger_knows_who_got_one(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send, faults: Behaviour
) -> None:
    issue = ready(120)
    for name in ("drop_before", "drop_after", "drop_lost", "faults"):
        setattr(sink.behaviour, name, getattr(faults, name))
    for _ in range(6):
        send()
        due_now(app)
    sink.behaviour.drop_before = sink.behaviour.drop_after = sink.behaviour.drop_lost = 0.0
    sink.behaviour.faults = []
    send()
    accepted = sink.accepted(app.tokens)
    assert len(accepted) == len(set(accepted)), "nobody gets two"
    by_state = states(app)
    assert {reader for reader, state in by_state.items() if state == "sent"} <= set(accepted)
    assert set(accepted) <= {reader for reader, state in by_state.items() if state in ("sent", "uncertain")}
    found = counts(app, issue)
    assert found.sent + found.uncertain == 120


def test_what_a_journal_shows_of_a_worker_that_was_lost(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(8)
    claim, taken = claimed(app)
    assert taken == [1, 2, 3, 4, 5, 6, 7, 8]
    journal = app.journals.open(claim.batch, claim.epoch)
    for reader in (2, 3, 4, 5, 6, 8):
        journal.before_final_dot(reader)
    journal.after_reply(3, OK)
    journal.after_reply(4, Reply(451, "4.3.0", "busy"))
    journal.after_reply(5, Reply(550, "5.1.1", "no such user"))
    journal.after_reply(8, Reply(354, "", "go ahead"))
    journal.deadline = 0
    with pytest.raises(RuntimeError):
        journal.before_final_dot(7)  # withheld: D, then W
    assert send() == 0, "its lease is not over"
    lease_over(app)
    send()
    assert states(app) == {
        1: "sent",  # not in the journal: sent again
        2: "uncertain",  # its dot went out, and nobody knows more
        3: "sent",  # by the relay's answer
        4: "pending",
        5: "failed",
        6: "uncertain",
        7: "sent",
        8: "uncertain",
    }
    assert sorted(one.recipients[0] for one in inbox.messages()) == [
        "reader1@example.org",
        "reader7@example.org",
    ]
    assert query(app, "SELECT subscriber_id, attempts FROM delivery ORDER BY 1") == [(n, 1) for n in range(1, 9)], (
        "what was not tried does not count"
    )
    assert query(app, "SELECT note FROM suppression") == [("550 5.1.1 no such user",)]
    assert counts(app, issue) == DeliveryCounts(candidates=8, sent=3, failed=1, uncertain=3)
    due_now(app)
    send()
    assert states(app)[4] == "sent"
    assert not list((app.settings.state_dir / "journal").glob("*.log")), "old journals are cleared away"


def test_a_lost_workers_batch_is_handed_out_again_as_soon_as_its_lease_is_over(
    app: Container, inbox: InboxServer, ready: Callable[[int], int]
) -> None:
    ready(3)
    now, again = datetime.now(UTC), timedelta(minutes=10)
    hinted = dispatch.enqueue_due(app.database, now, again, 10)
    assert len(hinted) == 1
    claimed(app)
    assert dispatch.enqueue_due(app.database, now, again, 10) == [], "its lease is not over"
    ahead, behind = now + timedelta(hours=1), now - timedelta(hours=1)
    assert dispatch.enqueue_due(app.database, ahead, again, 10) == [], "nor by the clock of another host"
    lease_over(app)
    assert dispatch.enqueue_due(app.database, behind, again, 10) == [(hinted[0][0], False)], "at once"
    assert dispatch.enqueue_due(app.database, behind, again, 10) == [], "one hint is enough"


def test_without_the_journal_everything_that_was_taken_is_uncertain(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send, tmp_path: Path
) -> None:
    issue = ready(3)
    claimed(app, Journals(tmp_path / "another host").worker)
    lease_over(app)
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=3, uncertain=3)
    assert inbox.messages() == ()


@pytest.mark.settings(host_grace_seconds=300)
def test_batch_of_another_host_is_left_to_it_for_a_while(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send, tmp_path: Path
) -> None:
    issue = ready(3)
    claim, _ = claimed(app, Journals(tmp_path / "another host").worker)
    lease_over(app)
    assert app.send_worker.send_batch(claim.batch) == 0
    assert app.send_worker.recover_lost() == 0
    assert set(states(app).values()) == {"sending"}, "only the other host knows what it sent"
    query(app, "UPDATE batch SET lease_until = now() - interval '301 seconds'")
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=3, uncertain=3)


@pytest.mark.settings(host_grace_seconds=300)
def test_restarted_worker_recovers_what_its_host_lost(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(4)
    claim, taken = claimed(app, app.journals.host + "elsewhere:1")
    journal = app.journals.open(claim.batch, claim.epoch)
    journal.before_final_dot(taken[0])
    journal.after_reply(taken[0], OK)
    journal.before_final_dot(taken[1])
    journal.close()
    assert app.send_worker.recover_lost() == 0, "its lease is not over"
    lease_over(app)
    assert app.send_worker.recover_lost() == 1
    assert list(states(app).values()) == ["sent", "uncertain", "pending", "pending"]
    assert query(app, "SELECT state::text FROM batch") == [("ready",)]
    assert not list((app.settings.state_dir / "journal").glob("*.log"))
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=4, sent=3, uncertain=1)
    assert len(inbox.messages()) == 2


def test_a_worker_that_is_too_late_writes_nothing(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(3)
    claim, taken = claimed(app)
    lease_over(app)
    send()
    before = query(app, "SELECT * FROM delivery ORDER BY 2")
    late = [DeliveryUpdate(reader, DeliveryState.failed, "550 5.1.1 too late") for reader in taken]
    with app.database.transaction() as session:
        assert batches.renew_lease(session, claim, timedelta(minutes=1)) is None
        assert ledger.record(session, claim, late, claim.epoch, datetime.now(UTC)) == 0
        batches.release(session, claim)
    assert query(app, "SELECT * FROM delivery ORDER BY 2") == before
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=3)
    assert len(inbox.messages()) == 3


def test_a_worker_that_lost_its_batch_sends_no_more_of_it(
    app: Container, sink: SinkServer, ready: Callable[[int], int]
) -> None:
    ready(30)
    sink.behaviour.latency = 0.25
    limits = replace(app.send_limits, lease=timedelta(seconds=5))
    sender = SendWorker(replace(app.send_worker.context, limits=limits))
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    worker = threading.Thread(target=sender.send_batch, args=(batch,))
    worker.start()
    wait_for(app, sink)
    query(app, "UPDATE batch SET epoch = epoch + 1")  # as the claim of another worker does
    worker.join()
    assert len(sink.accepted(app.tokens)) < 15, "it asks after a quarter of its lease"
    assert set(states(app).values()) == {"sending"}, "and leaves the ledger to the other"


def test_a_worker_whose_lease_is_cut_short_by_a_clock_doubles_nothing(
    app: Container, sink: SinkServer, ready: Callable[[int], int], settings: Settings
) -> None:
    issue = ready(40)
    sink.behaviour.latency = 0.1
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    worker = threading.Thread(target=app.send_worker.send_batch, args=(batch,))
    worker.start()
    wait_for(app, sink, 3)
    lease_over(app)  # as when the database's clock is set ahead: by its own, the worker has half a minute left
    with Container(settings, application="second") as second:
        second.send_worker.send_batch(batch)
    worker.join()
    accepted = sink.accepted(app.tokens)
    assert len(accepted) == len(set(accepted)), "nobody gets two"
    found = counts(app, issue)
    assert found.sent + found.uncertain + found.pending == 40
    assert found.uncertain <= 1, "there was one connection"
    assert len(accepted) - found.uncertain <= found.sent <= len(accepted)


@contextmanager
def away(app: Container, postgres: Postgres) -> Iterator[None]:
    """Meanwhile the database takes no connection, and has none."""
    name = app.database.url.partition("?")[0].rpartition("/")[2]
    url = postgres.url().replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        try:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": name},
            )
            yield
        finally:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()


def test_a_claim_outlives_a_database_that_is_away_for_a_moment(
    app: Container,
    sink: SinkServer,
    ready: Callable[[int], int],
    postgres: Postgres,
    make_app: MakeApp,
) -> None:
    """Also where the throttles are read again just then."""
    issue = ready(60)
    worker = make_app(traffic_limits=TrafficLimits(refresh_seconds=0.0)).send_worker
    sink.behaviour.latency = 0.01
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(worker.send_batch, batch)
        wait_for(app, sink)
        with away(app, postgres):
            time.sleep(1.5)
        assert sending.result(30) == 60
    assert counts(app, issue).sent == 60
    assert sorted(sink.accepted(app.tokens)) == list(range(1, 61))
    assert query(app, "SELECT epoch FROM batch") == [(1,)]


@pytest.mark.parametrize(("lease", "ending"), [(3, False), (300, True)], ids=["lease over", "to be ended"])
def test_while_the_database_is_away_the_journal_keeps_what_was_sent(
    app: Container,
    sink: SinkServer,
    ready: Callable[[int], int],
    send: Send,
    postgres: Postgres,
    lease: int,
    ending: bool,
) -> None:
    issue = ready(4)
    sink.behaviour.latency = 0.2
    limits = replace(app.send_limits, lease=timedelta(seconds=lease))
    sender = SendWorker(replace(app.send_worker.context, limits=limits, stopping=threading.Event()))
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            sender.send_batch(batch)
        except DatabaseDown as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    wait_for(app, sink)
    with away(app, postgres):
        if ending:
            sender.context.stopping.set()
        worker.join(20)
    assert errors, "the worker gives up: whoever comes next has the journal"
    accepted = sink.accepted(app.tokens)
    assert accepted
    sink.behaviour.latency = 0.0
    lease_over(app)
    send()
    found = counts(app, issue)
    assert found.sent == 4
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 3, 4], "nobody got two"


def test_pausing_stops_what_has_not_begun(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(900)
    sink.behaviour.latency = 0.002
    worker = threading.Thread(target=send)
    worker.start()
    wait_for(app, sink)
    schedule.pause(app.database, issue, "tests")
    worker.join()
    found = counts(app, issue)
    assert 0 < found.sent < 900
    assert found.pending == 900 - found.sent
    assert "sending" not in states(app).values(), "what was in flight finished, the rest went back"
    assert send() == 0
    sink.behaviour.latency = 0.0
    schedule.resume(app.database, issue, "tests")
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=900, sent=900)
    assert sorted(sink.accepted(app.tokens)) == list(range(1, 901))


def test_stopping_gives_the_rest_back(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(900)
    sink.behaviour.latency = 0.002
    worker = threading.Thread(target=send)
    worker.start()
    wait_for(app, sink)
    app.send_worker.context.stopping.set()
    # The loop of hints ends only when there is nothing to hand out.
    schedule.pause(app.database, issue, "tests")
    worker.join()
    assert 0 < counts(app, issue).sent < 900
    assert query(app, "SELECT state::text, lease_until FROM batch") == [("ready", None)]
    assert app.send_worker.send_batch(1) == 0


def test_who_may_not_be_mailed_any_more_is_skipped_at_the_last_moment(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(5)
    bounces.suppress(app.database, [app.tokens.address_hash("reader1@example.org")], SuppressionReason.complaint)
    assert unsubscribe.unsubscribe(app.database, SubscriptionRef(2, issue), ConsentChannel.one_click, datetime.now(UTC))
    query(app, "DELETE FROM subscriber WHERE id = 3")
    assert send() == 2
    assert states(app) == {1: "skipped", 2: "skipped", 3: "skipped", 4: "sent", 5: "sent"}
    assert report.skipped_by_reason(app.database, issue) == {"suppressed": 1, "unsubscribed": 2}
    assert counts(app, issue) == DeliveryCounts(candidates=5, sent=2, skipped=3)
    assert len(inbox.messages()) == 2
    assert report.status(app.database, issue, datetime.now(UTC)).state is IssueState.sent


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE issue SET ready_at = NULL",
        "UPDATE issue SET state = 'paused'",
        "UPDATE batch SET due_at = now() + interval '1 minute'",
    ],
)
def test_a_batch_that_may_not_go_yet_is_not_claimed(app: Container, ready: Callable[[int], int], change: str) -> None:
    """However its hint came: an old one can come late."""
    ready(2)
    query(app, change)
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    assert app.send_worker.send_batch(batch) == 0
    assert query(app, "SELECT state::text, epoch FROM batch") == [("ready", 0)]


def test_what_is_resumed_is_handed_out_at_once(app: Container, ready: Callable[[int], int]) -> None:
    issue = ready(2)
    now, soon = datetime.now(UTC), timedelta(hours=1)
    assert dispatch.enqueue_due(app.database, now, soon, 10)
    schedule.pause(app.database, issue, "tests")
    schedule.resume(app.database, issue, "tests")
    assert dispatch.enqueue_due(app.database, now, soon, 10)


def test_who_leaves_while_mail_waits_at_a_slow_relay_gets_none(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(200)
    app.send_worker.context.chunk_size.current = 200
    sink.behaviour.latency = 0.15
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(app.send_worker.send_batch, batch)
        wait_for(app, sink)
        leaving = pool.submit(
            unsubscribe.unsubscribe,
            app.database,
            SubscriptionRef(199, issue),
            ConsentChannel.one_click,
            datetime.now(UTC),
        )
        time.sleep(1.5)
        sink.behaviour.latency = 0.0
        sending.result()
        leaving.result()
    send()
    assert 199 not in sink.accepted(app.tokens)
    assert states(app)[199] == "skipped"
    assert counts(app, issue) == DeliveryCounts(candidates=200, sent=199, skipped=1)


def test_a_commit_whose_answer_is_lost_leaves_nobody_in_the_air(
    app: Container, sink: SinkServer, ready: Callable[[int], int], send: Send, make_app: MakeApp
) -> None:
    """The step is done again, and takes others."""
    issue = ready(60)
    with closing(ForgetfulDatabase(app.database.url, application="tests")) as database:
        worker = make_app(database=database).send_worker
        assert worker.send_batch(int(str(query(app, "SELECT id FROM batch")[0][0]))) == 40
        assert database.answer_lost
    assert Counter(states(app).values()) == {"sent": 40, "pending": 20}
    assert query(app, "SELECT DISTINCT attempts FROM delivery WHERE state = 'pending'") == [(0,)]
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=60, sent=60)
    assert sorted(sink.accepted(app.tokens)) == list(range(1, 61))


def test_a_long_run_of_skipped_readers_does_not_end_a_claim(
    app: Container, inbox: InboxServer, ready: Callable[[int], int]
) -> None:
    issue = ready(600)
    query(app, "UPDATE subscription SET state = 'unsubscribed' WHERE subscriber_id <= 590")
    batch = int(str(query(app, "SELECT id FROM batch")[0][0]))
    assert app.send_worker.send_batch(batch) == 10, "one claim is enough"
    assert counts(app, issue) == DeliveryCounts(candidates=600, sent=10, skipped=590)


def test_an_address_that_cannot_be_written_fails_alone(
    app: Container, inbox: InboxServer, ready: Callable[[int], int], send: Send
) -> None:
    issue = ready(3)
    query(app, "UPDATE subscriber SET address = 'no address' WHERE id = 1")
    query(app, "UPDATE subscriber SET name = E'Eve\\r\\nBcc: all@example.org' WHERE id = 2")
    send()
    assert states(app) == {1: "failed", 2: "failed", 3: "sent"}
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=1, failed=2)
    replies = [str(row[0]) for row in query(app, "SELECT last_reply FROM delivery WHERE state = 'failed' ORDER BY 1")]
    assert all(reply.startswith("not sent: ") for reply in replies)
    assert query(app, "SELECT count(*) FROM suppression") == [(0,)]


@pytest.mark.settings(batch_size=10)
def test_two_workers_on_one_host_send_each_mail_once(
    app: Container,
    sink: SinkServer,
    prepared_issue: Callable[..., int],
    settings: Settings,
) -> None:
    issue = prepared_issue("\n".join(f"reader{n}@example.org;en;" for n in range(1, 121)), "en")
    found = [batch for batch, _ in dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 100)]
    assert len(found) == 12
    with Container(settings, application="second") as second:
        handed: list[int] = []

        def work(worker: Container) -> None:
            handed.extend(worker.send_worker.send_batch(batch) for batch in found)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in (app, second, app)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(handed) == 120
    assert sorted(sink.accepted(app.tokens)) == list(range(1, 121))
    assert counts(app, issue) == DeliveryCounts(candidates=120, sent=120)


def test_a_clock_that_is_set_back_again_and_again(
    app: Container, sink: SinkServer, ready: Callable[[int], int], make_app: MakeApp
) -> None:
    issue, clock = ready(120), ClockSetBack()
    worker_app = make_app(clock=clock)
    assert send_due_batches(worker_app) == 120
    assert clock.looks > 5
    assert worker_app.send_worker.context.chunk_size.current >= 20
    assert report.audit(app.database, issue) == []
