"""What limits sending just now, as it was read from the database a moment ago."""

from collections.abc import Mapping

from mailer.domain.ports import Clock
from mailer.domain.providers import Providers
from mailer.domain.throttling import ThrottleScope, ThrottleState, effective_rate
from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.store import issues, mail_domains, throttles
from mailer.store.database import Database


class ThrottleCache:
    """Throttles, issues' own rates, and the domains' MX records, which it puts into ``providers``."""

    def __init__(self, database: Database, providers: Providers, clock: Clock, limits: TrafficLimits) -> None:
        self._database = database
        self._providers = providers
        self._clock = clock
        self._limits = limits
        self._throttles: Mapping[tuple[ThrottleScope, str], ThrottleState] = {}
        self._issue_rates: Mapping[int, float] = {}
        self._refreshed_at = self._mx_refreshed_at = float("-inf")

    def refresh(self) -> None:
        """Read everything again that was cached for long enough."""
        now = self._clock.monotonic()
        if now - self._refreshed_at < self._limits.refresh_seconds:
            return
        with self._database.transaction() as session:
            at = self._clock.now()
            self._throttles = {
                key: throttle
                for key, throttle in throttles.load_all(session).items()
                if throttle.open_until or throttle.current_rate(at)
            }
            self._issue_rates = issues.max_rates(session)
            if now - self._mx_refreshed_at > self._limits.mx_refresh_seconds:
                self._providers.refresh_mx(mail_domains.mx_hosts(session))
                self._mx_refreshed_at = now
        self._refreshed_at = now

    def expire(self) -> None:
        """Have the next ``refresh`` read throttles and rates again."""
        self._refreshed_at = float("-inf")

    def get(self, scope: ThrottleScope, name: str) -> ThrottleState | None:
        return self._throttles.get((scope, name))

    def throttled_providers(self) -> set[str]:
        return {name for scope, name in self._throttles if scope is ThrottleScope.provider}

    def issue_rate(self, issue: int) -> float:
        """Return an issue's own limit in messages a second; 0 for none."""
        return self._issue_rates.get(issue, 0.0)

    def effective_rate(self, scope: ThrottleScope, name: str, configured_rate: float) -> float:
        """Return the messages a second that may go there now; 0 for no limit."""
        return effective_rate(configured_rate, self.get(scope, name), self._clock.now())
