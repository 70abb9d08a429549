"""Unsubscribing during a send, then receiving nothing."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from mailer.bootstrap import Mailer
from mailer.domain.states import DeliveryState
from mailer.domain.ties import Tie
from mailer.services import leave as leaving
from mailer.services import report, schedule
from mailer.settings import Settings
from mailer.store import batches, ledger
from mailer.store.batches import Claim
from mailer.store.ledger import Verdict
from tests.locks import wait_for_a_lock
from tests.sinks import RunningSink

READERS = 1000
LEASE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings, sink: RunningSink) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "batch_size": 100, "smtp_connections": 2})


@pytest.mark.parametrize("seed", range(3))
def test_after_leaving_nothing_comes(
    parts: Mailer,
    sink: RunningSink,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
    seed: int,
) -> None:
    chance = random.Random(seed)
    issue = import_issue("en")
    add_readers("\n".join(f"reader{n}@example.org;en;trade-and-crossings" for n in range(1, READERS + 1)))
    prepare(issue)
    sink.behaviour.latency = 0.004
    after_leaving: dict[int, int] = {}

    def leave(reader: int) -> None:
        assert leaving.leave(parts.database, Tie(reader, issue), "one click", datetime.now(UTC))
        # The sink writes each acceptance down before it answers: what is there now came before.
        after_leaving[reader] = len(sink.accepted(parts.tokens))

    sending = threading.Thread(target=send)
    sending.start()
    with ThreadPoolExecutor(4) as pool:
        for reader in chance.sample(range(1, READERS + 1), 150):
            pool.submit(leave, reader).add_done_callback(lambda done: done.result())
            time.sleep(chance.uniform(0, 0.02))
    sending.join()
    send()

    accepted = sink.accepted(parts.tokens)
    assert len(accepted) == len(set(accepted))
    assert len(after_leaving) == 150
    for reader, before in after_leaving.items():
        assert reader not in accepted[before:], f"reader {reader} got mail after leaving"
    skipped = set(after_leaving) - set(accepted)
    found = report.status(parts.database, issue, datetime.now(UTC)).counts
    assert skipped, "some of them left before their turn"
    assert (found.sent, found.skipped, found.pending) == (READERS - len(skipped), len(skipped), 0)
    assert report.audit(parts.database, issue) == []


@pytest.fixture
def claim(
    parts: Mailer,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
) -> Claim:
    """Of the batch of an issue for Ann alone."""
    issue = import_issue("en")
    add_readers("ann@example.org;en;")
    prepare(issue)
    with parts.database.transaction() as session:
        made = batches.claim(session, 1, "worker", LEASE)
    assert made is not None
    return made


def test_leaving_waits_for_a_worker_that_is_taking(parts: Mailer, claim: Claim) -> None:
    """The worker looked before the reader left, and has not committed: nobody else can see what it took."""
    with ThreadPoolExecutor(1) as pool:
        with parts.database.transaction() as session:
            assert batches.keep(session, claim, LEASE)
            assert len(ledger.take(session, claim, 1, 10)[0]) == 1
            left = pool.submit(
                leaving.leave, parts.database, Tie(1, claim.issue), "one click", datetime.now(UTC)
            )
            wait_for_a_lock(session, left)
        with pytest.raises(TimeoutError):
            left.result(0.3)  # the mail is with the relay now
        with parts.database.transaction() as session:
            verdict = Verdict(1, DeliveryState.sent, "250 Ok")
            ledger.record(session, claim, [verdict], claim.epoch, datetime.now(UTC))
        left.result(5)


def test_leaving_waits_for_the_last_mail_of_an_issue_that_was_cancelled(parts: Mailer, claim: Claim) -> None:
    with parts.database.transaction() as session:
        assert len(ledger.take(session, claim, 1, 10)[0]) == 1
    schedule.cancel(parts.database, claim.issue, "tests", datetime.now(UTC))
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(leaving.leave, parts.database, Tie(1, claim.issue), "one click", datetime.now(UTC))
        with pytest.raises(TimeoutError):
            left.result(0.3)  # the mail is with the relay now
        with parts.database.transaction() as session:
            verdict = Verdict(1, DeliveryState.sent, "250 Ok")
            ledger.record(session, claim, [verdict], claim.epoch, datetime.now(UTC))
        left.result(5)


def test_coming_back_before_the_turn_comes(
    parts: Mailer,
    sink: RunningSink,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en")
    add_readers("ann@example.org;en;\nbea@example.org;en;")
    prepare(issue)
    now = datetime.now(UTC)
    for reader in (1, 2):
        assert leaving.leave(parts.database, Tie(reader, issue), "one click", now)
        assert leaving.leave(parts.database, Tie(reader, issue), "one click", now), (
            "twice is the same as once"
        )
    assert leaving.come_back(parts.database, Tie(2, issue), "mail", now)
    send()
    assert sink.accepted(parts.tokens) == [2]
