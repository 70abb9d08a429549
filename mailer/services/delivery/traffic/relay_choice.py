"""Which relay takes the next messages: each its share by weight, and no more than its warm-up allows."""

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date

from mailer.domain.ports import Clock
from mailer.domain.relay_routes import RelayRoute, by_weight
from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.store import throttles
from mailer.store.database import Session


class RelayChoice:
    def __init__(self, routes: Sequence[RelayRoute], clock: Clock, limits: TrafficLimits) -> None:
        self.routes = routes
        self._clock = clock
        self._limits = limits
        self._lock = threading.Lock()
        self._recently_sent: Counter[str] = Counter()
        self._exhausted_until: dict[str, float] = {}
        """Relays that have sent all that a day of their warm-up allows, until a time on the monotonic clock."""

    def candidates(self, blocked: Collection[str]) -> list[RelayRoute]:
        """Return the routes to try, in order, without the blocked relays and those done for today."""
        now = self._clock.monotonic()
        exhausted = {relay for relay, until in self._exhausted_until.copy().items() if until > now}
        return by_weight(self.routes, {*blocked, *exhausted}, self._recently_sent)

    def count_sent(self, relay: str, count: int) -> None:
        with self._lock:
            self._recently_sent[relay] += count
            if self._recently_sent.total() > self._limits.routing_window_messages:
                for name in self._recently_sent:
                    self._recently_sent[name] //= 2

    # In the transactions that reserve and record.

    def limit_to_warm_up(self, session: Session, route: RelayRoute, count: int, day: date) -> int:
        """Return how many of ``count`` messages the relay may still send on that day.

        Locks the relay's daily usage until the transaction ends.
        """
        if route.warm_up is None or not count:
            return count
        left = route.warm_up.limit_on(day) - throttles.lock_daily_sent(session, route.relay, day)
        if left <= 0:
            self._exhausted_until[route.relay] = self._clock.monotonic() + self._limits.relay_exhausted_seconds
        return max(0, min(count, left))

    def count_warm_up(self, session: Session, route: RelayRoute, count: int, day: date) -> None:
        """Count messages of a relay that warms up; a negative number gives back what was not sent."""
        if route.warm_up is not None and count:
            throttles.add_daily_sent(session, route.relay, day, count)
