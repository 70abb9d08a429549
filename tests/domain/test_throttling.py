"""Slowing down and recovering; breakers that open, probe and close."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.throttling import ThrottleScope, ThrottleState, asks_to_slow_down

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)
BLANK = ThrottleState(ThrottleScope.provider, "example.org")


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@given(st.floats(0.1, 10_000), st.floats(0.1, 10_000))
def test_rate_is_halved_and_recovers_by_a_twentieth_per_minute(nominal: float, present: float) -> None:
    slowed = BLANK.slow_down(NOW, present, nominal, "421 busy")
    assert slowed.rate == nominal / 2
    assert slowed.current_rate(NOW + minutes(2)) == slowed.rate + nominal * 0.05 * 2
    assert slowed.current_rate(NOW + minutes(9.9)) is not None
    assert slowed.current_rate(NOW + minutes(10.1)) is None, "all is won back"


def test_without_a_configured_rate_half_the_measured_rate_is_the_limit() -> None:
    slowed = BLANK.slow_down(NOW, 80, 0, "450 later")
    assert slowed.current_rate(NOW) == 40
    again = slowed.slow_down(NOW + minutes(1), 40, 0, "450 later")
    assert again.rate == (40 + 80 * 0.05) / 2
    assert again.target_rate == 80, "what it once was is what it wins back"


def test_replies_to_messages_in_flight_slow_down_only_once() -> None:
    slowed = BLANK.slow_down(NOW, 100, 100, "451 busy")
    assert slowed.slow_down(NOW + timedelta(seconds=5), 100, 100, "451 busy") is slowed


@given(st.integers(1, 40))
def test_rate_never_becomes_zero(times: int) -> None:
    throttle = BLANK
    for n in range(times):
        throttle = throttle.slow_down(NOW + timedelta(seconds=11 * n), 64, 64, "")
    assert throttle.rate is not None
    assert throttle.rate >= 1


def test_a_breaker_opens_for_longer_each_time_until_it_closes() -> None:
    throttle, waits, now = BLANK, [], NOW
    for _ in range(8):
        throttle = throttle.trip(now, "550 5.7.1 no")
        assert throttle.open_until
        assert throttle.is_open(now)
        waits.append((throttle.open_until - now) / minutes(1))
        now = throttle.open_until
        assert throttle.is_half_open(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    closed = throttle.close()
    assert closed.is_idle
    assert closed.trip(now, "").open_until == now + minutes(1)


def test_it_is_known_since_when_a_breaker_has_been_open() -> None:
    assert BLANK.state_since(NOW) is None
    throttle = BLANK.trip(NOW, "550 5.7.1 no")
    throttle = throttle.trip(NOW + minutes(1), "550 5.7.1 no").trip(NOW + minutes(3), "550 5.7.1 no")
    assert throttle.trips == 3
    assert throttle.state_since(NOW + minutes(4)) == NOW, "the first refusal counts"
    again = throttle.close().trip(NOW + minutes(30), "550 5.7.1 no")
    assert again.state_since(NOW + minutes(31)) == NOW + minutes(30)
    assert BLANK.slow_down(NOW, 80, 0, "421 busy").state_since(NOW + minutes(1)) == NOW


def test_open_breaker_is_not_opened_again() -> None:
    throttle = BLANK.trip(NOW, "550 5.7.1 no")
    assert throttle.trip(NOW + timedelta(seconds=30), "550 5.7.1 no") is throttle


def test_unreachable_relay_is_probed_soon_and_often() -> None:
    throttle, now = ThrottleState(ThrottleScope.relay, "a"), NOW
    for seconds in (5, 10, 20, 40, 60, 60):
        throttle = throttle.trip(now, "connection refused")
        assert throttle.open_until == now + timedelta(seconds=seconds)
        now = throttle.open_until


def test_single_mailbox_failures_do_not_slow_down() -> None:
    assert not asks_to_slow_down({"accepted": 0, "retry": 2}, 2)
    assert not asks_to_slow_down({"accepted": 97, "retry": 3}, 3)
    assert asks_to_slow_down({"accepted": 27, "retry": 3}, 3)
    assert asks_to_slow_down({"retry": 20}, 20)


def test_manual_suspension_during_a_probe_is_kept() -> None:
    stopped = ThrottleState(ThrottleScope.relay, "relay", open_until=NOW + timedelta(hours=1), manual=True)
    assert stopped.recover(NOW) == stopped
    assert stopped.recover(NOW + timedelta(hours=2)).is_idle
