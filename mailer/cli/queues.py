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
from mailer.cli.screen import console, span
from mailer.services import watch
from mailer.services.watch import Line, Picture

app = typer.Typer(help="Watch the queues; hold a relay or a receiving domain, and let it go.")

Name = Annotated[str, typer.Argument(help="A relay, a group such as Gmail, or a receiving domain.")]
_SHORTENED = ("worker", "queues", "relay", "domain", "why")
_SILENCE = 10.0
"""Seconds without a tick that nobody need think about: workers tell only every few seconds what they took."""
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

        printed = console()
        if as_json or once or not sys.stdout.isatty():
            first = look()
            time.sleep(1)
            picture = look(first)
            if as_json:
                print(json.dumps(_plain(picture), ensure_ascii=False, indent=2, default=str))
            else:
                printed.print(drawn(picture))
            return
        _watch(printed, look)


def _watch(screen: Console, look: Callable[[Picture | None], Picture]) -> None:
    picture = look(None)
    with Live(drawn(picture, screen), console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(1)
                picture = look(picture)
                live.update(drawn(picture, screen), refresh=True)
        except KeyboardInterrupt:
            return


@app.command("hold")
def hold(
    name: Name,
    how_long: Annotated[
        str, typer.Option("--for", help="Such as 30m, 2h or 1d; until released without it.")
    ] = "",
    why: Annotated[
        str,
        typer.Option(help="Stands beside it for those who look; what an earlier hold said, without it."),
    ] = "",
) -> None:
    """Let nothing go there for a while; what is due waits, and everything else goes on."""
    until = None
    if how_long:
        found = re.fullmatch(r"(\d{1,4})([mhd])", how_long)
        if not found or not int(found[1]):
            raise Misuse(f"“{how_long}” is not a time such as 30m, 2h or 1d.")
        until = datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    with Mailer() as parts:
        held = watch.hold(parts.database, parts.routes, parts.destinations, name, until, why)
    end = f"until {until:%d %B %Y at %H:%M} UTC" if until else f"until: mailer queues release {held.name!r}"
    print(f"Nothing goes to the {held.kind.value} {held.name} {end}.")
    if held.before == "held":
        print("It was held already: this takes the place of what was said before.")
    if not held.known:
        print(f"No reader has an address at {held.name}: is it spelt right?")


@app.command("release")
def release(name: Name) -> None:
    """Let mail go there again, whatever held it back or slowed it down."""
    with Mailer() as parts:
        held = watch.release(parts.database, parts.routes, parts.destinations, name)
    if held.before == "open":
        print(f"Nothing held the {held.kind.value} {held.name} back.")
    else:
        print(f"Mail goes to the {held.kind.value} {held.name} again.")


def _plain(picture: Picture) -> dict[str, Any]:
    shown = asdict(picture)
    del shown["depths"]
    for issue in shown["issues"]:
        counts = issue["counts"]
        counts["pending"] = counts["candidates"] - sum(
            counts[name] for name in ("sent", "failed", "skipped", "uncertain")
        )
    return shown


def drawn(picture: Picture, screen: Console | None = None) -> RenderableType:
    """What must not be missed comes first. A ``screen`` is filled, and says how much it has no room for."""
    gap = [Text()] if screen is None or screen.height >= 40 else []
    parts: list[RenderableType] = [Text(f"{picture.at:%d %B %Y, %H:%M:%S} UTC", style="dim")]
    parts += [*_warnings(picture), *gap, *_issues(picture), *gap, _queues(picture), *_put_off(picture), *gap]
    if picture.workers:
        parts += [_workers(picture), *gap]
    parts += [_lines("relay", picture.relays, picture.at), *gap]
    lines, more = picture.destinations, picture.more_destinations
    if screen is not None:
        used = len(screen.render_lines(Group(*parts), pad=False))
        room = max(1, screen.height - used - 2)  # besides the head of the table and the line below it
        more += len(lines[room:])
        lines = lines[:room]
    parts.append(_lines("domain", lines, picture.at))
    if more:
        parts.append(Text(f"… and {more:,} more"))
    return Group(*parts)


def _warnings(picture: Picture) -> list[Text]:
    """What somebody should look after."""
    red, yellow = [], []
    if not picture.redis:
        red.append("Redis does not answer: workers, rates and hints are not known.")
    elif not picture.workers:
        red.append("No worker says that it is at work. Are they running?")
    else:
        red += [f"Nobody takes from {queue}." for queue in picture.unserved]
    if picture.silent_seconds is not None and picture.silent_seconds > _SILENCE:
        red.append(f"The clock has not ticked for {span(picture.silent_seconds)}: is beat running?")
    for one in picture.issues:
        if one.scheduled_at and (late := (picture.at - one.scheduled_at).total_seconds()) > _SILENCE:
            red.append(f"Issue {one.issue} is late by {span(late)}.")
    if all(relay.state in ("held", "shut") for relay in picture.relays):
        red.append("No relay can be used: nothing goes out.")
    for issue, count in picture.uncertain.items():
        yellow.append(
            f"{count:,} of issue {issue} uncertain: mailer deliveries list --issue {issue} --state uncertain"
        )
    if count := picture.lost_claims:
        what = "1 batch of a lost worker waits" if count == 1 else f"{count:,} batches of lost workers wait"
        yellow.append(f"{what} for another one to take over.")
    return [Text(said, style="red") for said in red] + [Text(said, style="yellow") for said in yellow]


def _issues(picture: Picture) -> list[Text]:
    if not picture.issues:
        return [Text("No issue is going out.")]
    lines = []
    for one in picture.issues:
        counts = one.counts
        said = [f"{one.issue}  {one.newsletter} {one.number}", one.state.value]
        if one.scheduled_at and one.scheduled_at > picture.at:
            said.append(f"until {one.scheduled_at:%-d %B %Y at %H:%M} UTC")
        if one.why:
            said.append(f"by {one.why}")
        if one.rate:
            said.append(f"at most {one.rate:g}/s")
        lines.append(Text("  ".join(said), style="bold", no_wrap=True, overflow="ellipsis"))
        if counts.candidates:
            lines.append(
                Text(
                    f"{counts.candidates:,} = {counts.sent:,} sent + {counts.failed:,} failed + {counts.skipped:,} "
                    f"skipped + {counts.pending:,} pending + {counts.uncertain:,} uncertain"
                )
            )
    return lines


def _queues(picture: Picture) -> RenderableType:
    table = _table("queue", "waiting >", "later >", "oldest >", "in a second >", "out a second >", "hints >")
    for one in picture.queues:
        table.add_row(
            one.name,
            f"{one.waiting:,}",
            f"{one.later:,}",
            "" if one.oldest_seconds is None else span(one.oldest_seconds),
            _flow(one.entering),
            _flow(one.leaving) if picture.redis else "?",
            "?" if one.hints is None else f"{one.hints:,}",
        )
    return table


def _put_off(picture: Picture) -> list[Text]:
    """Why some of what is pending was put off."""
    said = []
    if picture.held_back:
        said.append(f"{picture.held_back:,} wait until they may go to their domain")
    if picture.retries:
        said.append(f"{picture.retries:,} wait for another attempt")
    if picture.retries and picture.next_retry:
        left = (picture.next_retry - picture.at).total_seconds()
        said[-1] += f", the next one due {'now' if left <= 0 else f'in {span(left)}'}"
    return [Text(f"Of these, {'; '.join(said)}.")] if said else []


def _workers(picture: Picture) -> RenderableType:
    table = _table("worker", "queues", "busy >", "up >", "last task")
    now = picture.at.timestamp()
    for one in picture.workers:
        last = max(one.consumed.items(), key=lambda item: item[1], default=None)
        table.add_row(
            _short(one.name),
            _short(", ".join(one.queues)),
            str(one.busy),
            span(now - one.since),
            f"{last[0]}, {span(now - last[1])} ago" if last else "none yet",
        )
    return table


def _lines(what: str, lines: Sequence[Line], now: datetime) -> RenderableType:
    if not lines:
        return Text(f"Nothing went to any {what} lately.")
    table = _table(what, "rate >", "limit >", "deferred >", "waiting >", "state", "why")
    for one in lines:
        until = (
            f" for {span((one.until - now).total_seconds())}" if one.until and one.until.year < 9000 else ""
        )
        limit = f"{one.limit:,.3g}/s" if one.limit else ""
        if one.warm_up:
            limit += f" {one.warm_up[0]:,} of {one.warm_up[1]:,} today"
        table.add_row(
            _short(one.name),
            "?" if one.rate is None else _flow(one.rate),
            limit.strip(),
            "?" if one.deferred is None else _flow(one.deferred),
            f"{one.waiting:,}" if one.waiting else "",
            Text(one.state + until, style=_COLOURS[one.state]),
            _short(one.reason),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, right, _ = column.partition(" >")
        # Where room is scarce, names and reasons are shortened, never figures.
        table.add_column(name, justify="right" if right else "left", no_wrap=name not in _SHORTENED)
    table.title = None
    return table


def _short(said: str) -> Text:
    return Text(said, overflow="ellipsis", no_wrap=True)


def _flow(rate: float | None) -> str:
    if rate is None:
        return "…"
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"
