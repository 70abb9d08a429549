"""How often traffic shaping reads, tries and asks again."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    refresh_seconds: float = 1.0
    """For which throttles and issues' rates are cached: orders take effect within two seconds."""
    mx_refresh_seconds: float = 300.0
    """For which MX records are cached."""
    relay_probes: int = 1
    """Messages that try a half-open relay. One that hangs up after the final dot leaves each of them uncertain."""
    provider_probes: int = 3
    """Messages that try a half-open provider."""
    probe_lease: timedelta = timedelta(seconds=60)
    """For which a worker that tries a half-open breaker keeps others from trying."""
    routing_window_messages: int = 1000
    """Messages that the relays' shares are compared over: a relay that was away catches up on no more."""
    relay_exhausted_seconds: float = 60.0
    """Until a relay that has sent its day's allowance is asked again: some of it may have come back."""
    provider_exhausted_seconds: float = 60.0
    """For which a provider that ran out of its rate is asked for before its deliveries are reserved."""
