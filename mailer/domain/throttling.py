"""Adaptive rates and circuit breakers for relays and providers.

Rate: when many messages are deferred (421, 45x), the rate is halved, and recovers by a twentieth of the old
rate each minute. Breaker: after a policy refusal, or when a relay cannot be used, the breaker opens and nothing
is sent. Later a few probe messages are sent (half-open). The breaker then closes, or opens for twice as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
"""The end of a suspension that lasts until somebody ends it."""
RECOVERY_PER_MINUTE = 0.05
"""Share of the old rate that is recovered each minute."""
_MIN_RATE_SHARE = 1 / 64
"""Share of the old rate that is the lower limit."""
_SLOWDOWN_COOLDOWN = timedelta(seconds=10)
"""Minimum time between two slow-downs. Replies to messages already in flight tell nothing new."""


class ThrottleScope(StrEnum):
    """What a throttle applies to."""

    relay = "relay"
    provider = "provider"


class EndpointState(StrEnum):
    """The state of a relay or destination, as shown to ops."""

    closed = "closed"
    """The breaker is closed: mail flows."""
    slowed = "slowed"
    """The breaker is closed, but the rate is reduced."""
    open = "open"
    """The breaker is open: nothing is sent for a while."""
    half_open = "half_open"
    """Probe messages test whether mail is accepted again."""
    suspended = "suspended"
    """Stopped by a person."""


_INITIAL_OPEN = {ThrottleScope.relay: timedelta(seconds=5), ThrottleScope.provider: timedelta(minutes=1)}
_MAX_OPEN = {ThrottleScope.relay: timedelta(minutes=1), ThrottleScope.provider: timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """The throttle of a relay or provider. Rates are in messages a second; None: not slowed down."""

    scope: ThrottleScope
    name: str
    rate: float | None = None
    """The rate at ``slowed_at``."""
    target_rate: float | None = None
    """The rate to recover to."""
    slowed_at: datetime | None = None
    open_until: datetime | None = None
    """The breaker is open until this time and half-open after it."""
    open_since: datetime | None = None
    """When it was suspended, or the breaker opened for the first time since it was last closed."""
    trips: int = 0
    """How often the breaker has opened since it was last closed."""
    probe_lease_until: datetime | None = None
    """Half-open: until this time, one worker may send probe messages."""
    manual: bool = False
    """Whether a person suspended it. It stays open until resumed, or until ``open_until``."""
    reason: str = ""

    def current_rate(self, now: datetime) -> float | None:
        """Return the rate limit, or None once the rate has recovered."""
        if self.rate is None or self.target_rate is None or self.slowed_at is None:
            return None
        recovered = self.rate + self.target_rate * RECOVERY_PER_MINUTE * ((now - self.slowed_at) / timedelta(minutes=1))
        return recovered if recovered < self.target_rate else None

    def is_open(self, now: datetime) -> bool:
        """Return whether the breaker is open: nothing may be sent."""
        return self.open_until is not None and now < self.open_until

    def is_half_open(self, now: datetime) -> bool:
        """Return whether the breaker is half-open: probe messages may be sent."""
        return self.open_until is not None and not self.is_open(now)

    def slow_down(self, now: datetime, observed_rate: float, configured_rate: float, reason: str) -> "ThrottleState":
        """Halve the rate. ``configured_rate`` is 0 if there is none."""
        if self.slowed_at is not None and now - self.slowed_at < _SLOWDOWN_COOLDOWN:
            return self
        target = configured_rate or max(self.target_rate or 0.0, observed_rate)
        rate = self.current_rate(now) or min(target, configured_rate or observed_rate)
        return replace(
            self,
            rate=max(rate / 2, target * _MIN_RATE_SHARE),
            target_rate=target,
            slowed_at=now,
            reason=reason,
        )

    def trip(self, now: datetime, reason: str, long_backoff: bool = False) -> "ThrottleState":
        """Open the breaker, for twice as long each time. An open breaker stays as it is.

        ``long_backoff`` allows the longest wait for a relay too, because each probe has a cost.
        """
        if self.is_open(now):
            return self
        max_wait = max(_MAX_OPEN.values()) if long_backoff else _MAX_OPEN[self.scope]
        wait = min(max_wait, _INITIAL_OPEN[self.scope] * 2 ** min(self.trips, 12))
        return replace(
            self,
            open_until=now + wait,
            open_since=now if self.manual or self.open_until is None else self.open_since,
            trips=self.trips + 1,
            probe_lease_until=None,
            manual=False,
            reason=reason,
        )

    def recover(self, now: datetime) -> "ThrottleState":
        """Close the breaker after a successful probe. A suspension made meanwhile stays."""
        return self.close() if self.is_half_open(now) else self

    def close(self) -> "ThrottleState":
        """Close the breaker. A rate that is still slowed down stays so, but why the breaker was open is over."""
        return replace(self, open_until=None, open_since=None, trips=0, probe_lease_until=None, manual=False, reason="")

    def endpoint_state(self, now: datetime) -> EndpointState:
        if self.is_open(now):
            return EndpointState.suspended if self.manual else EndpointState.open
        if self.is_half_open(now):
            return EndpointState.half_open
        return EndpointState.slowed if self.current_rate(now) else EndpointState.closed

    def state_since(self, now: datetime) -> datetime | None:
        """Return when the breaker opened or it was last slowed down; None if it is closed or that is not known."""
        if self.open_until is not None:
            return self.open_since
        return self.slowed_at if self.current_rate(now) else None

    @property
    def is_idle(self) -> bool:
        """Whether the throttle no longer limits anything."""
        return self.open_until is None and self.rate is None


def asks_to_slow_down(results: Mapping[str, int], deferred: int) -> bool:
    """Return whether deferrals (421, 45x) ask us to slow down, rather than concern single mailboxes.

    They do if there are at least three, and at least a tenth of all ``results`` (counts by outcome).
    """
    return deferred >= 3 and deferred * 10 >= sum(results.values())


def effective_rate(configured_rate: float, throttle: ThrottleState | None, now: datetime) -> float:
    """Return the rate limit in messages a second, 0 for none. A throttle may lower the configured rate."""
    slowed = throttle.current_rate(now) if throttle else None
    return min(configured_rate or slowed, slowed) if slowed else configured_rate
