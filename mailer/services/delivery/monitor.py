"""Watch: what goes on in the queues, at the relays and towards the destinations; and holding one of them by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mailer.domain.metrics import QUEUES, WorkerHeartbeat
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Metrics
from mailer.domain.providers import Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.states import IssueState, PauseReason
from mailer.domain.throttling import EndpointState, ThrottleScope, ThrottleState, effective_rate
from mailer.models import Issue
from mailer.store import batches, deliveries, issues, mail_domains, newsletters, queues, throttles
from mailer.store.database import Database, Session
from mailer.store.deliveries import DeliveryCounts
from mailer.store.queues import QueueDepth

_DEFERRED = (Outcome.DEFERRED, Outcome.MAILBOX_FULL, Outcome.POLICY)
_MAX_PROVIDERS = 15


class EndpointNotFound(LookupError):
    """There is no such relay or destination."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """``entering`` and ``leaving`` are a second; None where one look cannot tell."""

    name: str
    waiting: int
    postponed: int
    """What cannot be taken now: its time has not come, nothing may go there, or its issue is paused."""
    oldest_seconds: float | None
    inflow_rate: float | None
    outflow_rate: float | None
    broker_messages: int | None
    """Messages in the broker; None when it does not answer."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """A relay or a destination. Rates are messages a second; ``limit`` None: there is none."""

    name: str
    rate: float | None
    """None when Redis does not answer."""
    limit: float | None
    configured_rate: float | None
    deferral_rate: float | None
    """Deferred a second, just now."""
    waiting: int
    """Deliveries that were deferred, or that wait for leave to go there."""
    state: EndpointState
    open_until: datetime | None
    reason: str
    warm_up: tuple[int, int] | None = None
    """Handed over today, and allowed today."""


@dataclass(frozen=True, slots=True)
class ActiveIssue:
    """An issue that is going out."""

    issue: int
    newsletter: str
    number: str
    state: IssueState
    counts: DeliveryCounts
    max_rate: float | None
    paused_by: str
    """Empty unless it is paused."""
    pause_reason: PauseReason | None
    pause_detail: str
    scheduled_at: datetime | None
    """Of one that has not begun."""


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """All of it at one moment."""

    at: datetime
    issues: Sequence[ActiveIssue]
    queues: Sequence[QueueStatus]
    workers: Sequence[WorkerHeartbeat]
    relays: Sequence[EndpointStatus]
    providers: Sequence[EndpointStatus]
    """Those that are held back, and the busiest of the others."""
    more_providers: int
    """How many others there are."""
    redis_available: bool
    """Whether Redis answers: without it workers, rates and queue lengths are unknown."""
    unconsumed_queues: Sequence[str]
    """Queues that no worker takes from."""
    beat_silence_seconds: float | None
    """How long ago a worker last took a tick of the clock, at least; None when nobody can know."""
    rate_limited: int
    """Deliveries that wait for leave to go to their destination, and were not tried before."""
    retries: int
    """Deliveries that wait for another attempt, due or not."""
    next_retry: datetime | None
    uncertain: Mapping[int, int]
    expired_leases: int
    """Batches whose worker was lost and that nobody has taken over yet."""
    depths: Sequence[QueueDepth] = ()


def snapshot(
    database: Database,
    metrics: Metrics,
    routes: Sequence[RelayRoute],
    providers: Providers,
    now: datetime,
    previous: QueueSnapshot | None = None,
) -> QueueSnapshot:
    """Everything that ops want to see. With a picture of a moment ``before``, flows can be told, too."""
    with database.transaction() as session:
        if previous is None:
            providers.refresh_mx(mail_domains.mx_hosts(session))
        depths = queues.depths(session, now)
        held = throttles.load_all(session)
        put_off = queues.list_postponed(
            session, now, 1000, include_blocked=_any_postponed(routes, providers, held, now)
        )
        handed = {
            route.relay: throttles.daily_sent(session, route.relay, now.date()) for route in routes if route.warm_up
        }
        going = [
            _active_issue(session, row)
            for row in issues.in_state(session, (IssueState.scheduled, IssueState.sending, IssueState.paused))
        ]
        unsettled = queues.count_uncertain(session)
        lost = queues.count_expired_leases(session, now)
    lately = metrics.recent_rates()
    lengths = metrics.queue_lengths(list(QUEUES))
    workers = metrics.live_workers()
    rates: Counter[tuple[ThrottleScope, str]] = Counter()
    deferrals: Counter[tuple[ThrottleScope, str]] = Counter()
    leaving: Counter[str] = Counter()
    returning = 0.0
    for passage, rate in lately.items():
        if passage.outcome in (Outcome.NOT_SENT, Outcome.RELAY_UNAVAILABLE):
            continue
        leaving[passage.queue] += rate  # type: ignore[assignment]
        for one in ((ThrottleScope.relay, passage.relay), (ThrottleScope.provider, passage.provider)):
            rates[one] += rate  # type: ignore[assignment]
            if passage.outcome in _DEFERRED:
                deferrals[one] += rate  # type: ignore[assignment]
        returning += rate if passage.outcome in _DEFERRED else 0.0
    waiting: Counter[str] = Counter()
    for row in put_off:
        waiting[providers.for_address(f"@{row.domain}")] += row.waiting

    def line(kind: ThrottleScope, name: str, nominal: float) -> EndpointStatus:
        throttle = held.get((kind, name))
        return EndpointStatus(
            name=name,
            rate=rates[kind, name] if lengths else None,
            limit=effective_rate(nominal, throttle, now) or None,
            configured_rate=nominal or None,
            deferral_rate=deferrals[kind, name] if lengths else None,
            waiting=waiting[name] if kind is ThrottleScope.provider else 0,
            state=throttle.endpoint_state(now) if throttle else EndpointState.closed,
            open_until=throttle.open_until if throttle and throttle.is_open(now) else None,
            reason=throttle.reason if throttle else "",
        )

    names = (
        {name for kind, name in rates if kind is ThrottleScope.provider} | set(providers.rate_limited()) | set(waiting)
    )
    first = [name for kind, name in sorted(held) if kind is ThrottleScope.provider]
    others = sorted(
        names.difference(first), key=lambda name: (-rates[ThrottleScope.provider, name], -waiting[name], name)
    )
    shown = first + others[: max(0, _MAX_PROVIDERS - len(first))]
    flows: dict[str, FlowRates] = {depth.queue: _flow_rates(depth, previous, now) for depth in depths}
    if lengths:
        # Batches tell what left both of these queues together; what was handed over is counted for each.
        flows["send"] = flows["send"][0], leaving["send"]
        flows["retry"] = returning, leaving["retry"]
    else:
        flows["send"], flows["retry"] = (flows["send"][0], None), (None, None)
    return QueueSnapshot(
        at=now,
        issues=going,
        queues=[_queue_status(depth, flows[depth.queue], lengths, now) for depth in depths],
        workers=workers,
        relays=[
            replace(
                line(ThrottleScope.relay, route.relay, route.rate),
                warm_up=(handed[route.relay], route.warm_up.limit_on(now.date())) if route.warm_up else None,
            )
            for route in routes
        ],
        providers=[line(ThrottleScope.provider, name, providers.configured_rate(name)) for name in shown],
        more_providers=len(first) + len(others) - len(shown),
        redis_available=bool(lengths),
        unconsumed_queues=_unconsumed_queues(workers) if lengths else [],
        beat_silence_seconds=_beat_silence_seconds(workers, now) if lengths else None,
        rate_limited=put_off[0].total_waiting - put_off[0].total_retries if put_off else 0,
        retries=put_off[0].total_retries if put_off else 0,
        next_retry=put_off[0].earliest_retry_at if put_off else None,
        uncertain=unsettled,
        expired_leases=lost,
        depths=depths,
    )


def _active_issue(session: Session, row: Issue) -> ActiveIssue:
    pause = issues.last_pause(session, row.id) if row.state is IssueState.paused else None
    return ActiveIssue(
        row.id,
        newsletters.by_id(session, row.newsletter_id).slug,
        row.number,
        row.state,
        deliveries.counts(session, row.id),
        row.max_rate,
        pause.actor if pause else "",
        row.pause_reason if pause else None,
        pause.detail if pause else "",
        row.scheduled_at if row.state is IssueState.scheduled else None,
    )


def _any_postponed(
    routes: Sequence[RelayRoute],
    providers: Providers,
    active_throttles: Mapping[tuple[ThrottleScope, str], ThrottleState],
    now: datetime,
) -> bool:
    """Whether deliveries may wait for single destinations while others go out."""
    relays = [active_throttles.get((ThrottleScope.relay, route.relay)) for route in routes]
    if all(relay is not None and relay.is_open(now) for relay in relays):
        return False
    limited = bool(providers.domain_rate or providers.rate_limited())
    return limited or any(kind is ThrottleScope.provider for kind, _ in active_throttles)


FlowRates = tuple[float | None, float | None]


def _queue_status(
    depth: QueueDepth, flow_rates: FlowRates, queue_lengths: Mapping[str, int], now: datetime
) -> QueueStatus:
    oldest = (now - depth.oldest) / timedelta(seconds=1) if depth.oldest else None
    return QueueStatus(depth.queue, depth.waiting, depth.not_ready, oldest, *flow_rates, queue_lengths.get(depth.queue))


def _flow_rates(depth: QueueDepth, previous: QueueSnapshot | None, now: datetime) -> FlowRates:
    """What entered and what left a queue a second since the picture before."""
    earlier = next((one for one in previous.depths if one.queue == depth.queue), None) if previous else None
    if previous is None or earlier is None:
        return None, None
    seconds = max((now - previous.at) / timedelta(seconds=1), 0.001)
    # Issues that ended take their counts along: that is no flow.
    entering, leaving = depth.entered - earlier.entered, depth.completed - earlier.completed
    return max(0.0, entering / seconds), max(0.0, leaving / seconds)


def _unconsumed_queues(workers: Sequence[WorkerHeartbeat]) -> list[str]:
    """The queues that no present worker takes from."""
    served = {queue for one in workers for queue in one.queues}
    return [queue for queue in QUEUES if queue not in served]


def _beat_silence_seconds(workers: Sequence[WorkerHeartbeat], now: datetime) -> float | None:
    """How long ago a worker last took a task of the clock's; since its start, if it never did."""
    last = [one.last_consumed.get("scheduler", one.started_at) for one in workers if "scheduler" in one.queues]
    return now.timestamp() - max(last) if last else None


_FOREVER = datetime(9000, 1, 1, tzinfo=UTC)


class SuspendResult(NamedTuple):
    """What a name was taken for: a relay's, a group's, or a receiving domain."""

    scope: ThrottleScope
    name: str
    previous_state: EndpointState
    has_subscribers: bool = True
    """False for a domain at which nobody reads."""


def suspend(
    database: Database,
    routes: Sequence[RelayRoute],
    providers: Providers,
    name: str,
    until: datetime | None,
    suspend_reason: str,
) -> SuspendResult:
    """Let nothing go to a relay or a destination, before ``until`` or before ``release``. Raises NoSuchName.

    Without ``why``, what was said of a hold by hand that this one replaces stands on.
    """
    kind, found = _find_endpoint(routes, providers, name)
    now = datetime.now(UTC)

    def held(one: ThrottleState) -> ThrottleState:
        suspended = one.endpoint_state(now) is EndpointState.suspended
        reason = suspend_reason or (one.reason if suspended else "suspended by hand")
        return replace(one, open_until=until or _FOREVER, trips=0, probe_lease_until=None, manual=True, reason=reason)

    known = True
    if kind is ThrottleScope.provider and found not in [group.name for group in providers.configured]:
        with database.transaction() as session:
            known = queues.has_subscribers_at(session, found)
    with database.transaction() as session:
        before, _ = throttles.update(session, kind, found, held)
    return SuspendResult(kind, found, before.endpoint_state(now), known)


def resume(database: Database, routes: Sequence[RelayRoute], providers: Providers, name: str) -> SuspendResult:
    """Let mail go there again at full rate, whatever held it back. Raises NoSuchName."""
    kind, found = _find_endpoint(routes, providers, name)
    now = datetime.now(UTC)
    with database.transaction() as session:
        before, _ = throttles.update(
            session, kind, found, lambda one: replace(one.close(), rate=None, target_rate=None)
        )
        batches.requeue_postponed(session, now)
    return SuspendResult(kind, found, before.endpoint_state(now))


def delete_recovered(database: Database, now: datetime) -> None:
    """Let go of what was slowed down and has its old rate again."""
    with database.transaction() as session:
        throttles.delete_recovered(session, now - timedelta(days=1))


def _find_endpoint(routes: Sequence[RelayRoute], providers: Providers, name: str) -> tuple[ThrottleScope, str]:
    if name in [route.relay for route in routes]:
        return ThrottleScope.relay, name
    groups = {group.name.lower(): group.name for group in providers.configured}
    if name.lower() in groups:
        return ThrottleScope.provider, groups[name.lower()]
    if "." in name:
        return ThrottleScope.provider, providers.for_address(f"@{name}")
    known = ", ".join([*(route.relay for route in routes), *groups.values()])
    raise EndpointNotFound(f"“{name}” is no relay and no receiving domain; there is {known}, and any domain.")
