"""The status of queues, workers, relays, receiving domains and issues in flight at one time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.metrics import DrainOrder, WorkerHeartbeat
from mailer.domain.states import IssueState, PauseReason
from mailer.domain.throttling import EndpointState


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Counts of an issue, where candidates = sent + failed + skipped + pending + uncertain."""

    candidates: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    uncertain: int = 0

    @property
    def pending(self) -> int:
        return self.candidates - self.sent - self.failed - self.skipped - self.uncertain


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The depth of one queue.

    ``entered`` and ``completed`` only grow while an issue is sent, so their growth per second is the flow.
    """

    queue: str
    waiting: int
    not_ready: int
    """Work that is not due, whose destination is blocked, or whose issue is paused.

    Summed over the queues of deliveries (``expand``, ``send``, ``retry``), ``waiting + not_ready`` is the number of
    pending deliveries.
    """
    oldest: datetime | None
    """When the item that has waited longest became ready."""
    entered: int
    completed: int


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """Deliveries of the issues in flight that were refused with the same code."""

    code: str
    """Such as ``450 4.2.1``; empty if the reply has none."""
    waiting: int
    """How many are tried again."""
    failed: int
    next_attempt: datetime | None
    example: str
    """One of the replies."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The status of a queue. Flow rates are per second; None without a previous snapshot."""

    name: str
    waiting: int
    postponed: int
    """Not available now: not yet due, blocked, or in a paused issue."""
    oldest_seconds: float | None
    inflow_rate: float | None
    outflow_rate: float | None
    broker_messages: int | None
    """Messages in the broker; None if it does not answer."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """The status of a relay or a provider. Rates are messages per second; ``limit`` None means no limit."""

    name: str
    rate: float | None
    """None if Redis does not answer."""
    limit: float | None
    configured_rate: float | None
    deferral_rate: float | None
    """Recent deferrals per second."""
    waiting: int
    """Deliveries postponed by a deferral or a rate limit."""
    state: EndpointState
    open_until: datetime | None
    reason: str
    address: str = ""
    """A relay's host and port."""
    warm_up: tuple[int, int] | None = None
    """Messages sent today, and the limit for today."""
    since: datetime | None = None
    """When the present state began; None if it is closed."""


@dataclass(frozen=True, slots=True)
class ActiveIssue:
    """An issue that is scheduled, being sent or paused."""

    issue: int
    newsletter: str
    number: str
    state: IssueState
    counts: DeliveryCounts
    max_rate: float | None
    paused_by: str
    """Who paused it; empty unless it is paused."""
    pause_reason: PauseReason | None
    pause_detail: str
    stalled_since: datetime | None
    """When something was last sent, if deliveries are due and none has been sent for a minute."""
    scheduled_at: datetime | None
    """None once sending has started."""
    paused_at: datetime | None = None
    digest_of: Sequence[str] = ()
    """Only for a digest: the numbers of its issues."""
    rate: float | None = None
    """Finished deliveries per second since the previous snapshot; None without one."""
    waiting: bool = False
    """Whether it is scheduled, and so late that it waits until somebody schedules it again."""

    @property
    def seconds_left(self) -> float | None:
        """Return how long the pending deliveries take at the present rate; None if that is unknown."""
        return self.counts.pending / self.rate if self.rate and self.state is IssueState.sending else None


@dataclass(frozen=True, slots=True)
class LateDigest:
    """A digest that was made late: after a standstill, or because one of its issues was sent late."""

    issue: int
    newsletter: str
    number: str
    days: int


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A sample of one relay, provider or queue. Rates are messages a second; None if Redis does not answer."""

    kind: str
    """``relay``, ``provider`` or ``queue``."""
    name: str
    minute: datetime
    waiting: int
    rate: float | None
    deferral_rate: float | None
    rate_limit: float | None


@dataclass(frozen=True, slots=True)
class FlowPoint:
    """The mean of some samples, for a chart."""

    at: datetime
    rate: float | None
    deferral_rate: float | None
    waiting: int
    """The most that waited."""
    rate_limit: float | None


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The status of everything at one time."""

    at: datetime
    issues: Sequence[ActiveIssue]
    queues: Sequence[QueueStatus]
    workers: Sequence[WorkerHeartbeat]
    relays: Sequence[EndpointStatus]
    providers: Sequence[EndpointStatus]
    """Throttled providers and domains, then the busiest others."""
    more_providers: int
    """The number of providers not listed."""
    redis_available: bool
    """Whether Redis answers. Without it, workers, rates and queue lengths are unknown."""
    unconsumed_queues: Sequence[str]
    """Queues that no worker consumes, or only drained ones."""
    beat_silence_seconds: float | None
    """Seconds since a worker last ran the scheduler task (lower bound); None if unknown."""
    rate_limited: int
    """Deliveries postponed by a rate limit or breaker before their first attempt."""
    retries: int
    """Deliveries that wait for a retry, due or not."""
    next_retry: datetime | None
    uncertain: Mapping[int, int]
    expired_leases: int
    """Batches with an expired lease that no worker has taken over yet."""
    repeatedly_refused: int = 0
    """Addresses suppressed for repeated refusals in the last week."""
    late_digests: Sequence[LateDigest] = ()
    """Digests made late in the last week."""
    unrecognized_mails: int = 0
    """Mails to return paths in the last week that are neither bounces nor automatic replies."""
    drain_orders: Sequence[DrainOrder] = ()
    depths: Sequence[QueueDepth] = ()
