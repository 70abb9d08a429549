"""An address is suppressed after repeated refusals only if they are about its mailbox."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.suppressions import BOUNCE_DELAY, PastDelivery, RefusalRule

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)
RULE = RefusalRule(issues=3, days=14)
FULL = "552 5.2.2 mailbox full"
OLD_SUCCESS = PastDelivery(NOW - timedelta(days=21), True, None, False)


def refused(days_ago: int, reply: str = FULL, is_bounce: bool = False, is_counted: bool = True) -> PastDelivery:
    return PastDelivery(NOW - timedelta(days=days_ago), is_counted, reply, is_bounce)


def is_suppressed(*deliveries: PastDelivery) -> bool:
    return bool(RULE.refusals(deliveries, NOW))


def test_enough_refusals_over_enough_days() -> None:
    assert RULE.refusals([refused(0), refused(7), refused(14), OLD_SUCCESS], NOW) == [
        refused(0),
        refused(7),
        refused(14),
    ]
    assert not is_suppressed(refused(0), refused(14))
    assert not is_suppressed(refused(0), refused(7), refused(13))


def test_success_resets_the_count() -> None:
    assert not is_suppressed(refused(0), refused(7), OLD_SUCCESS._replace(at=NOW - timedelta(days=10)), refused(14))


def test_recent_message_without_a_bounce_is_no_success_yet() -> None:
    recent = PastDelivery(NOW - BOUNCE_DELAY, True, None, False)
    assert is_suppressed(recent, refused(6), refused(14), refused(20))
    assert not is_suppressed(recent._replace(at=recent.at - timedelta(1)), refused(6), refused(14), refused(20))


def test_refusals_of_other_newsletters_do_not_count() -> None:
    assert not is_suppressed(refused(0), refused(7, is_counted=False), refused(14))


@pytest.mark.parametrize(
    ("reply", "is_bounce"),
    [
        ("550 5.1.1 no such user", False),
        ("552 5.2.2 over quota", False),
        ("452 4.2.2 mailbox full", False),
        ("550 mailbox unavailable", False),
        ("550 5.4.1 Recipient address rejected: Access denied. [host]", True),
        ("5.0.0 550 mailbox unavailable", True),
        ("5.2.2 552 5.2.2 mailbox size limit exceeded", True),
        ("4.4.7 delivery time expired", True),
        ("The recipient's mailbox is full", True),
    ],
)
def test_refusals_by_the_mailbox_count(reply: str, is_bounce: bool) -> None:
    assert is_suppressed(*(refused(days, reply, is_bounce) for days in (0, 7, 14)))


@pytest.mark.parametrize(
    ("reply", "is_bounce"),
    [
        ("550 5.7.1 on a block list", False),
        ("550 on a block list", False),
        ("550 5.1.1 rate limit", False),
        ("451 4.4.1 our relay is slow", False),
        ("504 5.5.2 need a full name", False),
        ("554 5.6.0 bad content", False),
        ("554 rejected", False),
        ("552 5.2.2 sending quota exceeded, try at a lower rate", False),
        ("not sent: the name has a line break", False),
        ("", False),
        ("4.7.1 450 4.7.1 greylisted", True),
        ("5.3.4 552 too big", True),
    ],
)
def test_other_refusals_never_count(reply: str, is_bounce: bool) -> None:
    assert not is_suppressed(*(refused(days, reply, is_bounce) for days in range(0, 300, 7)))


policy_words = st.sampled_from(
    ["spam", "SPF", "on a block list", "poor reputation", "too many", "rate", "sender denied"]
)


@given(
    st.sampled_from([450, 550, 551, 552, 553, 554]),
    st.sampled_from(["", "5.0.0", "5.1.1", "5.2.2", "4.2.2", "5.4.1"]),
    policy_words,
    st.booleans(),
)
def test_policy_never_counts(code: int, enhanced: str, words: str, is_bounce: bool) -> None:
    reply = f"{code} {enhanced} {words}"
    assert not is_suppressed(*(refused(days, reply, is_bounce) for days in range(0, 300, 7)))
