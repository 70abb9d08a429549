"""Circuit breakers of relays and providers: opened, tried and closed as the replies say, and rates slowed down."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Clock, Metrics
from mailer.domain.providers import Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.throttling import ThrottleScope, ThrottleState, asks_to_slow_down
from mailer.services.delivery.traffic.chunk_stats import ChunkStats
from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.services.delivery.traffic.permits import SendPermit
from mailer.services.delivery.traffic.throttle_cache import ThrottleCache
from mailer.store import throttles
from mailer.store.database import Database, DatabaseDown, Session

_log = logging.getLogger("mailer")
_MIN_OPEN_WAIT_SECONDS = 1.0
_MIN_POLICY_REFUSALS = 3
_MIN_POLICY_REFUSALS_PERCENT = 20
"""Refusals for policy, among a chunk's acceptances and refusals by one provider, that open its breaker."""


class Breakers:
    def __init__(
        self,
        database: Database,
        cache: ThrottleCache,
        metrics: Metrics,
        routes: Sequence[RelayRoute],
        providers: Providers,
        clock: Clock,
        limits: TrafficLimits,
    ) -> None:
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._routes = routes
        self._providers = providers
        self._clock = clock
        self._limits = limits

    def all_relays_open(self) -> bool:
        """Return whether every relay's breaker is open, so that no mail can go anywhere."""
        now = self._clock.now()
        return all(
            (throttle := self._cache.get(ThrottleScope.relay, route.relay)) is not None and throttle.is_open(now)
            for route in self._routes
        )

    def wait_or_probe(self, permit: SendPermit, scope: ThrottleScope, name: str) -> float:
        """Return 0 if messages may go there, else the seconds to wait.

        A half-open breaker that no other worker tries is claimed: the permit has it among its probes.
        """
        throttle, now = self._cache.get(scope, name), self._clock.now()
        if throttle is None or throttle.open_until is None:
            return 0.0
        if throttle.is_half_open(now) and self._acquire_probe(scope, name, now):
            permit.probes.add((scope, name))
            return 0.0
        return max((throttle.open_until - now) / timedelta(seconds=1), _MIN_OPEN_WAIT_SECONDS)

    def _acquire_probe(self, scope: ThrottleScope, name: str, now: datetime) -> bool:
        with self._database.transaction() as session:
            return throttles.acquire_probe(session, scope, name, now, self._limits.probe_lease)

    def release_probes(self, permit: SendPermit, probes: Iterable[tuple[ThrottleScope, str]]) -> None:
        """Let other workers try half-open breakers that this one claimed and did not try."""
        for scope, name in list(probes):
            permit.probes.discard((scope, name))
            # Nothing depends on it: a probe's lease ends by itself.
            with suppress(DatabaseDown), self._database.transaction() as session:
                throttles.release_probe(session, scope, name)

    def apply_feedback(self, session: Session, stats: ChunkStats, now: datetime) -> None:
        """Open, close and slow down as a chunk's results say. Part of the transaction that records them."""
        changed = self._apply_to_relay(session, stats, now)
        for name in sorted(stats.outcomes):
            changed |= self._apply_to_provider(session, stats, name, now)
        if changed:
            self._cache.expire()

    def _apply_to_relay(self, session: Session, stats: ChunkStats, now: datetime) -> bool:
        outcomes: Counter[str] = sum(stats.outcomes.values(), Counter())
        half_open = self._is_half_open(ThrottleScope.relay, stats.relay, now)
        busy = outcomes[Outcome.RELAY_BUSY]
        only_busy = busy and not stats.answered
        silent = half_open and not stats.answered and (outcomes[Outcome.UNKNOWN] or outcomes[Outcome.DEFERRED])
        reason = stats.last_replies.get("", "")
        update = partial(self._update, session, ThrottleScope.relay, stats.relay)
        changed = False
        if outcomes[Outcome.RELAY_UNAVAILABLE] or silent or only_busy:
            trip = partial(ThrottleState.trip, now=now, reason=reason, long_backoff=outcomes[Outcome.UNKNOWN] > 0)
            changed = update(trip, "cannot be used")
        elif half_open and stats.answered:
            changed = update(partial(ThrottleState.recover, now=now), "works again")
        if not only_busy and asks_to_slow_down(outcomes, max(stats.closing_replies, busy)):
            changed |= update(
                self._slow_down(ThrottleScope.relay, stats.relay, stats, outcomes, reason, now),
                "asks for less",
            )
        return changed

    def _apply_to_provider(self, session: Session, stats: ChunkStats, name: str, now: datetime) -> bool:
        outcomes, reason = stats.outcomes[name], stats.last_replies.get(name, "")
        half_open = self._is_half_open(ThrottleScope.provider, name, now)
        refused = outcomes[Outcome.POLICY] if half_open else stats.policy_refusals.get(name, 0)
        accepted = outcomes[Outcome.ACCEPTED]
        many = refused >= _MIN_POLICY_REFUSALS and refused * 100 >= (accepted + refused) * _MIN_POLICY_REFUSALS_PERCENT
        update = partial(self._update, session, ThrottleScope.provider, name)
        changed = False
        if refused and (many or not accepted):
            changed = update(partial(ThrottleState.trip, now=now, reason=reason), "refuses us")
        elif accepted and half_open:
            changed = update(partial(ThrottleState.recover, now=now), "takes mail again")
        if asks_to_slow_down(outcomes, stats.slowdown_replies.get(name, 0)):
            changed |= update(
                self._slow_down(ThrottleScope.provider, name, stats, outcomes, reason, now), "asks for less"
            )
        return changed

    def _is_half_open(self, scope: ThrottleScope, name: str, now: datetime) -> bool:
        throttle = self._cache.get(scope, name)
        return throttle is not None and throttle.is_half_open(now)

    def _slow_down(
        self,
        scope: ThrottleScope,
        name: str,
        stats: ChunkStats,
        outcomes: Counter[str],
        reason: str,
        now: datetime,
    ) -> Callable[[ThrottleState], ThrottleState]:
        """Return the transition to a lower rate than the observed one.

        The observed rate is the higher one of this chunk's rate and the rate of all workers, which lags behind a burst.
        """
        recent = sum(
            rate
            for key, rate in self._metrics.recent_rates().items()
            if name == (key.relay if scope is ThrottleScope.relay else key.provider)
        )
        configured = (
            next((route.rate for route in self._routes if route.relay == name), 0.0)
            if scope is ThrottleScope.relay
            else self._providers.configured_rate(name)
        )
        return partial(
            ThrottleState.slow_down,
            now=now,
            observed_rate=max(recent, sum(outcomes.values()) / stats.seconds),
            configured_rate=configured,
            reason=reason,
        )

    @staticmethod
    def _update(
        session: Session,
        scope: ThrottleScope,
        name: str,
        transition: Callable[[ThrottleState], ThrottleState],
        event: str,
    ) -> bool:
        """Change a throttle, and log it; return whether anything changed."""
        before, after = throttles.update(session, scope, name, transition)
        if after == before:
            return False
        reason = "" if after.open_until is None and before.open_until else after.reason
        _log.warning("The %s %s %s%s", scope.value, name, event, f": {reason}" if reason else ".")
        return True
