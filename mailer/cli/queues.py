"""mailer queues …: what waits where, how fast it goes, and holding a relay or a receiving domain."""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mailer.bootstrap import Container
from mailer.cli.console import format_duration, make_console
from mailer.cli.errors import UsageError
from mailer.services.delivery import monitor
from mailer.services.delivery.monitor import EndpointStatus, QueueSnapshot

commands = typer.Typer(help="Watch the queues; hold a relay or a receiving domain, and let it go.")

EndpointName = Annotated[str, typer.Argument(help="A relay, a group such as Gmail, or a receiving domain.")]
_TRUNCATED_COLUMNS = ("worker", "queues", "relay", "domain", "why")
_BEAT_OVERDUE_SECONDS = 10.0
"""Seconds without a tick that nobody need think about: workers tell only every few seconds what they took."""
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_STATE_COLOURS = {"open": "green", "slowed": "yellow", "trying": "yellow", "shut": "red", "held": "red"}


@commands.callback(invoke_without_command=True)
def queues(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON once, after a second's look.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """Every queue, worker, relay and receiving domain, live; Ctrl-C ends it."""
    if context.invoked_subcommand:
        return
    with Container() as parts:

        def look(before: QueueSnapshot | None = None) -> QueueSnapshot:
            return monitor.snapshot(
                parts.database, parts.metrics, parts.relay_routes, parts.providers, datetime.now(UTC), before
            )

        printed = make_console()
        if as_json or once or not sys.stdout.isatty():
            first = look()
            time.sleep(1)
            picture = look(first)
            if as_json:
                print(json.dumps(_snapshot_dict(picture), ensure_ascii=False, indent=2, default=str))
            else:
                printed.print(render(picture))
            return
        _monitor(printed, look)


def _monitor(screen: Console, take_snapshot: Callable[[QueueSnapshot | None], QueueSnapshot]) -> None:
    picture = take_snapshot(None)
    with Live(render(picture, screen), console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(1)
                picture = take_snapshot(picture)
                live.update(render(picture, screen), refresh=True)
        except KeyboardInterrupt:
            return


@commands.command("suspend")
def suspend(
    name: EndpointName,
    duration: Annotated[
        str, typer.Option("--for", help="Such as 30m, 2h or 1d; until released without it.")
    ] = "",
    why: Annotated[
        str,
        typer.Option(help="Stands beside it for those who look; what an earlier suspend said, without it."),
    ] = "",
) -> None:
    """Let nothing go there for a while; what is due waits, and everything else goes on."""
    until = None
    if duration:
        found = re.fullmatch(r"(\d{1,4})([mhd])", duration)
        if not found or not int(found[1]):
            raise UsageError(f"“{duration}” is not a time such as 30m, 2h or 1d.")
        until = datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNIT_SECONDS[found[2]])
    with Container() as parts:
        held = monitor.suspend(parts.database, parts.relay_routes, parts.providers, name, until, why)
    end = f"until {until:%d %B %Y at %H:%M} UTC" if until else f"until: mailer queues resume {held.name!r}"
    print(f"Nothing goes to the {held.scope.value} {held.name} {end}.")
    if held.previous_state == "held":
        print("It was held already: this takes the place of what was said before.")
    if not held.has_subscribers:
        print(f"No reader has an address at {held.name}: is it spelt right?")


@commands.command("resume")
def resume(name: EndpointName) -> None:
    """Let mail go there again, whatever held it back or slowed it down."""
    with Container() as parts:
        held = monitor.resume(parts.database, parts.relay_routes, parts.providers, name)
    if held.previous_state == "open":
        print(f"Nothing held the {held.scope.value} {held.name} back.")
    else:
        print(f"Mail goes to the {held.scope.value} {held.name} again.")


def _snapshot_dict(snapshot: QueueSnapshot) -> dict[str, Any]:
    shown = asdict(snapshot)
    del shown["depths"]
    for issue in shown["issues"]:
        counts = issue["counts"]
        counts["pending"] = counts["candidates"] - sum(
            counts[name] for name in ("sent", "failed", "skipped", "uncertain")
        )
    return shown


def render(snapshot: QueueSnapshot, screen: Console | None = None) -> RenderableType:
    """What must not be missed comes first. A ``screen`` is filled, and says how much it has no room for."""
    gap = [Text()] if screen is None or screen.height >= 40 else []
    parts: list[RenderableType] = [Text(f"{snapshot.at:%d %B %Y, %H:%M:%S} UTC", style="dim")]
    parts += [
        *_warnings(snapshot),
        *gap,
        *_issues(snapshot),
        *gap,
        _queues(snapshot),
        *_postponed(snapshot),
        *gap,
    ]
    if snapshot.workers:
        parts += [_workers(snapshot), *gap]
    parts += [_endpoints("relay", snapshot.relays, snapshot.at), *gap]
    lines, more = snapshot.providers, snapshot.more_providers
    if screen is not None:
        used = len(screen.render_lines(Group(*parts), pad=False))
        room = max(1, screen.height - used - 2)  # besides the head of the table and the line below it
        more += len(lines[room:])
        lines = lines[:room]
    parts.append(_endpoints("domain", lines, snapshot.at))
    if more:
        parts.append(Text(f"… and {more:,} more"))
    return Group(*parts)


def _warnings(snapshot: QueueSnapshot) -> list[Text]:
    """What somebody should look after."""
    red, yellow = [], []
    if not snapshot.redis_available:
        red.append("Redis does not answer: workers, rates and hints are not known.")
    elif not snapshot.workers:
        red.append("No worker says that it is at work. Are they running?")
    else:
        red += [f"Nobody takes from {queue}." for queue in snapshot.unconsumed_queues]
    if snapshot.beat_silence_seconds is not None and snapshot.beat_silence_seconds > _BEAT_OVERDUE_SECONDS:
        red.append(
            f"The clock has not ticked for {format_duration(snapshot.beat_silence_seconds)}: is beat running?"
        )
    for one in snapshot.issues:
        if (
            one.scheduled_at
            and (late := (snapshot.at - one.scheduled_at).total_seconds()) > _BEAT_OVERDUE_SECONDS
        ):
            red.append(f"Issue {one.issue} is late by {format_duration(late)}.")
    if all(relay.state in ("held", "shut") for relay in snapshot.relays):
        red.append("No relay can be used: nothing goes out.")
    for issue, count in snapshot.uncertain.items():
        yellow.append(
            f"{count:,} of issue {issue} uncertain: mailer deliveries list --issue {issue} --state uncertain"
        )
    if count := snapshot.expired_leases:
        what = "1 batch of a lost worker waits" if count == 1 else f"{count:,} batches of lost workers wait"
        yellow.append(f"{what} for another one to take over.")
    return [Text(said, style="red") for said in red] + [Text(said, style="yellow") for said in yellow]


def _issues(snapshot: QueueSnapshot) -> list[Text]:
    if not snapshot.issues:
        return [Text("No issue is going out.")]
    lines = []
    for one in snapshot.issues:
        counts = one.counts
        said = [f"{one.issue}  {one.newsletter} {one.number}", one.state.value]
        if one.scheduled_at and one.scheduled_at > snapshot.at:
            said.append(f"until {one.scheduled_at:%-d %B %Y at %H:%M} UTC")
        if one.pause_reason:
            said.append(f"by {one.pause_reason}")
        if one.max_rate:
            said.append(f"at most {one.max_rate:g}/s")
        lines.append(Text("  ".join(said), style="bold", no_wrap=True, overflow="ellipsis"))
        if counts.candidates:
            lines.append(
                Text(
                    f"{counts.candidates:,} = {counts.sent:,} sent + {counts.failed:,} failed + {counts.skipped:,} "
                    f"skipped + {counts.pending:,} pending + {counts.uncertain:,} uncertain"
                )
            )
    return lines


def _queues(snapshot: QueueSnapshot) -> RenderableType:
    table = _table("queue", "waiting >", "later >", "oldest >", "in a second >", "out a second >", "hints >")
    for one in snapshot.queues:
        table.add_row(
            one.name,
            f"{one.waiting:,}",
            f"{one.postponed:,}",
            "" if one.oldest_seconds is None else format_duration(one.oldest_seconds),
            _format_rate(one.inflow_rate),
            _format_rate(one.outflow_rate) if snapshot.redis_available else "?",
            "?" if one.broker_messages is None else f"{one.broker_messages:,}",
        )
    return table


def _postponed(snapshot: QueueSnapshot) -> list[Text]:
    """Why some of what is pending was put off."""
    said = []
    if snapshot.rate_limited:
        said.append(f"{snapshot.rate_limited:,} wait until they may go to their domain")
    if snapshot.retries:
        said.append(f"{snapshot.retries:,} wait for another attempt")
    if snapshot.retries and snapshot.next_retry:
        left = (snapshot.next_retry - snapshot.at).total_seconds()
        said[-1] += f", the next one due {'now' if left <= 0 else f'in {format_duration(left)}'}"
    return [Text(f"Of these, {'; '.join(said)}.")] if said else []


def _workers(snapshot: QueueSnapshot) -> RenderableType:
    table = _table("worker", "queues", "busy >", "up >", "last task")
    now = snapshot.at.timestamp()
    for one in snapshot.workers:
        last = max(one.last_consumed.items(), key=lambda item: item[1], default=None)
        table.add_row(
            _truncated(one.name),
            _truncated(", ".join(one.queues)),
            str(one.active_tasks),
            format_duration(now - one.started_at),
            f"{last[0]}, {format_duration(now - last[1])} ago" if last else "none yet",
        )
    return table


def _endpoints(kind: str, endpoints: Sequence[EndpointStatus], now: datetime) -> RenderableType:
    if not endpoints:
        return Text(f"Nothing went to any {kind} lately.")
    table = _table(kind, "rate >", "limit >", "deferred >", "waiting >", "state", "why")
    for one in endpoints:
        until = (
            f" for {format_duration((one.open_until - now).total_seconds())}"
            if one.open_until and one.open_until.year < 9000
            else ""
        )
        limit = f"{one.limit:,.3g}/s" if one.limit else ""
        if one.warm_up:
            limit += f" {one.warm_up[0]:,} of {one.warm_up[1]:,} today"
        table.add_row(
            _truncated(one.name),
            "?" if one.rate is None else _format_rate(one.rate),
            limit.strip(),
            "?" if one.deferral_rate is None else _format_rate(one.deferral_rate),
            f"{one.waiting:,}" if one.waiting else "",
            Text(one.state + until, style=_STATE_COLOURS[one.state]),
            _truncated(one.reason),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, right, _ = column.partition(" >")
        # Where room is scarce, names and reasons are shortened, never figures.
        table.add_column(name, justify="right" if right else "left", no_wrap=name not in _TRUNCATED_COLUMNS)
    table.title = None
    return table


def _truncated(text: str) -> Text:
    return Text(text, overflow="ellipsis", no_wrap=True)


def _format_rate(rate: float | None) -> str:
    if rate is None:
        return "…"
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"
