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

from mailer.bootstrap import Mailer
from mailer.cli.errors import Misuse
from mailer.services import watch
from mailer.services.watch import Line, Picture

app = typer.Typer(help="Watch the queues; hold a relay or a receiving domain, and let it go.")

Name = Annotated[str, typer.Argument(help="A relay, a group such as Gmail, or a receiving domain.")]
_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_COLOURS = {"open": "green", "slowed": "yellow", "trying": "yellow", "shut": "red", "held": "red"}


@app.callback(invoke_without_command=True)
def queues(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON once, after a second's look.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """Every queue, worker, relay and receiving domain, live; Ctrl-C ends it."""
    if context.invoked_subcommand:
        return
    with Mailer() as parts:

        def look(before: Picture | None = None) -> Picture:
            return watch.look(
                parts.database, parts.telemetry, parts.routes, parts.destinations, datetime.now(UTC), before
            )

        console = Console()
        if as_json or once or not sys.stdout.isatty():
            first = look()
            time.sleep(1)
            picture = look(first)
            if as_json:
                print(json.dumps(_plain(picture), ensure_ascii=False, indent=2, default=str))
            else:
                console.print(_drawn(picture))
            return
        _watch(console, look)


def _watch(console: Console, look: Callable[[Picture | None], Picture]) -> None:
    picture = look(None)
    with Live(_drawn(picture), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(1)
                picture = look(picture)
                live.update(_drawn(picture), refresh=True)
        except KeyboardInterrupt:
            return


@app.command("hold")
def hold(
    name: Name,
    how_long: Annotated[
        str, typer.Option("--for", help="Such as 30m, 2h or 1d; until released without it.")
    ] = "",
    why: Annotated[str, typer.Option(help="Stands beside it for those who look.")] = "held by hand",
) -> None:
    """Let nothing go there for a while; what is due waits, and everything else goes on."""
    until = None
    if how_long:
        found = re.fullmatch(r"(\d{1,4})([mhd])", how_long)
        if not found:
            raise Misuse(f"“{how_long}” is not a time such as 30m, 2h or 1d.")
        until = datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    with Mailer() as parts:
        kind, taken = watch.hold(parts.database, parts.routes, parts.destinations, name, until, why)
    end = f"until {until:%d %B %Y at %H:%M} UTC" if until else f"until: mailer queues release {taken!r}"
    print(f"Nothing goes to the {kind.value} {taken} {end}.")


@app.command("release")
def release(name: Name) -> None:
    """Let mail go there again, whatever held it back or slowed it down."""
    with Mailer() as parts:
        kind, taken = watch.release(parts.database, parts.routes, parts.destinations, name)
    print(f"Mail goes to the {kind.value} {taken} again.")


def _plain(picture: Picture) -> dict[str, Any]:
    shown = asdict(picture)
    del shown["depths"]
    for issue in shown["issues"]:
        counts = issue["counts"]
        counts["pending"] = counts["candidates"] - sum(
            counts[name] for name in ("sent", "failed", "skipped", "uncertain")
        )
    return shown


def _drawn(picture: Picture) -> RenderableType:
    parts: list[RenderableType] = [Text(f"{picture.at:%d %B %Y, %H:%M:%S} UTC", style="dim")]
    for one in (_issues(picture), _queues(picture), _workers(picture)):
        parts += [one, Text()]
    for what, lines in (("relay", picture.relays), ("receiving domain", picture.destinations)):
        parts += [_lines(what, lines, picture.at), Text()]
    retries = f"{picture.retries:,} deliveries wait for another attempt"
    if picture.next_retry:
        left = (picture.next_retry - picture.at).total_seconds()
        retries += f"; the next one is due {'now' if left <= 0 else f'in {_span(left)}'}"
    parts.append(Text(f"{retries}."))
    for issue, count in picture.uncertain.items():
        said = (
            f"{count:,} of issue {issue} uncertain: mailer deliveries list --issue {issue} --state uncertain"
        )
        parts.append(Text(said, style="yellow"))
    if picture.lost_claims:
        parts.append(
            Text(
                f"{picture.lost_claims:,} batches of lost workers, taken over within seconds.", style="yellow"
            )
        )
    return Group(*parts)


def _issues(picture: Picture) -> RenderableType:
    if not picture.issues:
        return Text("No issue is going out.")
    table = _table("issue", "state", "done >", "of >", "sent >", "failed >", "uncertain >", "limit >", "why")
    for one in picture.issues:
        counts = one.counts
        table.add_row(
            f"{one.issue}  {one.newsletter} {one.number}",
            one.state.value,
            f"{counts.candidates - counts.pending:,}",
            f"{counts.candidates:,}",
            f"{counts.sent:,}",
            f"{counts.failed:,}",
            f"{counts.uncertain:,}",
            f"{one.rate:g}/s" if one.rate else "",
            one.why,
        )
    return table


def _queues(picture: Picture) -> RenderableType:
    table = _table("queue", "waiting >", "oldest >", "in a second >", "out a second >", "hints >")
    for one in picture.queues:
        table.add_row(
            one.name,
            f"{one.waiting:,}",
            "" if one.oldest_seconds is None else _span(one.oldest_seconds),
            _flow(one.entering),
            _flow(one.leaving),
            "?" if one.hints is None else f"{one.hints:,}",
        )
    return table


def _workers(picture: Picture) -> RenderableType:
    if not picture.workers:
        return Text(
            "No worker says that it is at work. Are they running, and does Redis answer?", style="red"
        )
    table = _table("worker", "queues", "busy >", "up >", "last task")
    now = picture.at.timestamp()
    for one in picture.workers:
        last = max(one.consumed.items(), key=lambda item: item[1], default=None)
        table.add_row(
            one.name,
            ", ".join(one.queues),
            str(one.busy),
            _span(now - one.since),
            f"{last[0]}, {_span(now - last[1])} ago" if last else "none yet",
        )
    return table


def _lines(what: str, lines: Sequence[Line], now: datetime) -> RenderableType:
    if not lines:
        return Text(f"Nothing went to any {what} lately.")
    table = _table(what, "rate >", "limit >", "deferred >", "waiting >", "state", "why")
    for one in lines:
        until = (
            f" for {_span((one.until - now).total_seconds())}" if one.until and one.until.year < 9000 else ""
        )
        limit = f"{one.limit:,.3g}/s" if one.limit else ""
        if one.warm_up:
            limit += f" {one.warm_up[0]:,} of {one.warm_up[1]:,} today"
        table.add_row(
            one.name,
            _flow(one.rate),
            limit.strip(),
            _flow(one.deferred),
            f"{one.waiting:,}" if one.waiting else "",
            Text(one.state + until, style=_COLOURS[one.state]),
            Text(one.reason, overflow="ellipsis", no_wrap=True),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, right, _ = column.partition(" >")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    table.title = None
    return table


def _flow(rate: float | None) -> str:
    if rate is None:
        return "…"
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
