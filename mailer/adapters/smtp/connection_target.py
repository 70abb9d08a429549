"""How many connections to keep open to a relay."""

MEASURE_SECONDS = 1.0
MEASURE_MESSAGES = 6
"""Per connection: replies come in bursts, and one more or less must not decide."""
GROWTH_FACTOR = 2
MIN_GAIN = 0.2
"""The share of the additional connections by which the rate must rise for them to stay."""
HOLD_SECONDS = 30.0
"""How long no more connections are tried after some brought nothing."""


class ConnectionTarget:
    """The number of connections, between a floor and a ceiling, grown as long as more bring more throughput.

    ``observe`` measures the rate while all connections are busy and more messages wait. If the last additional
    connections raised it, more are tried; if not, they are given back.
    """

    def __init__(self, floor: int, ceiling: int) -> None:
        self.current = self._floor = min(floor, ceiling)
        self._ceiling = ceiling
        self._hold_until = 0.0
        self._before: tuple[int, float] | None = None
        """The number of connections before the last growth, and their rate."""
        self._measured_from: tuple[float, int] | None = None
        """A time, and the messages answered until then."""

    def observe(self, now: float, answered: int, saturated: bool) -> None:
        """Adapt the number. ``answered``: messages so far; ``saturated``: all connections are busy and more wait."""
        if not saturated or self._measured_from is None:
            self._measured_from = (now, answered) if saturated else None
            return
        since, before = self._measured_from
        seconds, count = now - since, answered - before
        if seconds < MEASURE_SECONDS or count < self.current * MEASURE_MESSAGES:
            return
        rate = count / seconds
        self._measured_from = None
        if self._before is not None:
            fewer, lower_rate = self._before
            self._before = None
            if rate / lower_rate - 1 < (self.current / fewer - 1) * MIN_GAIN:
                self.current = fewer
                self._hold_until = now + HOLD_SECONDS
                return
        if now >= self._hold_until and self.current < self._ceiling:
            self._before = (self.current, rate)
            self.current = min(self._ceiling, self.current * GROWTH_FACTOR)

    def limit(self, now: float, count: int) -> None:
        """Try no more than ``count``, or the floor, for a while: the relay refused another one."""
        self.shrink(count)
        self._hold_until = now + HOLD_SECONDS

    def shrink(self, count: int) -> None:
        """Go on from ``count`` connections or the floor: the others were not needed."""
        self.current = min(self.current, max(count, self._floor))
        self._before = self._measured_from = None
