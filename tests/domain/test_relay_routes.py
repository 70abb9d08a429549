"""Relay selection and warm-up limits."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.providers import Provider, Providers
from mailer.domain.relay_routes import RelayRoute, by_weight
from mailer.domain.warm_up import WarmUp


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_relays_get_their_share(weights: list[int]) -> None:
    routes = [RelayRoute(str(n), weight) for n, weight in enumerate(weights)]
    handed: Counter[str] = Counter()
    rounds = 200 * sum(weights)
    for _ in range(rounds):
        handed[by_weight(routes, (), handed)[0].relay] += 1
    for route in routes:
        assert abs(handed[route.relay] - 200 * route.weight) <= len(weights) * max(weights)


def test_spare_relay_is_used_if_the_others_are_blocked() -> None:
    routes = [RelayRoute("spare", 0), RelayRoute("a"), RelayRoute("b")]
    assert [one.relay for one in by_weight(routes, (), {"a": 5})] == ["b", "a", "spare"]
    assert [one.relay for one in by_weight(routes, {"a", "b"}, {})] == ["spare"]
    assert by_weight(routes, {"a", "b", "spare"}, {}) == []


def test_a_warm_up_grows_from_day_to_day() -> None:
    warm_up = WarmUp(date(2026, 11, 1), 500, 1.5)
    days = [date(2026, 11, 1) + timedelta(days=n) for n in (-1, 0, 1, 2, 10)]
    assert [warm_up.limit_on(day) for day in days] == [0, 500, 750, 1125, 28832]
    assert warm_up.limit_on(date(2400, 1, 1)) > 10**9


def test_domains_of_one_group_are_one_destination() -> None:
    known = Providers([Provider("Gmail", ["gmail.com"], ["*.google.com"], rate=20)], domain_rate=5)
    assert known.for_address("ann@GMAIL.com") == "Gmail"
    assert known.for_address("ann@Example.org") == "example.org"
    assert (known.configured_rate("Gmail"), known.configured_rate("example.org")) == (20, 5)
    known.refresh_mx({"example.org": "aspmx.l.google.com.", "gmail.com": "mx.example.org", "x.example": "mx.x.example"})
    assert known.for_address("ann@example.org") == "Gmail"
    assert known.for_address("ann@gmail.com") == "Gmail", "the settings outrank what DNS says"
    assert known.for_address("ann@x.example") == "x.example"
    assert sorted(known.domains("Gmail")) == ["example.org", "gmail.com"]
    assert known.domains("x.example") == ["x.example"]
