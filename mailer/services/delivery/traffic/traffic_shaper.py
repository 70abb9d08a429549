"""Asked before each chunk how much may go out, by which relay and to which providers, and told its results after.

The rates are those of the settings and of the issue, less what relays and providers asked for. Where no rate is set
and nothing is throttled, neither Redis nor the database is asked.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from mailer.domain.metrics import OutcomeKey
from mailer.domain.ports import Clock, Limiter, Metrics
from mailer.domain.providers import Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.throttling import ThrottleScope
from mailer.services.delivery.traffic.breakers import Breakers
from mailer.services.delivery.traffic.chunk_stats import ChunkStats
from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.services.delivery.traffic.permits import Permits, SendPermit
from mailer.services.delivery.traffic.relay_choice import RelayChoice
from mailer.services.delivery.traffic.throttle_cache import ThrottleCache
from mailer.store.database import Database, Session

_NO_RELAY_WAIT_SECONDS = 60.0
_MIN_GRANT_WAIT_SECONDS = 0.01


class TrafficShaper:
    """One for a process; threads share it."""

    def __init__(
        self,
        database: Database,
        limiter: Limiter,
        metrics: Metrics,
        routes: Sequence[RelayRoute],
        providers: Providers,
        clock: Clock,
        limits: TrafficLimits,
    ) -> None:
        self.providers = providers
        self.relays = RelayChoice(routes, clock, limits)
        self.throttles = ThrottleCache(database, providers, clock, limits)
        self._permits = Permits(limiter, providers, self.throttles, clock, limits)
        self._breakers = Breakers(database, self.throttles, metrics, routes, providers, clock, limits)
        self._metrics = metrics
        self._limits = limits

    def acquire(self, issue: int, count: int) -> SendPermit:
        """Return a permit to reserve up to ``count`` deliveries of an issue."""
        self.throttles.refresh()
        permit = SendPermit(wait_seconds=_NO_RELAY_WAIT_SECONDS)
        for route in self.relays.candidates(self._blocked_relays(permit)):
            probe = (ThrottleScope.relay, route.relay) in permit.probes
            wanted = min(count, self._limits.relay_probes) if probe else count
            grant, limits = self._permits.acquire(issue, route, wanted)
            if grant.tokens:
                permit.route, permit.count, permit.limits = route, grant.tokens, limits
                break
            permit.wait_seconds = min(permit.wait_seconds, max(grant.retry_after_seconds, _MIN_GRANT_WAIT_SECONDS))
        self._breakers.release_probes(
            permit,
            [probe for probe in permit.probes if permit.route is None or probe[1] != permit.route.relay],
        )
        if permit.count:
            self._acquire_provider_quotas(permit)
        return permit

    def _blocked_relays(self, permit: SendPermit) -> set[str]:
        """Return the relays whose breaker is open, or tried by another worker."""
        blocked = set()
        for route in self.relays.routes:
            if wait := self._breakers.wait_or_probe(permit, ThrottleScope.relay, route.relay):
                blocked.add(route.relay)
                permit.wait_seconds = min(permit.wait_seconds, wait)
        return blocked

    def _acquire_provider_quotas(self, permit: SendPermit) -> None:
        names = self._permits.limited_providers()
        if not names:
            return
        permit.quotas, closed = {}, []
        for name in names:
            if wait := self._breakers.wait_or_probe(permit, ThrottleScope.provider, name):
                permit.quotas[name], permit.provider_waits[name] = 0, wait
            elif (ThrottleScope.provider, name) in permit.probes:
                permit.quotas[name] = self._limits.provider_probes
            else:
                closed.append(name)
        self._permits.acquire_provider_quotas(permit, closed)

    def acquire_per_domain(self, permit: SendPermit, providers: Sequence[str]) -> list[float]:
        """Return, for each reserved delivery, 0 if it may go, else the seconds after which to try it again."""
        return self._permits.acquire_per_domain(permit, providers)

    def release_unused(self, permit: SendPermit, reserved: Sequence[str]) -> dict[str, float]:
        """Give back what was granted and not reserved; ``reserved`` are the providers of the reserved deliveries.

        Returns the providers whose quota is used up, and the seconds until more may go there.
        """
        counts = Counter(reserved)
        if permit.route is not None:
            self.relays.count_sent(permit.route.relay, len(reserved))
        untried = [
            (scope, name)
            for scope, name in permit.probes
            if not (reserved if scope is ThrottleScope.relay else counts[name])
        ]
        self._breakers.release_probes(permit, untried)
        return self._permits.release_unused(permit, counts)

    def apply_feedback(self, session: Session, stats: ChunkStats, now: datetime) -> None:
        """Slow down, open and close breakers as a chunk's results say. Part of the transaction that records them."""
        self._breakers.apply_feedback(session, stats, now)

    def count_outcomes(self, stats: ChunkStats, queue: str) -> None:
        """Add a chunk's outcomes to the metrics."""
        self._metrics.add(
            {
                OutcomeKey(queue, stats.relay, provider, outcome): count
                for provider, outcomes in stats.outcomes.items()
                for outcome, count in outcomes.items()
            }
        )

    def all_relays_blocked(self) -> bool:
        """Return whether no relay can be used at this moment, nor tried."""
        self.throttles.refresh()
        return self._breakers.all_relays_open()
