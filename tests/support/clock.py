"""A clock for tests."""

from datetime import datetime, timedelta

from mailer.adapters.clock import SystemClock


class StoppedClock(SystemClock):
    """Shows the time at which it was made, so that no hour or day ends within a test."""

    def __init__(self) -> None:
        self._stopped_at = super().now()

    def now(self) -> datetime:
        return self._stopped_at

    def advance(self, **duration: float) -> None:
        """Move the clock on, by keywords as for timedelta."""
        self._stopped_at += timedelta(**duration)
