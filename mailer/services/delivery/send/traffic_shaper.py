"""How much may go out now, by which relay, and to which destinations: asked before each micro-batch is taken, and
told after it what the relay and the destinations had to say.

The rates are those of the settings and of the issue, less what relays and destinations asked for (the table
``throttle``). All workers draw from the same buckets. Where no rate is set and nothing is held back, nothing is asked.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from mailer.domain.metrics import OutcomeKey
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Limiter, Metrics
from mailer.domain.providers import Providers
from mailer.domain.rate_limits import RateLimit, TokenRequest, min_useful_tokens
from mailer.domain.relay_routes import RelayRoute, by_weight
from mailer.domain.throttling import ThrottleScope, ThrottleState, asks_to_slow_down, effective_rate
from mailer.services.delivery.send.chunk_stats import ChunkStats
from mailer.store import issues, mail_domains, throttles
from mailer.store.database import Database, DatabaseDown, Session

_log = logging.getLogger("mailer")
_REFRESH_SECONDS = 1.0
"""Seconds for which what was read of throttles and issues' rates is good: orders act within two."""
_MX_REFRESH_SECONDS = 300.0
"""Seconds between readings of what DNS said of domains."""
_MAX_PROBES = {ThrottleScope.relay: 1, ThrottleScope.provider: 3}
"""Messages that try a half-open breaker. A relay that hangs up after the dot costs each of them its certainty."""
_PROBE_LEASE = timedelta(seconds=60)
_ROUTING_WINDOW_MESSAGES = 1000
"""Messages back to which it is looked whose turn is next: a relay that was away catches up on no more."""
_RELAY_EXHAUSTED_SECONDS = 60.0
"""Seconds after which a relay that has sent its day's allowance is asked about again: some may have come back."""
_PROVIDER_EXHAUSTED_SECONDS = 60.0
"""Seconds for which a destination that ran out of its rate is asked for before its deliveries are taken."""


@dataclass(slots=True)
class SendPermit:
    """What may be taken now. ``count`` 0: nothing, before ``wait`` seconds are over."""

    route: RelayRoute | None = None
    count: int = 0
    wait_seconds: float = 0.0
    limits: Sequence[RateLimit] = ()
    """The buckets that all of it was drawn from."""
    quotas: dict[str, int] | None = None
    """The most for each destination that has a limit; None when none has."""
    provider_waits: dict[str, float] = field(default_factory=dict)
    """Seconds until more may go to a destination whose quota is 0."""
    probes: set[tuple[ThrottleScope, str]] = field(default_factory=set)
    """Half-open breakers that this worker tries."""

    def domain_quotas(self, providers: Providers) -> tuple[list[str], list[str], list[int]] | None:
        """The quotas by domain, as the ledger takes them: domains, their destinations, their quotas."""
        if self.quotas is None:
            return None
        rows = [
            (domain, name, quota) for name, quota in self.quotas.items() for domain in providers.domains(name)
        ]
        return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


class TrafficShaper:
    """One for a process; threads share it."""

    def __init__(
        self,
        database: Database,
        limiter: Limiter,
        telemetry: Metrics,
        routes: Sequence[RelayRoute],
        providers: Providers,
    ) -> None:
        self.providers = providers
        self.routes = routes
        self._database = database
        self._limiter = limiter
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._recent_by_relay: Counter[str] = Counter()
        self._throttles: Mapping[tuple[ThrottleScope, str], ThrottleState] = {}
        self._issue_rates: Mapping[int, float] = {}
        self._refreshed_at = -1e9
        self._mx_refreshed_at = -1e9
        self._provider_exhausted_until: dict[str, float] = {}
        self._relay_exhausted_until: dict[str, float] = {}
        """Relays that have sent all that a day of their warm-up allows, and until when nobody asks them."""

    # Before a micro-batch is taken.

    def acquire(self, issue: int, want: int) -> SendPermit:
        """Leave to take up to ``want`` deliveries of an issue."""
        self._refresh()
        now = datetime.now(UTC)
        found = SendPermit(wait_seconds=60.0)
        rate = self._issue_rates.get(issue)
        for route in by_weight(self.routes, self._blocked_relays(now, found), self._recent_by_relay):
            limits = [RateLimit(f"issue:{issue}", rate)] if rate else []
            if at_most := self._effective_rate(ThrottleScope.relay, route.relay, route.rate, now):
                limits.append(RateLimit(f"relay:{route.relay}", at_most))
            wanted = (
                min(want, _MAX_PROBES[ThrottleScope.relay])
                if (ThrottleScope.relay, route.relay) in found.probes
                else want
            )
            if not limits:
                found.route, found.count = route, wanted
                break
            grant = self._limiter.acquire([TokenRequest(limits, wanted, min_useful_tokens(wanted, limits))])[
                0
            ]
            if grant.tokens:
                found.route, found.count, found.limits = route, grant.tokens, limits
                break
            found.wait_seconds = min(found.wait_seconds, max(grant.retry_after_seconds, 0.01))
        self._drop_probes(
            found, [probe for probe in found.probes if found.route is None or probe[1] != found.route.relay]
        )
        if found.count:
            self._acquire_provider_quotas(found, now)
        return found

    def all_relays_blocked(self) -> bool:
        """Whether no relay can be used at this moment, nor tried."""
        self._refresh()
        now = datetime.now(UTC)
        return all(
            (held := self._throttles.get((ThrottleScope.relay, route.relay))) is not None
            and held.is_open(now)
            for route in self.routes
        )

    def _blocked_relays(self, now: datetime, permit: SendPermit) -> set[str]:
        """Relays that are shut, tried by somebody else, or done for today."""
        shut = set()
        for route in self.routes:
            held = self._throttles.get((ThrottleScope.relay, route.relay))
            if held is not None and held.open_until is not None:
                if held.is_half_open(now) and self._claim_probe(held, now):
                    permit.probes.add((ThrottleScope.relay, route.relay))
                else:
                    shut.add(route.relay)
                    left = (held.open_until - now) / timedelta(seconds=1)
                    permit.wait_seconds = min(permit.wait_seconds, max(left, 1.0))
            if self._relay_exhausted_until.get(route.relay, 0.0) > time.monotonic():
                shut.add(route.relay)
        return shut

    def _claim_probe(self, throttle: ThrottleState, now: datetime) -> bool:
        with self._database.transaction() as session:
            return throttles.acquire_probe(session, throttle.scope, throttle.name, now, _PROBE_LEASE)

    def _effective_rate(
        self, scope: ThrottleScope, name: str, configured_rate: float, now: datetime
    ) -> float:
        return effective_rate(configured_rate, self._throttles.get((scope, name)), now)

    def _acquire_provider_quotas(self, permit: SendPermit, now: datetime) -> None:
        """Draw for the destinations that have limits, before it is known how many of them will be taken."""
        names = set(self.providers.rate_limited())
        names |= {name for kind, name in self._throttles if kind is ThrottleScope.provider}
        self._provider_exhausted_until = {
            name: until
            for name, until in self._provider_exhausted_until.copy().items()
            if until > time.monotonic()
        }
        names |= self._provider_exhausted_until.keys()
        if not names:
            return
        permit.quotas = {}
        asks: dict[str, TokenRequest] = {}
        for name in names:
            held = self._throttles.get((ThrottleScope.provider, name))
            if held is not None and held.open_until is not None:
                if held.is_half_open(now) and self._claim_probe(held, now):
                    permit.probes.add((ThrottleScope.provider, name))
                    permit.quotas[name] = _MAX_PROBES[ThrottleScope.provider]
                else:
                    permit.quotas[name] = 0
                    permit.provider_waits[name] = max((held.open_until - now) / timedelta(seconds=1), 1.0)
            elif rate := self._effective_rate(
                ThrottleScope.provider, name, self.providers.configured_rate(name), now
            ):
                limits = [RateLimit(f"destination:{name}", rate)]
                asks[name] = TokenRequest(limits, permit.count, min_useful_tokens(permit.count, limits))
        for name, grant in zip(asks, self._limiter.acquire(list(asks.values())) if asks else (), strict=True):
            permit.quotas[name] = grant.tokens
            if not grant.tokens:
                permit.provider_waits[name] = grant.retry_after_seconds

    # After it was taken.

    def release_unused(self, permit: SendPermit, reserved: Sequence[str]) -> dict[str, float]:
        """Give back what was granted and not used; ``taken`` are the destinations of what was.

        Returns the destinations whose quota is used up, and the seconds until more may go there.
        """
        if permit.route is not None:
            with self._lock:
                self._recent_by_relay[permit.route.relay] += len(reserved)
                if self._recent_by_relay.total() > _ROUTING_WINDOW_MESSAGES:
                    for relay in self._recent_by_relay:
                        self._recent_by_relay[relay] //= 2
            if not reserved:
                self._drop_probes(
                    permit, [probe for probe in permit.probes if probe[0] is ThrottleScope.relay]
                )
        back = []
        if permit.limits and permit.count > len(reserved):
            back.append(TokenRequest(permit.limits, permit.count - len(reserved)))
        used = Counter(reserved) if permit.quotas else Counter()
        now = datetime.now(UTC)
        used_up = {}
        for name, quota in (permit.quotas or {}).items():
            if quota <= used[name]:
                used_up[name] = max(permit.provider_waits.get(name, 0.0), 0.05)
            elif (ThrottleScope.provider, name) in permit.probes:
                if not used[name]:
                    self._drop_probes(permit, [(ThrottleScope.provider, name)])
            elif rate := self._effective_rate(
                ThrottleScope.provider, name, self.providers.configured_rate(name), now
            ):
                back.append(TokenRequest([RateLimit(f"destination:{name}", rate)], quota - used[name]))
        if back:
            self._limiter.release(back)
        return used_up

    def acquire_per_domain(self, permit: SendPermit, providers: Sequence[str]) -> list[float]:
        """For each delivery that was taken: 0 if it may go, else the seconds after which it may be tried.

        For the domains that have no bucket of their own in the quotas: each has the common rate.
        """
        if not self.providers.domain_rate:
            return [0.0] * len(providers)
        unasked = Counter(name for name in providers if permit.quotas is None or name not in permit.quotas)
        asks = []
        for name, count in unasked.items():
            rate = self.providers.configured_rate(name)
            asks.append(TokenRequest([RateLimit(f"destination:{name}", rate)], count) if rate else None)
        grants = iter(self._limiter.acquire([ask for ask in asks if ask]))
        left = {}
        for name, ask in zip(unasked, asks, strict=True):
            if ask:
                grant = next(grants)
                left[name] = [grant.tokens, max(grant.retry_after_seconds, 0.2)]
                if grant.tokens < ask.tokens:
                    self._provider_exhausted_until[name] = time.monotonic() + _PROVIDER_EXHAUSTED_SECONDS
        waits = []
        for name in providers:
            allowance = left.get(name)
            if allowance is None:
                waits.append(0.0)
            elif allowance[0] >= 1:
                allowance[0] -= 1
                waits.append(0.0)
            else:
                waits.append(allowance[1])
        return waits

    def mark_exhausted(self, route: RelayRoute) -> None:
        """A relay that warms up has sent all that this day allows."""
        self._relay_exhausted_until[route.relay] = time.monotonic() + _RELAY_EXHAUSTED_SECONDS

    # When results are there.

    def count_outcomes(self, stats: ChunkStats, queue: str) -> None:
        """Tell those who watch."""
        self._telemetry.add(
            {
                OutcomeKey(queue, stats.relay, destination, outcome): count
                for destination, outcomes in stats.outcomes.items()
                for outcome, count in outcomes.items()
            }
        )

    def apply_feedback(self, session: Session, stats: ChunkStats, now: datetime) -> None:
        """Slow down, open and close breakers, as the results say. Part of the transaction that records them."""
        changed = False
        relay = self._throttles.get((ThrottleScope.relay, stats.relay))
        whole: Counter[str] = sum(stats.outcomes.values(), Counter())
        tried = relay is not None and relay.is_half_open(now)
        silent = tried and not stats.answered and bool(whole[Outcome.UNKNOWN] or whole[Outcome.DEFERRED])
        if whole[Outcome.RELAY_UNAVAILABLE] or silent:
            said = stats.last_replies.get("", "")
            opened = partial(
                ThrottleState.trip, now=now, reason=said, long_backoff=whole[Outcome.UNKNOWN] > 0
            )
            changed = self._update_throttle(
                session, ThrottleScope.relay, stats.relay, opened, "cannot be used"
            )
        elif tried and stats.answered:
            recovered = partial(ThrottleState.recover, now=now)
            changed = self._update_throttle(
                session, ThrottleScope.relay, stats.relay, recovered, "works again"
            )
        if asks_to_slow_down(whole, stats.closing_replies):
            pace = sum(whole.values()) / stats.seconds
            changed |= self._slow_down(
                session, ThrottleScope.relay, stats.relay, pace, stats.last_replies.get("", ""), now
            )
        for name in sorted(stats.outcomes):
            outcomes, said = stats.outcomes[name], stats.last_replies.get(name, "")
            held = self._throttles.get((ThrottleScope.provider, name))
            tried = held is not None and held.is_half_open(now)
            refused = outcomes[Outcome.POLICY] if tried else stats.policy_refusals.get(name, 0)
            accepted = outcomes[Outcome.ACCEPTED]
            if refused and (not accepted or (refused >= 3 and refused * 5 >= accepted + refused)):
                opened = partial(ThrottleState.trip, now=now, reason=said)
                changed |= self._update_throttle(session, ThrottleScope.provider, name, opened, "refuses us")
            elif accepted and tried:
                recovered = partial(ThrottleState.recover, now=now)
                changed |= self._update_throttle(
                    session, ThrottleScope.provider, name, recovered, "takes mail again"
                )
            if asks_to_slow_down(outcomes, stats.slowdown_replies.get(name, 0)):
                pace = sum(outcomes.values()) / stats.seconds
                changed |= self._slow_down(session, ThrottleScope.provider, name, pace, said, now)
        if changed:
            self._refreshed_at = -1e9

    def _slow_down(
        self,
        session: Session,
        scope: ThrottleScope,
        name: str,
        current_rate: float,
        reason: str,
        now: datetime,
    ) -> bool:
        """``pace`` is that of this micro-batch: what all workers told of the last seconds lags behind a burst."""
        lately = self._telemetry.recent_rates()
        present = sum(
            rate
            for passage, rate in lately.items()
            if name == (passage.relay if scope is ThrottleScope.relay else passage.provider)
        )
        nominal = (
            next((route.rate for route in self.routes if route.relay == name), 0.0)
            if scope is ThrottleScope.relay
            else self.providers.configured_rate(name)
        )
        slowed = partial(
            ThrottleState.slow_down,
            now=now,
            observed_rate=max(present, current_rate),
            configured_rate=nominal,
            reason=reason,
        )
        return self._update_throttle(session, scope, name, slowed, "asks for less")

    def _update_throttle(
        self,
        session: Session,
        scope: ThrottleScope,
        name: str,
        transform: Callable[[ThrottleState], ThrottleState],
        description: str,
    ) -> bool:
        """Change what holds one back, and tell those who read logs; whether anything changed."""
        before, after = throttles.update(session, scope, name, transform)
        if after == before:
            return False
        _log.warning(
            "The %s %s %s%s", scope.value, name, description, f": {after.reason}" if after.reason else "."
        )
        return True

    def _drop_probes(self, permit: SendPermit, probes: Iterable[tuple[ThrottleScope, str]]) -> None:
        """Breakers that this worker meant to try and did not: somebody else may."""
        for kind, name in list(probes):
            permit.probes.discard((kind, name))
            # Nothing depends on it: a probe ends by itself.
            with suppress(DatabaseDown), self._database.transaction() as session:
                throttles.release_probe(session, kind, name)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_at < _REFRESH_SECONDS:
            return
        with self._database.transaction() as session:
            at = datetime.now(UTC)
            held = throttles.load_all(session)
            self._throttles = {
                key: one for key, one in held.items() if one.open_until or one.current_rate(at)
            }
            self._issue_rates = issues.max_rates(session)
            if now - self._mx_refreshed_at > _MX_REFRESH_SECONDS:
                self.providers.refresh_mx(mail_domains.mx_hosts(session))
                self._mx_refreshed_at = now
        self._refreshed_at = now
