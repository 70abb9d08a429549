"""How many connections a relay gets."""

from collections.abc import Callable

import pytest

from mailer.adapters.smtp.connection_target import HOLD_SECONDS, ConnectionTarget


class Simulation:
    """A relay that answers ``rate(connections)`` messages a second while more wait."""

    def __init__(self, floor: int, ceiling: int) -> None:
        self.target = ConnectionTarget(floor, ceiling)
        self.now = 0.0
        self._answered = 0.0

    def run(self, rate: Callable[[int], float], seconds: float) -> int:
        """Let time pass. Return the number of connections at the end."""
        until = self.now + seconds
        while self.now < until:
            self.target.observe(self.now, int(self._answered), saturated=True)
            self.now += 0.25
            self._answered += rate(self.target.current) * 0.25
        return self.target.current


def tenfold(connections: int) -> float:
    return connections * 10.0


def test_connections_grow_as_long_as_more_bring_more() -> None:
    assert Simulation(4, 32).run(tenfold, 10) == 32


@pytest.mark.parametrize(("useful", "found"), [(4, 4), (8, 8), (16, 16), (17, 16), (24, 32)])
def test_connections_that_bring_nothing_are_given_back(useful: int, found: int) -> None:
    assert Simulation(4, 64).run(lambda connections: min(connections, useful) * 10.0, 20) == found


def test_more_are_tried_again_later() -> None:
    simulation = Simulation(4, 32)
    assert simulation.run(lambda connections: min(connections, 4) * 10.0, 10) == 4
    assert simulation.run(tenfold, HOLD_SECONDS - 10) == 4
    assert simulation.run(tenfold, 20) == 32


def test_nothing_grows_while_connections_are_idle() -> None:
    target = ConnectionTarget(4, 32)
    for second in range(100):
        target.observe(second, second * 1000, saturated=second % 2 == 0)
    assert target.current == 4


def test_the_ceiling_may_be_below_the_floor() -> None:
    assert Simulation(4, 2).run(tenfold, 10) == 2


def test_a_refused_connection_limits_them_for_a_while() -> None:
    simulation = Simulation(4, 32)
    simulation.run(tenfold, 10)
    simulation.target.limit(simulation.now, 10)
    assert simulation.run(tenfold, HOLD_SECONDS - 1) == 10
    assert simulation.run(tenfold, 10) == 32
    simulation.target.limit(simulation.now, 1)
    assert simulation.target.current == 4


def test_idle_connections_are_forgotten() -> None:
    target = Simulation(4, 32).target
    target.current = 32
    target.shrink(20)
    assert target.current == 20
    target.shrink(0)
    assert target.current == 4
