"""What holds a relay or a destination back for a while, and how it comes free again.

Two things do. Asked to slow down (421, 45x to a good part of what went there), we go at half the rate and
win back a twentieth of the old one each minute. Refused for policy, or with a relay that cannot be used, a breaker
opens: nothing goes there; then a few messages try (half-open), and it closes, or opens again for twice as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

RECOVERY = 0.05
"""Share of the old rate that is won back each minute."""
_LOWEST = 1 / 64
"""Share of the old rate below which it is not slowed down further."""
_CALM = timedelta(seconds=10)
"""After slowing down once, as long as this no more: what was under way then says nothing new."""


class Kind(StrEnum):
    relay = "relay"
    destination = "destination"


_FIRST_OPEN = {Kind.relay: timedelta(seconds=5), Kind.destination: timedelta(minutes=1)}
_LONGEST_OPEN = {Kind.relay: timedelta(minutes=1), Kind.destination: timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Throttle:
    """Of one relay or destination. A ``rate`` is in messages a second; None: not slowed down."""

    kind: Kind
    name: str
    rate: float | None = None
    """The rate at ``slowed_at``."""
    aim: float | None = None
    """What it wins back towards."""
    slowed_at: datetime | None = None
    shut_until: datetime | None = None
    """The breaker is open until then, and half-open after it."""
    trips: int = 0
    """How often the breaker opened without closing in between."""
    probed_until: datetime | None = None
    """Half-open: a worker tries, and has until then to tell."""
    by_hand: bool = False
    """Someone stopped it: it stays so until someone lets go, or until the time they said."""
    reason: str = ""

    def rate_now(self, now: datetime) -> float | None:
        """The rate to keep to; None once all is won back."""
        if self.rate is None or self.aim is None or self.slowed_at is None:
            return None
        won = self.rate + self.aim * RECOVERY * ((now - self.slowed_at) / timedelta(minutes=1))
        return won if won < self.aim else None

    def is_shut(self, now: datetime) -> bool:
        return self.shut_until is not None and now < self.shut_until

    def is_half_open(self, now: datetime) -> bool:
        return self.shut_until is not None and not self.is_shut(now)

    def slowed(self, now: datetime, present: float, nominal: float, reason: str) -> "Throttle":
        """Asked to slow down while going at ``present``; ``nominal`` is the rate that is set, or 0."""
        if self.slowed_at is not None and now - self.slowed_at < _CALM:
            return self
        aim = nominal or max(self.aim or 0.0, present)
        rate = self.rate_now(now) or min(aim, nominal or present)
        return replace(self, rate=max(rate / 2, aim * _LOWEST), aim=aim, slowed_at=now, reason=reason)

    def opened(self, now: datetime, reason: str, for_long: bool = False) -> "Throttle":
        """The breaker opens, or stays open as long as it would anyway. ``for_long``: trying it costs something,
        so that it is tried less and less often, whatever it is."""
        if self.is_shut(now):
            return self
        longest = max(_LONGEST_OPEN.values()) if for_long else _LONGEST_OPEN[self.kind]
        wait = min(longest, _FIRST_OPEN[self.kind] * 2 ** min(self.trips, 12))
        return replace(
            self, shut_until=now + wait, trips=self.trips + 1, probed_until=None, by_hand=False, reason=reason
        )

    def recovered(self, now: datetime) -> "Throttle":
        """Tried, and it works again. What somebody has stopped by hand meanwhile stays so."""
        return self.closed() if self.is_half_open(now) else self

    def closed(self) -> "Throttle":
        """The breaker lets everything through."""
        return replace(self, shut_until=None, trips=0, probed_until=None, by_hand=False)

    @property
    def is_idle(self) -> bool:
        """Nothing is held back by it any more."""
        return self.shut_until is None and self.rate is None


def wants_less(results: Mapping[str, int], deferred: int) -> bool:
    """Whether deferrals (421, 45x) are a plea to slow down, and not about single mailboxes: several, and a
    good part of all ``results`` by outcome."""
    return deferred >= 3 and deferred * 10 >= sum(results.values())


def rate_in_force(nominal: float, throttle: Throttle | None, now: datetime) -> float:
    """Messages a second that may go there: what is set, or less while it is slowed down; 0 for no limit."""
    slowed = throttle.rate_now(now) if throttle else None
    return min(nominal or slowed, slowed) if slowed else nominal
