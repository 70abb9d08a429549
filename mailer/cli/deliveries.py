"""mailer deliveries …: which deliveries are in a state, and settling the uncertain ones."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

from mailer.bootstrap import Mailer
from mailer.cli.errors import Misuse
from mailer.cli.issues import By, Json, Number, whoever
from mailer.cli.readers import keys_of
from mailer.cli.screen import console
from mailer.domain.settling import Settlement
from mailer.domain.states import DeliveryState
from mailer.services import settle as settling
from mailer.services.settle import Listed

app = typer.Typer(no_args_is_help=True, help="Single deliveries: list them, settle the uncertain ones.")

_SHOWN = 20
_SAID = 20
"""Characters of what the relay said that are shown on the narrowest terminal."""


@app.command("list")
def list_(
    issue: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Only of this issue.")] = None,
    state: Annotated[DeliveryState, typer.Option(help="Which ones.")] = DeliveryState.uncertain,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = 100,
    as_json: Json = False,
) -> None:
    """Deliveries in a state, the newest issue first: those that are uncertain, or others."""
    with Mailer() as parts:
        total, rows = settling.listed(parts.database, state, issue, limit or None)
    if as_json:
        shown = {"state": state.value, "total": total, "deliveries": [row._asdict() for row in rows]}
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        print(f"No delivery is {state.value}.")
        return
    _print(rows)
    if total > len(rows):
        print(f"… and {total - len(rows):,} more; all with --limit 0.")
    if state is DeliveryState.uncertain:
        print(
            "When you know more, settle them: "
            f"mailer deliveries settle {rows[0].issue} ADDRESS… --as sent, --as failed or --as again"
        )
    if state is DeliveryState.failed:
        print(f"Try them again with: mailer issue retry {rows[0].issue}")


def _print(rows: Sequence[Listed]) -> None:
    names = ("issue", "address", "since", "attempts", "said")
    shown = []
    for row in rows:
        attempts = f"{row.attempts} ({row.resends}× once more)" if row.resends else str(row.attempts)
        said = (row.reason or row.reply or "").replace("_", " ") if row.reason else row.reply or ""
        address = row.address or f"(erased, subscriber {row.subscriber})"
        shown.append(
            (f"{row.issue}  {row.number}", address, f"{row.since:%Y-%m-%d %H:%M:%S}", attempts, said)
        )
    # Addresses are copied from here: what was said is shortened, and if that is not enough, rows run on.
    widths = [max(map(cell_len, column)) for column in zip(names, *shown, strict=True)]
    least = sum(widths[:-1]) + min(widths[-1], _SAID) + 3 * len(names) + 1
    table = Table(*(Column(name, no_wrap=name != "said") for name in names))
    for *cells, said in shown:
        table.add_row(*cells, Text(said, no_wrap=True, overflow="ellipsis"))
    console(least).print(table)


@app.command("settle")
def settle(
    issue: Number,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS…", help="Whose delivery is uncertain.")
    ] = None,
    settlement: Annotated[
        Settlement,
        typer.Option(
            "--as",
            help="What became of it: it was sent, it failed, or unknown, so that it is sent again; the reader "
            "may then get it twice.",
        ),
    ] = ...,  # type: ignore[assignment]
    everything: Annotated[bool, typer.Option("--all", help="All that are uncertain in the issue.")] = False,
    why: Annotated[str, typer.Option(help="How you know; stands in the issue's log and in the ledger.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = "",
) -> None:
    """Say what became of deliveries whose outcome nobody saw."""
    if bool(addresses) is everything:
        raise Misuse("Say whose delivery: give addresses, or --all.")
    keys = dict(zip(addresses or [], keys_of(addresses or []), strict=True))
    with Mailer() as parts:
        wanted = None if everything else {one: parts.tokens.address_hash(key) for one, key in keys.items()}
        rows = settling.look(parts.database, issue, wanted)
        if not rows:
            print(f"No delivery of issue {issue} is uncertain.")
            return
        if dry_run or (everything and not yes):
            _print(rows[:_SHOWN])
            if len(rows) > _SHOWN:
                print(f"… and {len(rows) - _SHOWN:,} more.")
        if dry_run:
            print("Nothing was done.")
            return
        how = (
            "Send all of them once more" if settlement is Settlement.again else f"Settle all as {settlement}"
        )
        if everything and not yes and not typer.confirm(f"{how}, {len(rows):,} in all?"):
            print("Nothing was done.")
            return
        subscribers = [row.subscriber for row in rows]
        now = datetime.now(UTC)
        done = settling.settle(parts.database, issue, subscribers, settlement, by or whoever(), why, now)
    if settlement is Settlement.again:
        print(f"{done:,} to be sent once more, with the same Message-ID. Follow: mailer issue status {issue}")
    else:
        print(f"{done:,} settled as {settlement}.")
