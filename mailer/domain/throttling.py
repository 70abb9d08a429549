"""What holds a relay or a destination back for a while, and how it comes free again.

Two things do. Asked to slow down (421, 45x to a good part of what went there), we go at half the rate and
win back a twentieth of the old one each minute. Refused for policy, or with a relay that cannot be used, a breaker
opens: nothing goes there; then a few messages try (half-open), and it closes, or opens again for twice as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

RECOVERY_PER_MINUTE = 0.05
"""Share of the old rate that is won back each minute."""
_MIN_RATE_SHARE = 1 / 64
"""Share of the old rate below which it is not slowed down further."""
_SLOWDOWN_COOLDOWN = timedelta(seconds=10)
"""After slowing down once, as long as this no more: what was under way then says nothing new."""


class ThrottleScope(StrEnum):
    relay = "relay"
    provider = "provider"


_INITIAL_OPEN = {ThrottleScope.relay: timedelta(seconds=5), ThrottleScope.provider: timedelta(minutes=1)}
_MAX_OPEN = {ThrottleScope.relay: timedelta(minutes=1), ThrottleScope.provider: timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """Of one relay or destination. A ``rate`` is in messages a second; None: not slowed down."""

    scope: ThrottleScope
    name: str
    rate: float | None = None
    """The rate at ``slowed_at``."""
    target_rate: float | None = None
    """What it wins back towards."""
    slowed_at: datetime | None = None
    open_until: datetime | None = None
    """The breaker is open until then, and half-open after it."""
    trips: int = 0
    """How often the breaker opened without closing in between."""
    probe_lease_until: datetime | None = None
    """Half-open: a worker tries, and has until then to tell."""
    manual: bool = False
    """Someone stopped it: it stays so until someone lets go, or until the time they said."""
    reason: str = ""

    def current_rate(self, now: datetime) -> float | None:
        """The rate to keep to; None once all is won back."""
        if self.rate is None or self.target_rate is None or self.slowed_at is None:
            return None
        won = self.rate + self.target_rate * RECOVERY_PER_MINUTE * (
            (now - self.slowed_at) / timedelta(minutes=1)
        )
        return won if won < self.target_rate else None

    def is_open(self, now: datetime) -> bool:
        return self.open_until is not None and now < self.open_until

    def is_half_open(self, now: datetime) -> bool:
        return self.open_until is not None and not self.is_open(now)

    def slow_down(
        self, now: datetime, observed_rate: float, configured_rate: float, reason: str
    ) -> "ThrottleState":
        """Asked to slow down while going at ``present``; ``nominal`` is the rate that is set, or 0."""
        if self.slowed_at is not None and now - self.slowed_at < _SLOWDOWN_COOLDOWN:
            return self
        aim = configured_rate or max(self.target_rate or 0.0, observed_rate)
        rate = self.current_rate(now) or min(aim, configured_rate or observed_rate)
        return replace(
            self, rate=max(rate / 2, aim * _MIN_RATE_SHARE), target_rate=aim, slowed_at=now, reason=reason
        )

    def trip(self, now: datetime, reason: str, long_backoff: bool = False) -> "ThrottleState":
        """The breaker opens, or stays open as long as it would anyway. ``for_long``: trying it costs something,
        so that it is tried less and less often, whatever it is."""
        if self.is_open(now):
            return self
        longest = max(_MAX_OPEN.values()) if long_backoff else _MAX_OPEN[self.scope]
        wait = min(longest, _INITIAL_OPEN[self.scope] * 2 ** min(self.trips, 12))
        return replace(
            self,
            open_until=now + wait,
            trips=self.trips + 1,
            probe_lease_until=None,
            manual=False,
            reason=reason,
        )

    def recover(self, now: datetime) -> "ThrottleState":
        """Tried, and it works again. What somebody has stopped by hand meanwhile stays so."""
        return self.close() if self.is_half_open(now) else self

    def close(self) -> "ThrottleState":
        """The breaker lets everything through."""
        return replace(self, open_until=None, trips=0, probe_lease_until=None, manual=False)

    @property
    def is_idle(self) -> bool:
        """Nothing is held back by it any more."""
        return self.open_until is None and self.rate is None


def asks_to_slow_down(results: Mapping[str, int], deferred: int) -> bool:
    """Whether deferrals (421, 45x) are a plea to slow down, and not about single mailboxes: several, and a
    good part of all ``results`` by outcome."""
    return deferred >= 3 and deferred * 10 >= sum(results.values())


def effective_rate(configured_rate: float, throttle: ThrottleState | None, now: datetime) -> float:
    """Messages a second that may go there: what is set, or less while it is slowed down; 0 for no limit."""
    slowed = throttle.current_rate(now) if throttle else None
    return min(configured_rate or slowed, slowed) if slowed else configured_rate
