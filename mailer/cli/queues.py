"""The command ``mailer queues``: watch queues, suspend or resume a relay or receiving domain, drain a worker."""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError
from mailer.cli.options import Actor, current_user

if TYPE_CHECKING:
    from rich.console import Console

    from mailer.domain.queue_status import QueueSnapshot

commands = typer.Typer(help="Watch queues; suspend or resume a relay or domain; drain a worker.")

EndpointName = Annotated[str, typer.Argument(help="A relay, a provider such as Gmail, or a receiving domain.")]
_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@commands.callback(invoke_without_command=True)
def queues(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON once, measured over one second.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
) -> None:
    """Show queues, workers, relays and receiving domains live. Stop with Ctrl-C."""
    if context.invoked_subcommand:
        return
    from mailer.cli.queue_tables import render
    from mailer.services.delivery import monitor

    with Container() as app:

        def take_snapshot(previous: "QueueSnapshot | None" = None) -> "QueueSnapshot":
            return monitor.snapshot(
                app.database, app.metrics, app.relay_routes, app.providers, datetime.now(UTC), previous
            )

        console = make_console()
        if as_json or once or not sys.stdout.isatty():
            first = take_snapshot()
            time.sleep(1)
            snapshot = take_snapshot(first)
            if as_json:
                print(json.dumps(_snapshot_dict(snapshot), ensure_ascii=False, indent=2, default=str))
            else:
                console.print(render(snapshot))
            return
        _monitor(console, take_snapshot)


def _monitor(screen: "Console", take_snapshot: "Callable[[QueueSnapshot | None], QueueSnapshot]") -> None:
    from rich.live import Live

    from mailer.cli.queue_tables import render

    snapshot = take_snapshot(None)
    with Live(render(snapshot, screen), console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(1)
                snapshot = take_snapshot(snapshot)
                live.update(render(snapshot, screen), refresh=True)
        except KeyboardInterrupt:
            return


@commands.command("suspend")
def suspend(
    name: EndpointName,
    duration: Annotated[
        str, typer.Option("--for", help="Duration, such as 30m, 2h or 1d. Default: until resumed.")
    ] = "",
    why: Annotated[
        str,
        typer.Option(help="Reason, shown in the list. Default: the reason of the previous suspension."),
    ] = "",
) -> None:
    """Suspend a relay, provider or domain. Its mail waits; all other mail is sent."""
    from mailer.domain.throttling import EndpointState
    from mailer.services.delivery import monitor

    now, until = datetime.now(UTC), None
    if duration:
        match = re.fullmatch(r"(\d{1,4})([mhd])", duration)
        if not match or not int(match[1]):
            raise UsageError(f"“{duration}” is not a duration such as 30m, 2h or 1d.")
        until = now + timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])
    with Container() as app:
        result = monitor.suspend(app.database, app.relay_routes, app.providers, name, until, why, now)
    end = f" until {until:%d %B %Y at %H:%M} UTC" if until else ""
    print(f"The {result.scope.value} {result.name} is suspended{end}.")
    if not until:
        print(f"Resume it with: mailer queues resume {result.name!r}")
    if result.previous_state is EndpointState.suspended:
        print("It was already suspended. This replaces the earlier suspension.")
    if not result.has_subscribers:
        print(f"No reader has an address at {result.name}. Is it spelled correctly?")


@commands.command("resume")
def resume(name: EndpointName) -> None:
    """Resume a relay, provider or domain at full rate, whatever stopped or slowed it."""
    from mailer.domain.throttling import EndpointState
    from mailer.services.delivery import monitor

    with Container() as app:
        result = monitor.resume(app.database, app.relay_routes, app.providers, name, datetime.now(UTC))
    change = "was not suspended or slowed" if result.previous_state is EndpointState.closed else "is resumed"
    print(f"The {result.scope.value} {result.name} {change}.")


@commands.command("drain")
def drain(
    name: Annotated[str, typer.Argument(help="A worker, such as send@mail-1, or a host: all its workers.")],
    why: Annotated[str, typer.Option(help="Reason, shown in the list.")] = "",
    release: Annotated[bool, typer.Option("--release", help="Let it take tasks again.")] = False,
    actor: Actor = "",
) -> None:
    """Drain a worker: it finishes its tasks and takes no more, also after a restart, until it is released."""
    from mailer.services.delivery import worker_orders

    with Container() as app:
        if release:
            ordered = worker_orders.release(app.database, name)
        else:
            ordered = worker_orders.drain(app.database, name, actor or current_user(), why, datetime.now(UTC))
        running = worker_orders.count_running(app.metrics, name)
    if release:
        print(f"{name} takes tasks again." if ordered else f"{name} was not drained.")
        return
    print(f"{name} {'is' if ordered else 'was already'} drained. Release it with: mailer queues drain --release {name}")
    if not running:
        print(f"No running worker is named {name}, nor is its host. Is it spelled correctly?")


def _snapshot_dict(snapshot: "QueueSnapshot") -> dict[str, Any]:
    fields = asdict(snapshot)
    del fields["depths"]
    for issue in fields["issues"]:
        counts = issue["counts"]
        counts["pending"] = counts["candidates"] - sum(
            counts[name] for name in ("sent", "failed", "skipped", "uncertain")
        )
    return fields
