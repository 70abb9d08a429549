"""The system clock."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The clocks of this machine, for ``mailer.domain.ports.Clock``."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()
