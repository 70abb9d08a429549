"""The tables and warnings of ``mailer queues``."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailer.cli.console import format_duration
from mailer.domain.conditions import Condition, ConditionName, Severity, list_conditions
from mailer.domain.labels import PAUSE_REASON_LABELS
from mailer.domain.plurals import format_count
from mailer.domain.queue_status import EndpointStatus, QueueSnapshot
from mailer.domain.states import PauseReason
from mailer.domain.throttling import FOREVER, EndpointState

_TRUNCATED_COLUMNS = ("worker", "queues", "relay", "domain", "why")
_STATE_COLOURS = {
    EndpointState.closed: "green",
    EndpointState.slowed: "yellow",
    EndpointState.half_open: "yellow",
    EndpointState.open: "red",
    EndpointState.suspended: "red",
}


def render(snapshot: QueueSnapshot, screen: Console | None = None) -> RenderableType:
    """Return a snapshot as tables, warnings first. With ``screen``, cut it to the screen's height."""
    gap = [Text()] if screen is None or screen.height >= 40 else []
    blocks: list[RenderableType] = [Text(f"{snapshot.at:%d %B %Y, %H:%M:%S} UTC", style="dim")]
    blocks += [
        *_warnings(snapshot),
        *gap,
        *_issues(snapshot),
        *gap,
        _queues(snapshot),
        *_postponed(snapshot),
        *gap,
    ]
    if snapshot.workers:
        blocks += [_workers(snapshot), *gap]
    blocks += [_endpoints("relay", snapshot.relays, snapshot.at), *gap]
    lines, more = snapshot.providers, snapshot.more_providers
    if screen is not None:
        used = len(screen.render_lines(Group(*blocks), pad=False))
        room = max(1, screen.height - used - 2)  # minus the table's header and the line below it
        more += len(lines[room:])
        lines = lines[:room]
    blocks.append(_endpoints("domain", lines, snapshot.at))
    if more:
        blocks.append(Text(f"… and {more:,} more"))
    return Group(*blocks)


def _warnings(snapshot: QueueSnapshot) -> list[Text]:
    """Return what needs attention: errors in red, then warnings in yellow."""
    return [
        Text(line, style="red" if condition.severity is Severity.act else "yellow")
        for condition in list_conditions(snapshot)
        if (line := _describe(condition, snapshot.at))
    ]


def _describe(condition: Condition, now: datetime) -> str:
    """Return a condition as a sentence, or an empty string if the tables below show it."""
    names, count, reason = ConditionName, condition.count, condition.reason
    duration = format_duration((now - condition.since).total_seconds()) if condition.since else ""
    issue = condition.issue.issue if condition.issue else 0
    relay = f"Relay {condition.subject} ({condition.address})"
    match condition.name:
        case names.no_relay:
            return "No relay can be used: nothing is sent."
        case names.no_workers:
            return "No worker has reported. Are they running?"
        case names.queue_unconsumed:
            return f"No worker consumes queue {condition.subject}."
        case names.redis_down:
            return "Redis does not answer: workers, rates and broker messages are unknown."
        case names.scheduler_silent:
            return f"The scheduler has not run for {duration}: is beat running?"
        case names.relay_refuses:
            return f"{relay} does not accept our mail{f': {reason}' if reason else '.'}"
        case names.issue_stalled:
            return f"Issue {issue} has made no progress for {duration}, though deliveries are due."
        case names.issue_late:
            waits = condition.issue is not None and condition.issue.waiting
            advice = f" It waits. Send it with: mailer issue send {issue}" if waits else ""
            return f"Issue {issue} is late by {duration}.{advice}"
        case names.worker_problem:
            return f"{condition.subject}: {reason}."
        case names.worker_drained:
            return f"{condition.subject} has been drained for {duration}{f': {reason}' if reason else '.'}"
        case names.relay_slowed:
            return f"{relay} asked us to slow down{f': {reason}' if reason else '.'}"
        case names.uncertain:
            deliveries = format_count(count, "delivery", "deliveries")
            listing = f"mailer deliveries list --issue {condition.subject}"
            return f"{deliveries} of issue {condition.subject} uncertain: {listing}"
        case names.leases_expired:
            leases = format_count(count, "batch has an expired lease", "batches have expired leases")
            return f"{leases}; another worker will take over."
        case names.unrecognized_mails:
            mails = format_count(count, "mail")
            return f"{mails} to return paths not recognized: mailer deliveries unrecognized"
        case names.digest_late:
            return f"The digest {condition.subject} was made {format_count(count, 'day')} late."
        case names.repeatedly_refused:
            addresses = format_count(count, "address", "addresses")
            return f"{addresses} suppressed this week for repeated refusals."
    return ""


def _issues(snapshot: QueueSnapshot) -> list[Text]:
    if not snapshot.issues:
        return [Text("No issue is being sent.")]
    lines = []
    for issue in snapshot.issues:
        counts = issue.counts
        facts = [f"{issue.issue}  {issue.newsletter} {issue.number}", issue.state.value]
        if issue.digest_of:
            facts.insert(1, f"digest of {', '.join(issue.digest_of)}")
        if issue.scheduled_at and issue.scheduled_at > snapshot.at:
            facts.append(f"until {issue.scheduled_at:%-d %B %Y at %H:%M} UTC")
        if issue.paused_by:
            facts.append(f"by {issue.paused_by}")
        if issue.pause_reason not in (None, PauseReason.manual):
            facts.append(PAUSE_REASON_LABELS[issue.pause_reason])
        if issue.pause_detail:
            facts.append(issue.pause_detail)
        if issue.max_rate:
            facts.append(f"at most {issue.max_rate:g}/s")
        lines.append(Text("  ".join(facts), style="bold", no_wrap=True, overflow="ellipsis"))
        if counts.candidates:
            lines.append(
                Text(
                    f"{counts.candidates:,} = {counts.sent:,} sent + {counts.failed:,} failed + {counts.skipped:,} "
                    f"skipped + {counts.pending:,} pending + {counts.uncertain:,} uncertain"
                )
            )
    return lines


def _queues(snapshot: QueueSnapshot) -> RenderableType:
    table = _table("queue", "waiting >", "later >", "oldest >", "in/s >", "out/s >", "broker >")
    for queue in snapshot.queues:
        table.add_row(
            queue.name,
            f"{queue.waiting:,}",
            f"{queue.postponed:,}",
            "" if queue.oldest_seconds is None else format_duration(queue.oldest_seconds),
            _format_rate(queue.inflow_rate),
            _format_rate(queue.outflow_rate) if snapshot.redis_available else "?",
            "?" if queue.broker_messages is None else f"{queue.broker_messages:,}",
        )
    return table


def _postponed(snapshot: QueueSnapshot) -> list[Text]:
    """Return why pending deliveries were postponed, as one sentence or none."""
    reasons = []
    if snapshot.rate_limited:
        reasons.append(f"{format_count(snapshot.rate_limited, 'waits', 'wait')} for a rate limit or a breaker")
    if snapshot.retries:
        reasons.append(f"{format_count(snapshot.retries, 'waits', 'wait')} for a retry")
    if snapshot.retries and snapshot.next_retry:
        seconds = (snapshot.next_retry - snapshot.at).total_seconds()
        reasons[-1] += f", next {'now' if seconds <= 0 else f'in {format_duration(seconds)}'}"
    return [Text(f"Of these, {'; '.join(reasons)}.")] if reasons else []


def _workers(snapshot: QueueSnapshot) -> RenderableType:
    table = _table("worker", "queues", "busy >", "up >", "last task")
    now = snapshot.at.timestamp()
    for worker in snapshot.workers:
        last = max(worker.last_consumed.items(), key=lambda item: item[1], default=None)
        table.add_row(
            _truncated(worker.name),
            _truncated(", ".join(worker.queues)),
            str(worker.active_tasks),
            format_duration(now - worker.started_at),
            f"{last[0]}, {format_duration(now - last[1])} ago" if last else "none yet",
        )
    return table


def _endpoints(kind: str, endpoints: Sequence[EndpointStatus], now: datetime) -> RenderableType:
    if not endpoints:
        return Text(f"No {kind} has had mail recently.")
    table = _table(kind, "rate >", "limit >", "deferred >", "waiting >", "state", "why")
    for endpoint in endpoints:
        duration = (
            f" for {format_duration((endpoint.open_until - now).total_seconds())}"
            if endpoint.open_until and endpoint.open_until < FOREVER
            else ""
        )
        limit = f"{endpoint.limit:,.3g}/s" if endpoint.limit else ""
        if endpoint.warm_up:
            limit += f" {endpoint.warm_up[0]:,} of {endpoint.warm_up[1]:,} today"
        table.add_row(
            _truncated(endpoint.name),
            "?" if endpoint.rate is None else _format_rate(endpoint.rate),
            limit.strip(),
            "?" if endpoint.deferral_rate is None else _format_rate(endpoint.deferral_rate),
            f"{endpoint.waiting:,}" if endpoint.waiting else "",
            Text(endpoint.state.replace("_", "-") + duration, style=_STATE_COLOURS[endpoint.state]),
            _truncated(endpoint.reason),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, right, _ = column.partition(" >")
        # A narrow terminal shortens names and reasons, never numbers.
        table.add_column(name, justify="right" if right else "left", no_wrap=name not in _TRUNCATED_COLUMNS)
    return table


def _truncated(text: str) -> Text:
    return Text(text, overflow="ellipsis", no_wrap=True)


def _format_rate(rate: float | None) -> str:
    if rate is None:
        return "…"
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"
