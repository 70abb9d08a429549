"""Decisions from results and from the journal of a lost worker."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.decisions import (
    Decision,
    attribute_refusals,
    decide,
    decide_from_journal,
    jittered_backoff,
    time_in_queue,
)
from mailer.domain.outcomes import Outcome, Reply, Stage, classify
from mailer.domain.states import DeliveryState
from mailer.domain.transfer import TransferResult

NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
RETRY = timedelta(minutes=2)
GIVE_UP = timedelta(days=4)


def ruled(
    outcome: Outcome, reply: Reply | None = None, attempts: int = 1, detail: str = "", policy_refusals: int = 0
) -> Decision:
    result = TransferResult(1, outcome, reply, Stage.FINAL, 0.0, detail)
    return decide(result, attempts, policy_refusals, NOW, RETRY, GIVE_UP, random.Random(1))


@pytest.mark.parametrize(
    ("outcome", "state", "attempted"),
    [
        (Outcome.ACCEPTED, DeliveryState.sent, True),
        (Outcome.UNKNOWN, DeliveryState.uncertain, True),
        (Outcome.HARD_BOUNCE, DeliveryState.failed, True),
        (Outcome.CONTENT_REJECTED, DeliveryState.failed, True),
        (Outcome.REJECTED, DeliveryState.failed, True),
        (Outcome.DEFERRED, DeliveryState.pending, True),
        (Outcome.MAILBOX_FULL, DeliveryState.pending, True),
        (Outcome.POLICY, DeliveryState.pending, True),
        (Outcome.RELAY_UNAVAILABLE, DeliveryState.pending, False),
        (Outcome.NOT_SENT, DeliveryState.pending, False),
        (Outcome.RELAY_BUSY, DeliveryState.pending, False),
        (Outcome.RELAY_REFUSED, DeliveryState.pending, True),
    ],
)
def test_each_outcome_has_its_state(outcome: Outcome, state: DeliveryState, attempted: bool) -> None:
    found = ruled(outcome, Reply(450, "", "later"))
    assert (found.state, found.counts_as_attempt) == (state, attempted)
    assert found.reply == "450 later"
    assert (found.due_at is not None) == (state is DeliveryState.pending)


def test_every_outcome_has_a_decision() -> None:
    assert {ruled(outcome).state for outcome in Outcome} <= set(DeliveryState)


def test_only_a_bad_address_is_suppressed() -> None:
    assert [outcome for outcome in Outcome if ruled(outcome, Reply(550, "5.1.1", "no")).suppression_reason] == [
        Outcome.HARD_BOUNCE
    ]


def test_full_mailbox_fails_permanently_only_with_a_5yz_reply() -> None:
    assert ruled(Outcome.MAILBOX_FULL, Reply(552, "5.2.2", "full")).state is DeliveryState.failed
    assert ruled(Outcome.MAILBOX_FULL, Reply(452, "4.2.2", "full")).state is DeliveryState.pending


@pytest.mark.parametrize("outcome", [Outcome.DEFERRED, Outcome.MAILBOX_FULL])
def test_deferred_delivery_is_given_up_after_the_queue_lifetime(outcome: Outcome) -> None:
    reply = Reply(451, "4.3.0", "busy")
    last = next(n for n in range(1, 1000) if time_in_queue(n, RETRY) >= GIVE_UP)
    assert ruled(outcome, reply, last - 1).state is DeliveryState.pending
    given_up = ruled(outcome, reply, last)
    assert given_up.state is DeliveryState.failed
    assert given_up.reply == "451 4.3.0 busy"
    assert not given_up.suppression_reason


@given(st.integers(1, 100), st.integers(1, 14_400))
def test_waiting_time_is_derived_from_the_attempts(attempts: int, seconds: int) -> None:
    class Middle(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    retry = timedelta(seconds=seconds)
    waits = [jittered_backoff(n, retry, Middle()) for n in range(1, attempts)]
    assert time_in_queue(attempts, retry) == sum(waits, timedelta(0))
    assert not time_in_queue(1, retry), "the first attempt is never the last"


@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.RELAY_UNAVAILABLE, Outcome.SENDER_REJECTED])
def test_unattempted_delivery_is_not_given_up(outcome: Outcome) -> None:
    found = ruled(outcome, attempts=1000, detail="connection refused")
    assert (found.state, found.counts_as_attempt) == (DeliveryState.pending, False)


@given(st.integers(1, 40_000), st.integers(1, 14_400), st.randoms(use_true_random=False))
def test_backoff_doubles_with_jitter(attempts: int, seconds: int, chance: random.Random) -> None:
    first = timedelta(seconds=seconds)
    middle = min(timedelta(hours=4), first * 2 ** min(attempts - 1, 16))
    wait = jittered_backoff(attempts, first, chance)
    assert middle * 0.8 <= wait <= middle * 1.2


def test_jitter_spreads_retries() -> None:
    chance = random.Random(1)
    assert len({jittered_backoff(3, RETRY, chance) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("handed", "reply", "state", "suppressed"),
    [
        (False, None, DeliveryState.pending, False),
        (True, None, DeliveryState.uncertain, False),
        (True, Reply(250, "2.0.0", "Ok"), DeliveryState.sent, False),
        (True, Reply(550, "5.1.1", "no such user"), DeliveryState.failed, True),
        (True, Reply(550, "5.7.1", "policy"), DeliveryState.pending, False),
        (True, Reply(552, "5.3.4", "too big"), DeliveryState.failed, False),
        (True, Reply(552, "5.2.2", "full"), DeliveryState.failed, False),
        (True, Reply(554, "", "no"), DeliveryState.failed, False),
        (True, Reply(451, "4.3.0", "later"), DeliveryState.pending, False),
        # Out of step after the final dot: nobody knows whether it has the message.
        (True, Reply(354, "", "go ahead"), DeliveryState.uncertain, False),
    ],
)
def test_journal_gives_the_same_decision_as_the_worker(
    handed: bool, reply: Reply | None, state: DeliveryState, suppressed: bool
) -> None:
    found = decide_from_journal(handed, reply, NOW, RETRY)
    assert (found.state, bool(found.suppression_reason)) == (state, suppressed)
    assert found.counts_as_attempt == handed
    assert (found.due_at is not None) == (state is DeliveryState.pending)


@given(st.integers(200, 599), st.sampled_from(["", "2.0.0", "4.3.0", "5.1.1", "5.2.2", "5.7.1"]))
def test_a_journal_and_the_worker_agree_on_every_reply(code: int, enhanced: str) -> None:
    reply = Reply(code, enhanced, "said")
    by_worker = ruled(classify(reply, Stage.FINAL), reply)
    by_journal = decide_from_journal(True, reply, NOW, RETRY)
    assert (by_journal.state, by_journal.suppression_reason) == (
        by_worker.state,
        by_worker.suppression_reason,
    )


def refused(count: int, *others: Outcome) -> list[TransferResult]:
    outcomes = [Outcome.RELAY_REFUSED] * count + list(others)
    return [
        TransferResult(n, outcome, Reply(554, "5.7.1", "Relay access denied"), Stage.RCPT, 0.0)
        for n, outcome in enumerate(outcomes)
    ]


@given(st.integers(0, 9), st.lists(st.sampled_from(Outcome), max_size=4), st.booleans())
def test_the_relay_is_at_fault_when_it_refuses_several_and_accepts_none(
    count: int, others: list[Outcome], probing: bool
) -> None:
    total = count + others.count(Outcome.RELAY_REFUSED)
    at_fault = total >= (1 if probing else 3) and Outcome.ACCEPTED not in others
    results = refused(count, *others)
    attributed = attribute_refusals(results, probing)
    for before, after in zip(results, attributed, strict=True):
        assert (after.key, after.reply, after.stage) == (before.key, before.reply, before.stage)
        changed = before.outcome is Outcome.RELAY_REFUSED and at_fault
        assert after.outcome is (Outcome.RELAY_UNAVAILABLE if changed else before.outcome)


def test_only_refusals_by_policy_count_as_such() -> None:
    policy = Reply(550, "5.7.1", "not today")
    assert not ruled(Outcome.DEFERRED, Reply(450, "4.2.0", "greylisted")).policy_refused
    after_greylisting = ruled(Outcome.POLICY, policy, attempts=3)
    assert after_greylisting.state is DeliveryState.pending
    assert after_greylisting.policy_refused
    assert ruled(Outcome.POLICY, policy, attempts=5, policy_refusals=2).state is DeliveryState.failed
