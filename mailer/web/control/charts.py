"""Charts of the flow, as the coordinates of SVG lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from mailer.domain.queue_status import FlowPoint

WIDTH, HEIGHT = 600, 120
_LONGEST_GAP_STEPS = 2.5
"""Steps without a sample after which a line is interrupted."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines in a box of WIDTH by HEIGHT, zero at the bottom. Several lines where samples are missing."""

    start: datetime
    end: datetime
    highest: float
    """The value at the top of the box, in messages a second."""
    rate: Sequence[str]
    """Values of the attribute ``points``."""
    deferral_rate: Sequence[str]
    limit: Sequence[str]
    points: Sequence[FlowPoint]


def draw(points: Sequence[FlowPoint], end: datetime, period: timedelta) -> Chart:
    start = end - period
    values = [value for point in points for value in (point.rate, point.deferral_rate, point.rate_limit)]
    highest = _round_up(max(filter(None, values), default=0.0))
    step = min((b.at - a.at for a, b in pairwise(points)), default=period)

    def lines(value_of: Callable[[FlowPoint], float | None]) -> list[str]:
        found: list[list[str]] = []
        last: datetime | None = None
        for point in points:
            value = value_of(point)
            if value is None:
                last = None
                continue
            if last is None or point.at - last > _LONGEST_GAP_STEPS * step:
                found.append([])
            x = max(0.0, (point.at - start) / period) * WIDTH
            found[-1].append(f"{x:.1f},{HEIGHT - value / highest * HEIGHT:.1f}")
            last = point.at
        return [" ".join(line if len(line) > 1 else line * 2) for line in found]

    return Chart(
        start,
        end,
        highest,
        lines(lambda point: point.rate),
        lines(lambda point: point.deferral_rate),
        lines(lambda point: point.rate_limit),
        points,
    )


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 and so on."""
    scale = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= factor * scale:
                return factor * scale
        scale *= 10
