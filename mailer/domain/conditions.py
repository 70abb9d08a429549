"""The conditions that ops should know of, most urgent first. Each has a section in docs/conditions.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mailer.domain.queue_status import ActiveIssue, EndpointStatus, QueueSnapshot
from mailer.domain.states import IssueState, PauseReason
from mailer.domain.throttling import FOREVER, EndpointState

BEAT_OVERDUE_SECONDS = 10.0
"""Silence of the scheduler that is normal: workers report only every few seconds."""
DOMAIN_GRACE = timedelta(hours=1)
"""For which a domain's refusals may pass by themselves before somebody must look."""


class Severity(StrEnum):
    act = "act"
    """Somebody must act, now."""
    watch = "watch"
    """Worth knowing. It passes by itself, or can wait until morning."""


class ConditionName(StrEnum):
    """All conditions, in the order in which they are told."""

    no_relay = "no-relay"
    """No relay can be used: nothing is sent."""
    no_workers = "no-workers"
    queue_unconsumed = "queue-unconsumed"
    redis_down = "redis-down"
    scheduler_silent = "scheduler-silent"
    relay_refuses = "relay-refuses"
    issue_stopped = "issue-stopped"
    """The service has paused an issue by itself."""
    issue_stalled = "issue-stalled"
    issue_late = "issue-late"
    worker_problem = "worker-problem"
    domain_refuses = "domain-refuses"
    relay_suspended = "relay-suspended"
    domain_suspended = "domain-suspended"
    worker_drained = "worker-drained"
    """Somebody has ordered a worker, or all of a host, to take no tasks."""
    relay_slowed = "relay-slowed"
    issue_paused = "issue-paused"
    """Somebody has paused an issue."""
    uncertain = "uncertain"
    leases_expired = "leases-expired"
    unrecognized_mails = "unrecognized-mails"
    repeatedly_refused = "repeatedly-refused"
    digest_late = "digest-late"
    """A monthly digest was made days after the end of its month."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be, and the facts that a sentence about it needs."""

    name: ConditionName
    severity: Severity
    since: datetime | None = None
    """When it began, if that is known."""
    subject: str = ""
    """The relay, domain, worker, host or queue; who paused an issue; the id of an issue with uncertain deliveries."""
    address: str = ""
    """A relay's host and port."""
    issue: ActiveIssue | None = None
    count: int = 0
    """How many deliveries, batches, mails or addresses it concerns, or how many days late a digest was."""
    waiting: int = 0
    """How many readers wait for their mail because of it."""
    reason: str = ""
    """The reply or reason that was given."""
    until: datetime | None = None
    """When it ends by itself, or is tried again."""


def list_conditions(snapshot: QueueSnapshot) -> list[Condition]:
    """Return what is wrong or worth knowing: what needs somebody first, then in the order of ConditionName."""
    order = list(ConditionName)
    found = [*_of_processes(snapshot), *_of_relays(snapshot), *_of_domains(snapshot), *_of_issues(snapshot)]
    return sorted(
        [*found, *_counted(snapshot)], key=lambda one: (one.severity is Severity.watch, order.index(one.name))
    )


def pending_deliveries(snapshot: QueueSnapshot) -> int:
    """Return how many deliveries of the issues that are being sent are still to be made."""
    return sum(issue.counts.pending for issue in snapshot.issues if issue.state is IssueState.sending)


def _of_processes(snapshot: QueueSnapshot) -> Iterator[Condition]:
    waiting = pending_deliveries(snapshot)
    if not snapshot.redis_available:
        yield Condition(ConditionName.redis_down, Severity.act, waiting=waiting)
    elif not snapshot.workers:
        yield Condition(ConditionName.no_workers, Severity.act, waiting=waiting)
    else:
        for queue in snapshot.unconsumed_queues:
            yield Condition(ConditionName.queue_unconsumed, Severity.act, subject=queue, waiting=waiting)
        for worker in snapshot.workers:
            for problem in worker.problems:
                yield Condition(ConditionName.worker_problem, Severity.act, subject=worker.name, reason=problem)
    for order in snapshot.drain_orders:
        yield Condition(
            ConditionName.worker_drained, Severity.watch, order.ordered_at, subject=order.name, reason=order.reason
        )
    silence = snapshot.beat_silence_seconds
    if silence is not None and silence > BEAT_OVERDUE_SECONDS:
        since = snapshot.at - timedelta(seconds=silence)
        yield Condition(ConditionName.scheduler_silent, Severity.act, since, waiting=waiting)


def _of_relays(snapshot: QueueSnapshot) -> Iterator[Condition]:
    usable = [relay for relay in snapshot.relays if relay.state in (EndpointState.closed, EndpointState.slowed)]
    waiting = 0 if usable else pending_deliveries(snapshot)
    stopped = all(relay.state in (EndpointState.suspended, EndpointState.open) for relay in snapshot.relays)
    # Of a single relay that refuses, the next condition says all there is.
    if stopped and any(relay.state is EndpointState.suspended or snapshot.relays[1:] for relay in snapshot.relays):
        begun = [relay.since for relay in snapshot.relays if relay.since]
        yield Condition(ConditionName.no_relay, Severity.act, max(begun, default=None), waiting=waiting)
    for relay in snapshot.relays:
        if relay.state in (EndpointState.open, EndpointState.half_open):
            yield _endpoint(ConditionName.relay_refuses, Severity.act, relay, waiting)
        elif relay.state is EndpointState.suspended:
            yield _endpoint(ConditionName.relay_suspended, Severity.watch, relay, waiting)
        elif relay.state is EndpointState.slowed:
            yield _endpoint(ConditionName.relay_slowed, Severity.watch, relay, 0)


def _of_domains(snapshot: QueueSnapshot) -> Iterator[Condition]:
    for domain in snapshot.providers:
        if domain.state in (EndpointState.open, EndpointState.half_open):
            lasting = domain.since is not None and snapshot.at - domain.since >= DOMAIN_GRACE
            severity = Severity.act if lasting and domain.waiting else Severity.watch
            yield _endpoint(ConditionName.domain_refuses, severity, domain, domain.waiting)
        elif domain.state is EndpointState.suspended:
            yield _endpoint(ConditionName.domain_suspended, Severity.watch, domain, domain.waiting)


def _endpoint(name: ConditionName, severity: Severity, endpoint: EndpointStatus, waiting: int) -> Condition:
    until = endpoint.open_until if endpoint.open_until and endpoint.open_until < FOREVER else None
    return Condition(
        name,
        severity,
        endpoint.since,
        subject=endpoint.name,
        address=endpoint.address,
        waiting=waiting,
        reason=endpoint.reason,
        until=until,
    )


def _of_issues(snapshot: QueueSnapshot) -> Iterator[Condition]:
    for issue in snapshot.issues:
        waiting = issue.counts.pending
        if issue.stalled_since:
            yield Condition(
                ConditionName.issue_stalled, Severity.act, issue.stalled_since, issue=issue, waiting=waiting
            )
        late_seconds = (snapshot.at - issue.scheduled_at).total_seconds() if issue.scheduled_at else 0
        if late_seconds > BEAT_OVERDUE_SECONDS:
            yield Condition(ConditionName.issue_late, Severity.act, issue.scheduled_at, issue=issue)
        if issue.state is IssueState.paused:
            by_hand = issue.pause_reason in (None, PauseReason.manual)
            yield Condition(
                ConditionName.issue_paused if by_hand else ConditionName.issue_stopped,
                Severity.watch if by_hand else Severity.act,
                issue.paused_at,
                subject=issue.paused_by,
                issue=issue,
                waiting=waiting,
                reason=issue.pause_detail,
            )


def _counted(snapshot: QueueSnapshot) -> Iterator[Condition]:
    for issue, count in snapshot.uncertain.items():
        yield Condition(ConditionName.uncertain, Severity.watch, subject=str(issue), count=count)
    for digest in snapshot.late_digests:
        subject = f"{digest.issue} ({digest.newsletter} {digest.number})"
        yield Condition(ConditionName.digest_late, Severity.watch, subject=subject, count=digest.days)
    counts = {
        ConditionName.leases_expired: snapshot.expired_leases,
        ConditionName.unrecognized_mails: snapshot.unrecognized_mails,
        ConditionName.repeatedly_refused: snapshot.repeatedly_refused,
    }
    for name, count in counts.items():
        if count:
            yield Condition(name, Severity.watch, count=count)
