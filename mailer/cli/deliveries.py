"""mailer deliveries …: which deliveries are in a state, and settling the uncertain ones."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError
from mailer.cli.issues import Actor, IssueId, JsonOption, current_user
from mailer.cli.subscribers import normalized_addresses
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState
from mailer.services.delivery import resolve as resolve_service
from mailer.services.delivery.resolve import DeliveryListItem

commands = typer.Typer(no_args_is_help=True, help="Single deliveries: list them, settle the uncertain ones.")

_PREVIEW_ROWS = 20
_MIN_REPLY_COLUMNS = 20
"""Characters of what the relay said that are shown on the narrowest terminal."""


@commands.command("list")
def list_(
    issue: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Only of this issue.")] = None,
    state: Annotated[DeliveryState, typer.Option(help="Which ones.")] = DeliveryState.uncertain,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Deliveries in a state, the newest issue first: those that are uncertain, or others."""
    with Container() as parts:
        total, rows = resolve_service.list_deliveries(parts.database, state, issue, limit or None)
    if as_json:
        shown = {"state": state.value, "total": total, "deliveries": [row._asdict() for row in rows]}
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        print(f"No delivery is {state.value}.")
        return
    _print_deliveries(rows)
    if total > len(rows):
        print(f"… and {total - len(rows):,} more; all with --limit 0.")
    if state is DeliveryState.uncertain:
        print(
            "When you know more, settle them: "
            f"mailer deliveries resolve {rows[0].issue} ADDRESS… --as sent, --as failed or --as resend"
        )
    if state is DeliveryState.failed:
        print(f"Try them again with: mailer issue retry {rows[0].issue}")


def _print_deliveries(rows: Sequence[DeliveryListItem]) -> None:
    names = ("issue", "address", "since", "attempts", "said")
    shown = []
    for row in rows:
        attempts = f"{row.attempts} ({row.resends}× once more)" if row.resends else str(row.attempts)
        said = (
            (row.skip_reason or row.last_reply or "").replace("_", " ")
            if row.skip_reason
            else row.last_reply or ""
        )
        address = row.address or f"(erased, subscriber {row.subscriber})"
        shown.append(
            (f"{row.issue}  {row.number}", address, f"{row.since:%Y-%m-%d %H:%M:%S}", attempts, said)
        )
    # Addresses are copied from here: what was said is shortened, and if that is not enough, rows run on.
    widths = [max(map(cell_len, column)) for column in zip(names, *shown, strict=True)]
    least = sum(widths[:-1]) + min(widths[-1], _MIN_REPLY_COLUMNS) + 3 * len(names) + 1
    table = Table(*(Column(name, no_wrap=name != "said") for name in names))
    for *cells, said in shown:
        table.add_row(*cells, Text(said, no_wrap=True, overflow="ellipsis"))
    make_console(least).print(table)


@commands.command("resolve")
def resolve(
    issue: IssueId,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS…", help="Whose delivery is uncertain.")
    ] = None,
    resolution: Annotated[
        Resolution,
        typer.Option(
            "--as",
            help="What became of it: it was sent, it failed, or unknown, so that it is sent again; the reader "
            "may then get it twice.",
        ),
    ] = ...,  # type: ignore[assignment]
    all_uncertain: Annotated[
        bool, typer.Option("--all", help="All that are uncertain in the issue.")
    ] = False,
    why: Annotated[str, typer.Option(help="How you know; stands in the issue's log and in the ledger.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Say what became of deliveries whose outcome nobody saw."""
    if bool(addresses) is all_uncertain:
        raise UsageError("Say whose delivery: give addresses, or --all.")
    keys = dict(zip(addresses or [], normalized_addresses(addresses or []), strict=True))
    with Container() as parts:
        wanted = None if all_uncertain else {one: parts.tokens.address_hash(key) for one, key in keys.items()}
        rows = resolve_service.preview(parts.database, issue, wanted)
        if not rows:
            print(f"No delivery of issue {issue} is uncertain.")
            return
        if dry_run or (all_uncertain and not yes):
            _print_deliveries(rows[:_PREVIEW_ROWS])
            if len(rows) > _PREVIEW_ROWS:
                print(f"… and {len(rows) - _PREVIEW_ROWS:,} more.")
        if dry_run:
            print("Nothing was done.")
            return
        how = (
            "Send all of them once more" if resolution is Resolution.resend else f"Settle all as {resolution}"
        )
        if all_uncertain and not yes and not typer.confirm(f"{how}, {len(rows):,} in all?"):
            print("Nothing was done.")
            return
        subscribers = [row.subscriber for row in rows]
        now = datetime.now(UTC)
        done = resolve_service.resolve(
            parts.database, issue, subscribers, resolution, actor or current_user(), why, now
        )
    if resolution is Resolution.resend:
        print(f"{done:,} to be sent once more, with the same Message-ID. Follow: mailer issue status {issue}")
    else:
        print(f"{done:,} settled as {resolution}.")
