"""A relay that receivers do not know yet sends a little on its first day, and more on each day after."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class WarmUp:
    """``growth`` is how many times a day's messages the next day has. Days are those of UTC."""

    since: date
    first_day: int
    growth: float = 1.5

    def allowed(self, day: date) -> int:
        """Messages that may go out on a day; none before the ramp begins."""
        if day < self.since:
            return 0
        return int(min(self.first_day * self.growth ** min((day - self.since).days, 365), 1e12))
