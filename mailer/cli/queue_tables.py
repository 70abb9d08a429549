"""The tables and warnings of ``mailer queues``."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailer.cli.console import format_count, format_duration
from mailer.domain.labels import PAUSE_REASON_LABELS
from mailer.domain.states import PauseReason
from mailer.domain.throttling import EndpointState
from mailer.services.delivery.monitor import EndpointStatus, QueueSnapshot

_TRUNCATED_COLUMNS = ("worker", "queues", "relay", "domain", "why")
_BEAT_OVERDUE_SECONDS = 10.0
"""Silence of the scheduler that is normal: workers report only every few seconds."""
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
    red, yellow = [], []
    for issue in snapshot.issues:
        if issue.stalled_since:
            duration = format_duration((snapshot.at - issue.stalled_since).total_seconds())
            red.append(f"Issue {issue.issue} has made no progress for {duration}, though deliveries are due.")
    for relay in snapshot.relays:
        name, reason = f"Relay {relay.name} ({relay.address})", f": {relay.reason}" if relay.reason else "."
        if relay.state in (EndpointState.open, EndpointState.half_open):
            red.append(f"{name} does not accept our mail{reason}")
        elif relay.state is EndpointState.slowed:
            yellow.append(f"{name} asked us to slow down{reason}")
    if not snapshot.redis_available:
        red.append("Redis does not answer: workers, rates and broker messages are unknown.")
    elif not snapshot.workers:
        red.append("No worker has reported. Are they running?")
    else:
        red += [f"No worker consumes queue {queue}." for queue in snapshot.unconsumed_queues]
        red += [f"{worker.name}: {problem}." for worker in snapshot.workers for problem in worker.problems]
    if snapshot.beat_silence_seconds is not None and snapshot.beat_silence_seconds > _BEAT_OVERDUE_SECONDS:
        red.append(f"The scheduler has not run for {format_duration(snapshot.beat_silence_seconds)}: is beat running?")
    for issue in snapshot.issues:
        if issue.scheduled_at and (late := (snapshot.at - issue.scheduled_at).total_seconds()) > _BEAT_OVERDUE_SECONDS:
            red.append(f"Issue {issue.issue} is late by {format_duration(late)}.")
    if all(relay.state in (EndpointState.suspended, EndpointState.open) for relay in snapshot.relays):
        red.append("No relay can be used: nothing is sent.")
    for id, count in snapshot.uncertain.items():
        deliveries = format_count(count, "delivery", "deliveries")
        yellow.append(f"{deliveries} of issue {id} uncertain: mailer deliveries list --issue {id}")
    if snapshot.expired_leases:
        leases = format_count(snapshot.expired_leases, "batch has an expired lease", "batches have expired leases")
        yellow.append(f"{leases}; another worker will take over.")
    if snapshot.unrecognized_mails:
        mails = format_count(snapshot.unrecognized_mails, "mail")
        yellow.append(f"{mails} to return paths not recognized: mailer deliveries unrecognized")
    if snapshot.repeatedly_refused:
        addresses = format_count(snapshot.repeatedly_refused, "address", "addresses")
        yellow.append(f"{addresses} suppressed this week for repeated refusals.")
    return [Text(line, style="red") for line in red] + [Text(line, style="yellow") for line in yellow]


def _issues(snapshot: QueueSnapshot) -> list[Text]:
    if not snapshot.issues:
        return [Text("No issue is being sent.")]
    lines = []
    for issue in snapshot.issues:
        counts = issue.counts
        facts = [f"{issue.issue}  {issue.newsletter} {issue.number}", issue.state.value]
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
            if endpoint.open_until and endpoint.open_until.year < 9000
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
