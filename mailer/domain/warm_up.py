"""Warm-up: daily limits for a relay whose IP address receivers do not know yet."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A daily limit that grows by a factor every day (UTC)."""

    starts_on: date
    first_day_limit: int
    """Messages on the first day."""
    daily_factor: float = 1.5

    def limit_on(self, day: date) -> int:
        """Return the number of messages allowed on a day, 0 before the start."""
        if day < self.starts_on:
            return 0
        return int(min(self.first_day_limit * self.daily_factor ** min((day - self.starts_on).days, 365), 1e12))
