"""Permits to send, drawn from token buckets that all workers share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailer.domain.ports import Clock, Limiter
from mailer.domain.providers import Providers
from mailer.domain.rate_limits import RateLimit, TokenGrant, TokenRequest, min_useful_tokens
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.throttling import ThrottleScope
from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.services.delivery.traffic.throttle_cache import ThrottleCache

_MIN_EXHAUSTED_WAIT_SECONDS = 0.05
_MIN_DOMAIN_WAIT_SECONDS = 0.2


@dataclass(slots=True)
class SendPermit:
    """How many deliveries may be reserved now. ``count`` 0: none, for ``wait_seconds``."""

    route: RelayRoute | None = None
    count: int = 0
    wait_seconds: float = 0.0
    limits: Sequence[RateLimit] = ()
    """The buckets that the whole count was drawn from."""
    quotas: dict[str, int] | None = None
    """The most for each provider that has a limit; None when none has."""
    provider_waits: dict[str, float] = field(default_factory=dict)
    """Seconds until more may go to a provider whose quota is 0."""
    probes: set[tuple[ThrottleScope, str]] = field(default_factory=set)
    """Half-open breakers that this worker tries."""

    def domain_quotas(self, providers: Providers) -> tuple[list[str], list[str], list[int]] | None:
        """Return the quotas as the ledger takes them, by domain: domains, their providers, their quotas."""
        if self.quotas is None:
            return None
        rows = [(domain, name, quota) for name, quota in self.quotas.items() for domain in providers.domains(name)]
        return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


class Permits:
    """Draws from the buckets of issues, relays and providers, and puts back what was not used."""

    def __init__(
        self,
        limiter: Limiter,
        providers: Providers,
        throttles: ThrottleCache,
        clock: Clock,
        limits: TrafficLimits,
    ) -> None:
        self._limiter = limiter
        self._providers = providers
        self._throttles = throttles
        self._clock = clock
        self._limits = limits
        self._exhausted_until: dict[str, float] = {}
        """Providers that ran out of their rate, until a time on the monotonic clock."""

    def acquire(self, issue: int, route: RelayRoute, count: int) -> tuple[TokenGrant, Sequence[RateLimit]]:
        """Draw up to ``count`` messages from the buckets of an issue and a relay; return the buckets, too."""
        limits = []
        if rate := self._throttles.issue_rate(issue):
            limits.append(RateLimit(f"issue:{issue}", rate))
        if rate := self._throttles.effective_rate(ThrottleScope.relay, route.relay, route.rate):
            limits.append(RateLimit(f"relay:{route.relay}", rate))
        if not limits:
            return TokenGrant(count), limits
        (grant,) = self._limiter.acquire([TokenRequest(limits, count, min_useful_tokens(count, limits))])
        return grant, limits

    def limited_providers(self) -> set[str]:
        """Return the providers that need a quota before their deliveries are reserved."""
        now = self._clock.monotonic()
        self._exhausted_until = {name: until for name, until in self._exhausted_until.copy().items() if until > now}
        return {
            *self._providers.rate_limited(),
            *self._throttles.throttled_providers(),
            *self._exhausted_until,
        }

    def acquire_provider_quotas(self, permit: SendPermit, names: Sequence[str]) -> None:
        """Draw quotas for providers, before it is known how many of their deliveries will be reserved."""
        assert permit.quotas is not None
        requests: dict[str, TokenRequest] = {}
        for name in names:
            if limit := self._provider_limit(name):
                minimum = min_useful_tokens(permit.count, [limit])
                requests[name] = TokenRequest([limit], permit.count, minimum)
        if not requests:
            return
        for name, grant in zip(requests, self._limiter.acquire(list(requests.values())), strict=True):
            permit.quotas[name] = grant.tokens
            if not grant.tokens:
                permit.provider_waits[name] = grant.retry_after_seconds

    def release_unused(self, permit: SendPermit, reserved: Counter[str]) -> dict[str, float]:
        """Put back what was granted and not reserved; ``reserved`` counts the deliveries by provider.

        Returns the providers whose quota is used up, and the seconds until more may go there.
        """
        unused = []
        if permit.limits and permit.count > reserved.total():
            unused.append(TokenRequest(permit.limits, permit.count - reserved.total()))
        waits = {}
        for name, quota in (permit.quotas or {}).items():
            if quota <= reserved[name]:
                waits[name] = max(permit.provider_waits.get(name, 0.0), _MIN_EXHAUSTED_WAIT_SECONDS)
            elif (ThrottleScope.provider, name) not in permit.probes and (limit := self._provider_limit(name)):
                unused.append(TokenRequest([limit], quota - reserved[name]))
        if unused:
            self._limiter.release(unused)
        return waits

    def acquire_per_domain(self, permit: SendPermit, providers: Sequence[str]) -> list[float]:
        """Return, for each reserved delivery, 0 if it may go, else the seconds after which to try it again.

        ``providers`` are those of the deliveries. Providers with a quota were drawn for already; the others have
        the rate of a domain.
        """
        if not self._providers.domain_rate:
            return [0.0] * len(providers)
        counts = Counter(name for name in providers if permit.quotas is None or name not in permit.quotas)
        requests = {
            name: TokenRequest([RateLimit(f"destination:{name}", rate)], count)
            for name, count in counts.items()
            if (rate := self._providers.configured_rate(name))
        }
        tokens: dict[str, int] = {}
        retry_after: dict[str, float] = {}
        for (name, request), grant in zip(
            requests.items(), self._limiter.acquire(list(requests.values())), strict=True
        ):
            tokens[name] = grant.tokens
            retry_after[name] = max(grant.retry_after_seconds, _MIN_DOMAIN_WAIT_SECONDS)
            if grant.tokens < request.tokens:
                self._exhausted_until[name] = self._clock.monotonic() + self._limits.provider_exhausted_seconds
        waits = []
        for name in providers:
            left = tokens.get(name)
            if left:
                tokens[name] = left - 1
            waits.append(retry_after[name] if left == 0 else 0.0)
        return waits

    def _provider_limit(self, name: str) -> RateLimit | None:
        rate = self._throttles.effective_rate(ThrottleScope.provider, name, self._providers.configured_rate(name))
        return RateLimit(f"destination:{name}", rate) if rate else None
