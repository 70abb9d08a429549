"""Unsubscribing during a send."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.domain.consents import ConsentChannel
from mailer.domain.states import DeliveryState
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.services.issues import report, schedule
from mailer.services.subscribers import in_flight, unsubscribe
from mailer.settings import Settings
from mailer.store import batches, ledger
from mailer.store.batches import Claim
from mailer.store.ledger import DeliveryUpdate
from tests.support.locks import wait_for_lock
from tests.support.smtp_sink import SinkServer

READERS = 1000
LEASE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings, sink: SinkServer) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "batch_size": 100, "smtp_connections": 2})


@pytest.mark.parametrize("seed", range(3))
def test_no_mail_after_unsubscribing(
    app: Container,
    sink: SinkServer,
    prepared_issue: Callable[..., int],
    send: Callable[[], int],
    seed: int,
) -> None:
    chance = random.Random(seed)
    issue = prepared_issue(
        "\n".join(f"reader{n}@example.org;en;trade-and-crossings" for n in range(1, READERS + 1)), "en"
    )
    sink.behaviour.latency = 0.004
    after_leaving: dict[int, int] = {}

    def leave(reader: int) -> None:
        assert unsubscribe.unsubscribe(
            app.database, SubscriptionRef(reader, issue), ConsentChannel.one_click, datetime.now(UTC)
        )
        # The sink writes each acceptance down before it answers: what is there now came before.
        after_leaving[reader] = len(sink.accepted(app.tokens))

    sending = threading.Thread(target=send)
    sending.start()
    with ThreadPoolExecutor(4) as pool:
        for reader in chance.sample(range(1, READERS + 1), 150):
            pool.submit(leave, reader).add_done_callback(lambda done: done.result())
            time.sleep(chance.uniform(0, 0.02))
    sending.join()
    send()

    accepted = sink.accepted(app.tokens)
    assert len(accepted) == len(set(accepted))
    assert len(after_leaving) == 150
    for reader, before in after_leaving.items():
        assert reader not in accepted[before:], f"reader {reader} got mail after leaving"
    skipped = set(after_leaving) - set(accepted)
    found = report.status(app.database, issue, datetime.now(UTC)).counts
    assert skipped, "some of them left before their turn"
    assert (found.sent, found.skipped, found.pending) == (READERS - len(skipped), len(skipped), 0)
    assert report.audit(app.database, issue) == []


@pytest.fixture
def claim(app: Container, prepared_issue: Callable[..., int]) -> Claim:
    """Of the batch of an issue for Ann alone."""
    prepared_issue("ann@example.org;en;", "en")
    with app.database.transaction() as session:
        made = batches.claim(session, 1, "worker", LEASE)
    assert made is not None
    return made


def test_unsubscribing_waits_for_a_reserving_worker(app: Container, claim: Claim) -> None:
    """The worker looked before the reader left, and has not committed: nobody else can see what it took."""
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            assert batches.renew_lease(session, claim, LEASE)
            assert len(ledger.reserve(session, claim, 1, 10)[0]) == 1
            left = pool.submit(
                unsubscribe.unsubscribe,
                app.database,
                SubscriptionRef(1, claim.issue),
                ConsentChannel.one_click,
                datetime.now(UTC),
            )
            wait_for_lock(session, left)
        with pytest.raises(TimeoutError):
            left.result(0.3)  # the mail is with the relay now
        with app.database.transaction() as session:
            verdict = DeliveryUpdate(1, DeliveryState.sent, "250 Ok")
            ledger.record(session, claim, [verdict], claim.epoch, datetime.now(UTC))
        left.result(5)


def test_unsubscribing_waits_for_mail_in_flight_of_a_cancelled_issue(app: Container, claim: Claim) -> None:
    with app.database.transaction() as session:
        assert len(ledger.reserve(session, claim, 1, 10)[0]) == 1
    schedule.cancel(app.database, claim.issue, "tests", datetime.now(UTC))
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(
            unsubscribe.unsubscribe,
            app.database,
            SubscriptionRef(1, claim.issue),
            ConsentChannel.one_click,
            datetime.now(UTC),
        )
        with pytest.raises(TimeoutError):
            left.result(0.3)  # the mail is with the relay now
        with app.database.transaction() as session:
            verdict = DeliveryUpdate(1, DeliveryState.sent, "250 Ok")
            ledger.record(session, claim, [verdict], claim.epoch, datetime.now(UTC))
        left.result(5)


def test_nobody_waits_long_for_a_dead_worker(app: Container, claim: Claim) -> None:
    """The wait is bounded by the number of looks, and the answer says what holds."""
    with app.database.transaction() as session:
        assert len(ledger.reserve(session, claim, 1, 10)[0]) == 1
    ann = app.tokens.address_hash("ann@example.org")
    assert not unsubscribe.is_mail_in_flight(app.database, 99)
    now = datetime.now(UTC)
    assert unsubscribe.unsubscribe(app.database, SubscriptionRef(1, claim.issue), ConsentChannel.one_click, now)
    assert unsubscribe.is_mail_in_flight(app.database, 1)
    assert in_flight.wait_for_addresses(app.database, [ann, b"nobody"]) == 1
    with app.database.transaction() as session:
        ledger.record(session, claim, [DeliveryUpdate(1, DeliveryState.sent, "250 Ok")], claim.epoch, now)
    assert in_flight.wait_for_addresses(app.database, [ann]) == 0
    assert not unsubscribe.is_mail_in_flight(app.database, 1)


@pytest.mark.parametrize(
    "arguments",
    [["suppress"], ["subscribers", "unsubscribe", "--newsletter", "lumen-basin"]],
    ids=["suppress", "unsubscribe"],
)
def test_commands_wait_for_mail_in_flight(
    app: Container, claim: Claim, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with app.database.transaction() as session:
        assert len(ledger.reserve(session, claim, 1, 10)[0]) == 1
    for name, value in app.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database_url)
    done = CliRunner().invoke(commands, [*arguments, "ann@example.org"])
    assert done.exit_code == 0, done.output
    assert "Mail to 1 address is just being delivered and may still arrive." in done.output


def test_resubscribing_before_the_delivery_is_due(
    app: Container,
    sink: SinkServer,
    prepared_issue: Callable[..., int],
    send: Callable[[], int],
) -> None:
    issue = prepared_issue("ann@example.org;en;\nbea@example.org;en;", "en")
    now = datetime.now(UTC)
    for reader in (1, 2):
        assert unsubscribe.unsubscribe(app.database, SubscriptionRef(reader, issue), ConsentChannel.one_click, now)
    assert unsubscribe.resubscribe(app.database, SubscriptionRef(2, issue), LinkKind.mail, now)
    send()
    assert sink.accepted(app.tokens) == [2]
