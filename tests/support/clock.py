"""A clock for tests."""

from datetime import UTC, datetime, timedelta

from mailer.adapters.clock import SystemClock
from mailer.bootstrap import Container
from mailer.domain.time_zones import time_zone


class StoppedClock(SystemClock):
    """Shows the time at which it was made, so that no hour or day ends within a test."""

    def __init__(self) -> None:
        self._stopped_at = super().now()

    def now(self) -> datetime:
        return self._stopped_at

    def advance(self, **duration: float) -> None:
        """Move the clock on, by keywords as for timedelta."""
        self._stopped_at += timedelta(**duration)


def clock_of(app: Container) -> StoppedClock:
    """Return the clock of a container that was made with a stopped one."""
    assert isinstance(app.clock, StoppedClock)
    return app.clock


def next_change(zone: str, offset_hours: int) -> datetime:
    """Return 02:30 on the day of the next change of clocks to an offset."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    while True:
        hour += timedelta(hours=1)
        offset = hour.astimezone(time_zone(zone)).utcoffset()
        before = (hour - timedelta(hours=1)).astimezone(time_zone(zone)).utcoffset()
        if offset != before and offset == timedelta(hours=offset_hours):
            return hour.astimezone(time_zone(zone)).replace(tzinfo=None, hour=2, minute=30)
