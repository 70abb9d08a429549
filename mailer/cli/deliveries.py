"""The command ``mailer deliveries``: list deliveries and resolve uncertain ones."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError
from mailer.cli.options import Actor, IssueId, JsonOption, current_user
from mailer.cli.subscribers import normalized_addresses
from mailer.domain.plurals import format_count
from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState

if TYPE_CHECKING:
    from mailer.services.delivery.resolve import DeliveryListItem

commands = typer.Typer(no_args_is_help=True, help="List deliveries and resolve uncertain ones.")

_PREVIEW_ROWS = 20
_MIN_DETAIL_COLUMNS = 20
"""Columns kept for the relay's reply on the narrowest terminal."""


@commands.command("list")
def list_(
    issue: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Only deliveries of this issue.")] = None,
    state: Annotated[DeliveryState, typer.Option(help="State to list.")] = DeliveryState.uncertain,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of rows; 0 for all.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List deliveries in a state (by default, uncertain ones), newest issue first."""
    from mailer.services.delivery import resolve as resolve_service

    with Container() as app:
        total, rows = resolve_service.list_deliveries(app.database, state, issue, limit or None)
    if as_json:
        listing = {"state": state.value, "total": total, "deliveries": [row._asdict() for row in rows]}
        print(json.dumps(listing, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        print(f"No delivery is {state.value}.")
        return
    _print_deliveries(rows)
    if total > len(rows):
        print(f"… and {total - len(rows):,} more; list all with --limit 0.")
    if state is DeliveryState.uncertain:
        print(
            "Resolve them with: "
            f"mailer deliveries resolve {rows[0].issue} ADDRESS… --as sent, --as failed or --as resend"
        )
    if state is DeliveryState.failed:
        print(f"Retry them with: mailer issue retry {rows[0].issue}")


@commands.command("unrecognized")
def unrecognized(
    mail: Annotated[int | None, typer.Argument(min=1, help="Id of a mail to print.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of rows.")] = 100,
) -> None:
    """List mails to return paths that are neither bounces nor automatic replies, or print one of them."""
    from mailer.services.feedback import bounces

    with Container() as app:
        if mail is not None:
            print(bounces.read_unrecognized(app.database, mail).text)
            return
        mails = bounces.list_unrecognized(app.database, limit)
    if not mails:
        print("Every mail to a return path was recognized.")
    for kept in mails:
        subject = next((line for line in kept.text.splitlines() if line.lower().startswith("subject:")), "")
        print(f"{kept.id}  issue {kept.issue}  {kept.at:%Y-%m-%d %H:%M} UTC  {subject[:80]}".rstrip())


def _print_deliveries(rows: "Sequence[DeliveryListItem]") -> None:
    from rich.cells import cell_len
    from rich.table import Column, Table
    from rich.text import Text

    from mailer.domain.labels import SKIP_REASON_LABELS, describe_resolution

    names = ("issue", "address", "since", "attempts", "detail")
    lines = []
    for row in rows:
        resends = f" ({format_count(row.resends, 'resend')})" if row.resends else ""
        detail = row.last_reply or ""
        if row.skip_reason:
            detail = SKIP_REASON_LABELS[row.skip_reason]
        elif row.resolution and row.resolution_source:
            resolved = row.resolution, row.resolution_source, row.resolved_by, row.resolution_note
            detail = "; before: ".join(filter(None, (describe_resolution(*resolved), detail)))
        address = row.address or f"(erased, subscriber {row.subscriber})"
        lines.append(
            (
                f"{row.issue}  {row.number}",
                address,
                f"{row.since:%Y-%m-%d %H:%M:%S}",
                f"{row.attempts}{resends}",
                detail,
            )
        )
    # People copy addresses from this table, so only the detail column is shortened.
    widths = [max(map(cell_len, column)) for column in zip(names, *lines, strict=True)]
    min_width = sum(widths[:-1]) + min(widths[-1], _MIN_DETAIL_COLUMNS) + 3 * len(names) + 1
    table = Table(*(Column(name, no_wrap=name != "detail") for name in names))
    for *cells, detail in lines:
        table.add_row(*cells, Text(detail, no_wrap=True, overflow="ellipsis"))
    make_console(min_width).print(table)


@commands.command("resolve")
def resolve(
    issue: IssueId,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS…", help="Addresses of uncertain deliveries.")
    ] = None,
    resolution: Annotated[
        Resolution,
        typer.Option(
            "--as",
            metavar="[sent|failed|resend]",
            help="Outcome: sent, failed, or resend. With resend, the reader may get the email twice.",
        ),
    ] = ...,  # type: ignore[assignment]
    all_uncertain: Annotated[
        bool, typer.Option("--all", help="Resolve every uncertain delivery of the issue.")
    ] = False,
    why: Annotated[str, typer.Option(help="How you know; kept in the issue's log and in the ledger.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the deliveries.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Resolve deliveries whose outcome is unknown."""
    from mailer.services.delivery import resolve as resolve_service

    if resolution is Resolution.retry:
        raise UsageError("Retry failed deliveries with: mailer issue retry.")
    if bool(addresses) is all_uncertain:
        raise UsageError("Give addresses or --all, not both.")
    keys = dict(zip(addresses or [], normalized_addresses(addresses or []), strict=True))
    with Container() as app:
        hashes = None if all_uncertain else {address: app.tokens.address_hash(key) for address, key in keys.items()}
        rows = resolve_service.preview(app.database, issue, hashes)
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
        deliveries = format_count(len(rows), "delivery", "deliveries")
        question = (
            f"Resend {deliveries}?" if resolution is Resolution.resend else f"Resolve {deliveries} as {resolution}?"
        )
        if all_uncertain and not yes and not typer.confirm(question):
            print("Nothing was done.")
            return
        subscribers = [row.subscriber for row in rows]
        now = datetime.now(UTC)
        count = resolve_service.resolve(app.database, issue, subscribers, resolution, actor or current_user(), why, now)
    if resolution is Resolution.resend:
        print(
            f"{format_count(count, 'delivery', 'deliveries')} will be sent again with the same Message-ID. "
            f"Follow it with: mailer issue status {issue}"
        )
    else:
        print(f"{format_count(count, 'delivery', 'deliveries')} resolved as {resolution}.")
