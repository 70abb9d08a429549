"""A relay that receivers do not know yet sends a little on its first day, and more on each day after."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class WarmUp:
    """``growth`` is how many times a day's messages the next day has. Days are those of UTC."""

    starts_on: date
    first_day_limit: int
    daily_factor: float = 1.5

    def limit_on(self, day: date) -> int:
        """Messages that may go out on a day; none before the ramp begins."""
        if day < self.starts_on:
            return 0
        return int(
            min(self.first_day_limit * self.daily_factor ** min((day - self.starts_on).days, 365), 1e12)
        )
