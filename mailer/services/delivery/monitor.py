"""Monitoring of queues, relays and receiving domains, and their suspension by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from mailer.domain.errors import UserError
from mailer.domain.metrics import QUEUES, DrainOrder, WorkerHeartbeat
from mailer.domain.outcomes import Outcome, redact_addresses
from mailer.domain.ports import Metrics
from mailer.domain.providers import Providers
from mailer.domain.queue_status import (
    ActiveIssue,
    DeliveryCounts,
    EndpointStatus,
    FlowPoint,
    FlowRow,
    LateDigest,
    QueueDepth,
    QueueSnapshot,
    QueueStatus,
    RefusalGroup,
)
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.states import IssueState
from mailer.domain.throttling import FOREVER, EndpointState, ThrottleScope, ThrottleState, effective_rate
from mailer.models import Issue
from mailer.store import (
    batches,
    deliveries,
    digests,
    feedback,
    flow_samples,
    issues,
    mail_domains,
    newsletters,
    queues,
    throttles,
    worker_orders,
)
from mailer.store import refusals as refusals_store
from mailer.store.database import Database, Session

_DEFERRED_BY_RELAY = (Outcome.RELAY_BUSY, Outcome.RELAY_REFUSED)
_DEFERRED = (*_DEFERRED_BY_RELAY, Outcome.DEFERRED, Outcome.MAILBOX_FULL, Outcome.POLICY)
_MAX_PROVIDERS = 15
_MAX_REFUSALS = 20
_POINTS = 180
_SAMPLES_KEPT_FOR = timedelta(days=30)
_FEEDBACK_PERIOD = timedelta(days=7)
STALLED_AFTER = timedelta(minutes=1)
"""Without a finished delivery, while some are due, before an issue counts as stalled."""


class EndpointNotFound(UserError, LookupError):
    """There is no such relay, provider or domain."""


def snapshot(
    database: Database,
    metrics: Metrics,
    routes: Sequence[RelayRoute],
    providers: Providers,
    now: datetime,
    previous: QueueSnapshot | None = None,
) -> QueueSnapshot:
    """Return the current status of the service. Flow rates need the ``previous`` snapshot."""
    with database.transaction() as session:
        if previous is None:
            providers.refresh_mx(mail_domains.mx_hosts(session))
        depths = queues.depths(session, now)
        active_throttles = throttles.load_all(session)
        postponed = refusals_store.list_postponed(
            session, now, 1000, include_blocked=_any_postponed(routes, providers, active_throttles, now)
        )
        sent_today = {
            route.relay: throttles.daily_sent(session, route.relay, now.date()) for route in routes if route.warm_up
        }
        stalled = queues.stalled_issues(session, now - STALLED_AFTER)
        active_issues = [
            _active_issue(session, row, stalled, previous, now)
            for row in issues.in_state(session, (IssueState.scheduled, IssueState.sending, IssueState.paused))
        ]
        uncertain = queues.count_uncertain(session)
        drain_orders = worker_orders.list_all(session)
        expired_leases = queues.count_expired_leases(session, now)
        repeatedly_refused = feedback.count_repeatedly_refused(session, now - _FEEDBACK_PERIOD)
        late_digests = [
            LateDigest(row.id, newsletters.by_id(session, row.newsletter_id).slug, row.number, digests.days_late(row))
            for row in digests.made_late(session, now - _FEEDBACK_PERIOD)
        ]
        unrecognized_mails = feedback.count_unrecognized(session, now - _FEEDBACK_PERIOD)
    recent_rates = metrics.recent_rates()
    queue_lengths = metrics.queue_lengths(list(QUEUES))
    workers = metrics.live_workers()
    rates: Counter[tuple[ThrottleScope, str]] = Counter()
    deferrals: Counter[tuple[ThrottleScope, str]] = Counter()
    sent_rates: Counter[str] = Counter()
    deferred_rate = 0.0
    for passage, rate in recent_rates.items():
        if passage.outcome in (Outcome.NOT_SENT, Outcome.RELAY_UNAVAILABLE):
            continue
        sent_rates[passage.queue] += rate  # type: ignore[assignment]
        endpoints = [(ThrottleScope.relay, passage.relay), (ThrottleScope.provider, passage.provider)]
        for endpoint in endpoints[:1] if passage.outcome in _DEFERRED_BY_RELAY else endpoints:
            rates[endpoint] += rate  # type: ignore[assignment]
            if passage.outcome in _DEFERRED:
                deferrals[endpoint] += rate  # type: ignore[assignment]
        deferred_rate += rate if passage.outcome in _DEFERRED else 0.0
    waiting: Counter[str] = Counter()
    for row in postponed:
        waiting[providers.for_address(f"@{row.domain}")] += row.waiting

    def line(kind: ThrottleScope, name: str, nominal: float) -> EndpointStatus:
        throttle = active_throttles.get((kind, name))
        return EndpointStatus(
            name=name,
            rate=rates[kind, name] if queue_lengths else None,
            limit=effective_rate(nominal, throttle, now) or None,
            configured_rate=nominal or None,
            deferral_rate=deferrals[kind, name] if queue_lengths else None,
            waiting=waiting[name] if kind is ThrottleScope.provider else 0,
            state=throttle.endpoint_state(now) if throttle else EndpointState.closed,
            open_until=throttle.open_until if throttle and throttle.is_open(now) else None,
            reason=throttle.reason if throttle else "",
            since=throttle.state_since(now) if throttle else None,
        )

    names = (
        {name for kind, name in rates if kind is ThrottleScope.provider} | set(providers.rate_limited()) | set(waiting)
    )
    throttled = [name for kind, name in sorted(active_throttles) if kind is ThrottleScope.provider]
    others = sorted(
        names.difference(throttled), key=lambda name: (-rates[ThrottleScope.provider, name], -waiting[name], name)
    )
    listed = throttled + others[: max(0, _MAX_PROVIDERS - len(throttled))]
    flows: dict[str, FlowRates] = {depth.queue: _flow_rates(depth, previous, now) for depth in depths}
    if queue_lengths:
        # Batch counts cover both queues together; the recorded transfers are counted for each queue.
        flows["send"] = flows["send"][0], sent_rates["send"]
        flows["retry"] = deferred_rate, sent_rates["retry"]
    else:
        flows["send"], flows["retry"] = (flows["send"][0], None), (None, None)
    return QueueSnapshot(
        at=now,
        issues=active_issues,
        queues=[_queue_status(depth, flows[depth.queue], queue_lengths, now) for depth in depths],
        workers=workers,
        relays=[
            replace(
                line(ThrottleScope.relay, route.relay, route.rate),
                address=route.address,
                warm_up=(sent_today[route.relay], route.warm_up.limit_on(now.date())) if route.warm_up else None,
            )
            for route in routes
        ],
        providers=[line(ThrottleScope.provider, name, providers.configured_rate(name)) for name in listed],
        more_providers=len(throttled) + len(others) - len(listed),
        redis_available=bool(queue_lengths),
        unconsumed_queues=_unconsumed_queues(workers, drain_orders) if queue_lengths else [],
        beat_silence_seconds=_beat_silence_seconds(workers, now) if queue_lengths else None,
        rate_limited=postponed[0].total_waiting - postponed[0].total_retries if postponed else 0,
        retries=postponed[0].total_retries if postponed else 0,
        next_retry=postponed[0].earliest_retry_at if postponed else None,
        uncertain=uncertain,
        expired_leases=expired_leases,
        repeatedly_refused=repeatedly_refused,
        late_digests=late_digests,
        unrecognized_mails=unrecognized_mails,
        drain_orders=drain_orders,
        depths=depths,
    )


def _active_issue(
    session: Session, row: Issue, stalled: Mapping[int, datetime], previous: QueueSnapshot | None, now: datetime
) -> ActiveIssue:
    pause = issues.last_pause(session, row.id) if row.state is IssueState.paused else None
    counts = deliveries.counts(session, row.id)
    return ActiveIssue(
        row.id,
        newsletters.by_id(session, row.newsletter_id).slug,
        row.number,
        row.state,
        counts,
        row.max_rate,
        issues.actor_name(session, pause) if pause else "",
        row.pause_reason if pause else None,
        pause.detail if pause else "",
        stalled.get(row.id),
        row.scheduled_at if row.state is IssueState.scheduled else None,
        pause.at if pause else None,
        digests.source_numbers(session, row),
        _issue_rate(row.id, counts, previous, now),
        row.state is IssueState.scheduled and issues.is_waiting(session, row.id),
    )


def _issue_rate(issue: int, counts: DeliveryCounts, previous: QueueSnapshot | None, now: datetime) -> float | None:
    """Return the deliveries of an issue finished per second since the previous snapshot; None without one."""
    earlier = next((other for other in previous.issues if other.issue == issue), None) if previous else None
    if previous is None or earlier is None or not earlier.counts.candidates:
        return None
    seconds = max((now - previous.at) / timedelta(seconds=1), 0.001)
    return max(0.0, (earlier.counts.pending - counts.pending) / seconds)


def _any_postponed(
    routes: Sequence[RelayRoute],
    providers: Providers,
    active_throttles: Mapping[tuple[ThrottleScope, str], ThrottleState],
    now: datetime,
) -> bool:
    """Return whether deliveries to some domains may be postponed while others are sent."""
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
    """Return the inflow and outflow of a queue per second since the previous snapshot."""
    earlier = next((other for other in previous.depths if other.queue == depth.queue), None) if previous else None
    if previous is None or earlier is None:
        return None, None
    seconds = max((now - previous.at) / timedelta(seconds=1), 0.001)
    # Finished issues are no longer counted, which can make a difference negative.
    entering, leaving = depth.entered - earlier.entered, depth.completed - earlier.completed
    return max(0.0, entering / seconds), max(0.0, leaving / seconds)


def _unconsumed_queues(workers: Sequence[WorkerHeartbeat], orders: Sequence[DrainOrder]) -> list[str]:
    """Return the queues that no live worker consumes, apart from drained ones."""
    taking = [worker for worker in workers if not any(order.covers(worker.name) for order in orders)]
    served = {queue for worker in taking for queue in worker.queues}
    return [queue for queue in QUEUES if queue not in served]


def _beat_silence_seconds(workers: Sequence[WorkerHeartbeat], now: datetime) -> float | None:
    """Return the seconds since a worker last ran the scheduler task, or since its start if it never did."""
    last = [
        worker.last_consumed.get("scheduler", worker.started_at) for worker in workers if "scheduler" in worker.queues
    ]
    return now.timestamp() - max(last) if last else None


class SuspendResult(NamedTuple):
    """What a name was resolved to: a relay, or a provider or receiving domain."""

    scope: ThrottleScope
    name: str
    previous_state: EndpointState
    has_subscribers: bool = True
    """False for a domain without subscribers."""


def suspend(
    database: Database,
    routes: Sequence[RelayRoute],
    providers: Providers,
    name: str,
    until: datetime | None,
    suspend_reason: str,
    now: datetime,
) -> SuspendResult:
    """Suspend a relay, provider or domain until a time, or until it is resumed. Raises EndpointNotFound.

    Without a reason, that of an earlier suspension is kept.
    """
    kind, endpoint = find_endpoint(routes, providers, name)

    def suspended(throttle: ThrottleState) -> ThrottleState:
        replaces = throttle.endpoint_state(now) is EndpointState.suspended
        reason = suspend_reason or (throttle.reason if replaces else "suspended by hand")
        return replace(
            throttle,
            open_until=until or FOREVER,
            open_since=throttle.open_since if replaces else now,
            trips=0,
            probe_lease_until=None,
            manual=True,
            reason=reason,
        )

    has_subscribers = True
    if kind is ThrottleScope.provider and endpoint not in [group.name for group in providers.configured]:
        with database.transaction() as session:
            has_subscribers = queues.has_subscribers_at(session, endpoint)
    with database.transaction() as session:
        before, _ = throttles.update(session, kind, endpoint, suspended)
    return SuspendResult(kind, endpoint, before.endpoint_state(now), has_subscribers)


def resume(
    database: Database, routes: Sequence[RelayRoute], providers: Providers, name: str, now: datetime
) -> SuspendResult:
    """Resume a relay, provider or domain at its full rate, whatever stopped or slowed it. Raises EndpointNotFound."""
    kind, endpoint = find_endpoint(routes, providers, name)
    with database.transaction() as session:
        before, _ = throttles.update(
            session, kind, endpoint, lambda throttle: replace(throttle.close(), rate=None, target_rate=None)
        )
        batches.requeue_postponed(session, now)
    return SuspendResult(kind, endpoint, before.endpoint_state(now))


def refusals(database: Database, providers: Providers, scope: ThrottleScope, name: str) -> list[RefusalGroup]:
    """Return what a relay, or the servers of a provider or domain, refused of the issues in flight, and why."""
    with database.transaction() as session:
        if scope is ThrottleScope.relay:
            groups = refusals_store.list_groups(session, _MAX_REFUSALS, relay=name)
        else:
            groups = refusals_store.list_groups(session, _MAX_REFUSALS, domains=providers.domains(name))
    return [replace(group, example=redact_addresses(group.example)) for group in groups]


def record_flow(database: Database, snapshot: QueueSnapshot) -> None:
    """Keep a snapshot's figures as the samples of its minute."""
    minute = snapshot.at.replace(second=0, microsecond=0)
    endpoints = [("relay", line) for line in snapshot.relays] + [("provider", line) for line in snapshot.providers]
    rows = [
        FlowRow(kind, line.name, minute, line.waiting, line.rate, line.deferral_rate, line.limit)
        for kind, line in endpoints
    ]
    for queue in snapshot.queues:
        waiting = queue.waiting + queue.postponed
        rows.append(FlowRow("queue", queue.name, minute, waiting, queue.outflow_rate, None, None))
    with database.transaction() as session:
        flow_samples.add(session, rows)


def flow_history(
    database: Database, scope: ThrottleScope, name: str, period: timedelta, now: datetime
) -> list[FlowPoint]:
    """Return what went through a relay or to a provider, as means over equal times."""
    minutes = max(1, round(period / timedelta(minutes=_POINTS)))
    with database.transaction() as session:
        return flow_samples.history(session, scope.value, name, now - period, minutes)


def delete_old_samples(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        flow_samples.delete_before(session, now - _SAMPLES_KEPT_FOR)


def delete_recovered(database: Database, now: datetime) -> None:
    """Delete throttles that have been back at their full rate for a day."""
    with database.transaction() as session:
        throttles.delete_recovered(session, now - timedelta(days=1))


def find_endpoint(routes: Sequence[RelayRoute], providers: Providers, name: str) -> tuple[ThrottleScope, str]:
    """Return the relay, provider or domain that a name means. Raises EndpointNotFound."""
    if name in [route.relay for route in routes]:
        return ThrottleScope.relay, name
    groups = {group.name.lower(): group.name for group in providers.configured}
    if name.lower() in groups:
        return ThrottleScope.provider, groups[name.lower()]
    if "." in name:
        return ThrottleScope.provider, providers.for_address(f"@{name}")
    known = ", ".join([*(route.relay for route in routes), *groups.values()])
    raise EndpointNotFound(f"“{name}” is neither a relay nor a receiving domain. Valid names: {known}, and any domain.")
