"""Which relay is next, and what a warm-up allows."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.destinations import Destinations, Group
from mailer.domain.routes import Route, in_turn
from mailer.domain.warmup import WarmUp


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_relays_get_their_share(weights: list[int]) -> None:
    routes = [Route(str(n), weight) for n, weight in enumerate(weights)]
    handed: Counter[str] = Counter()
    rounds = 200 * sum(weights)
    for _ in range(rounds):
        handed[in_turn(routes, (), handed)[0].relay] += 1
    for route in routes:
        assert abs(handed[route.relay] - 200 * route.weight) <= len(weights) * max(weights)


def test_a_spare_relay_has_its_turn_when_the_others_cannot_be_used() -> None:
    routes = [Route("spare", 0), Route("a"), Route("b")]
    assert [one.relay for one in in_turn(routes, (), {"a": 5})] == ["b", "a", "spare"]
    assert [one.relay for one in in_turn(routes, {"a", "b"}, {})] == ["spare"]
    assert in_turn(routes, {"a", "b", "spare"}, {}) == []


def test_a_warm_up_grows_from_day_to_day() -> None:
    warm_up = WarmUp(date(2026, 11, 1), 500, 1.5)
    days = [date(2026, 11, 1) + timedelta(days=n) for n in (-1, 0, 1, 2, 10)]
    assert [warm_up.allowed(day) for day in days] == [0, 500, 750, 1125, 28832]
    assert warm_up.allowed(date(2400, 1, 1)) > 10**9


def test_domains_of_one_group_are_one_destination() -> None:
    known = Destinations([Group("Gmail", ["gmail.com"], ["*.google.com"], rate=20)], rate=5)
    assert known.of("ann@GMAIL.com") == "Gmail"
    assert known.of("ann@Example.org") == "example.org"
    assert (known.nominal("Gmail"), known.nominal("example.org")) == (20, 5)
    known.learn(
        {"example.org": "aspmx.l.google.com.", "gmail.com": "mx.example.org", "x.example": "mx.x.example"}
    )
    assert known.of("ann@example.org") == "Gmail"
    assert known.of("ann@gmail.com") == "Gmail", "the settings outrank what DNS says"
    assert known.of("ann@x.example") == "x.example"
    assert sorted(known.domains("Gmail")) == ["example.org", "gmail.com"]
    assert known.domains("x.example") == ["x.example"]
