"""mailer subscribers … and mailer suppress"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError, describe
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.services.feedback import bounces
from mailer.services.maintenance import retention
from mailer.services.subscribers import csv_import, personal_data
from mailer.store.database import DatabaseDown

_NO_DATA = "Nothing is held about this address."
_MAX_INBOUND_BYTES = 1 << 20
"""Bytes of a mail that came back that are looked at: what counts stands at its beginning."""

commands = typer.Typer(no_args_is_help=True, help="Readers of a newsletter.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with the columns address, name, languages, sections, …")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected lines go; NAME.rejects.csv without it.")
    ] = None,
) -> None:
    """Take readers in from a CSV file. A second run adds nothing; who is in keeps what they chose."""
    bar = Progress(
        TextColumn("{task.fields[lines]:,} lines"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with Container() as parts, bar:
        task = bar.add_task("", total=None, lines=0)

        def show(at: csv_import.Progress) -> None:
            bar.update(task, total=max(at.bytes_total, 1), completed=at.bytes_read, lines=at.lines)

        report = csv_import.import_subscribers(
            parts.database,
            file,
            newsletter,
            rejects_path=rejects,
            hmac_pads=parts.tokens.hmac_pads(),
            now=datetime.now(UTC),
            on_progress=show,
        )
    print(
        f"{report.lines:,} lines: {report.added:,} added, {report.known:,} known already, "
        f"{report.suppressed:,} suppressed, {report.rejected:,} rejected; {report.seconds:.1f} s."
    )
    if report.rejects_path:
        print(f"The rejected lines, each with its reason: {report.rejects_path}")


def normalized_addresses(addresses: list[str]) -> list[str]:
    """The keys of addresses as somebody typed them. Raises Misuse."""
    keys = []
    for address in addresses:
        try:
            keys.append(read_address(address)[1])
        except InvalidValue as error:
            raise UsageError(f"{describe(error)} Nothing was done.") from None
    return keys


@commands.command("unsubscribe")
def unsubscribe(
    addresses: Annotated[list[str], typer.Argument(help="Addresses of people who asked for it.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
) -> None:
    """End subscriptions for people who asked by telephone or letter; takes effect on queued mail too."""
    keys = normalized_addresses(addresses)
    with Container() as parts:
        hashes = [parts.tokens.address_hash(key) for key in keys]
        ended = bounces.unsubscribe(parts.database, newsletter, hashes, datetime.now(UTC))
    print(f"{ended} of {len(keys)} were subscribed and are not any more.")


@commands.command("show")
def show(address: Annotated[str, typer.Argument(help="Whose subscriptions.")]) -> None:
    """Tell in short how somebody stands to each newsletter, what they agreed to and what they got last."""
    (key,) = normalized_addresses([address])
    with Container() as parts:
        sentences = personal_data.summarize(
            personal_data.export(parts.database, parts.tokens.address_hash(key))
        )
    print("\n".join(sentences) or _NO_DATA)


@commands.command("export")
def export(
    address: Annotated[str, typer.Argument(help="Whose data.")],
    json: Annotated[bool, typer.Option("--json", help="For a machine, to be handed on as a file.")] = False,
) -> None:
    """Print everything that is held about a person, from every table."""
    (key,) = normalized_addresses([address])
    with Container() as parts:
        held = personal_data.export(parts.database, parts.tokens.address_hash(key))
    if json:
        print(personal_data.to_json(held))
        return
    for table, rows in held.items():
        for row in rows:
            print(f"{table}:")
            for name, value in row.items():
                if value not in (None, "", [], {}):
                    print(f"  {name}: {value}")
    if not any(held.values()):
        print(_NO_DATA)


@commands.command("erase")
def erase(
    address: Annotated[str, typer.Argument(help="Of a person who asked for it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a person from every table; a keyed hash stays, so that no list brings them back."""
    (key,) = normalized_addresses([address])
    if not yes:
        typer.confirm("Erase everything that is held about this person, for good?", abort=True)
    with Container() as parts:
        done = personal_data.erase(parts.database, parts.tokens.address_hash(key), datetime.now(UTC))
    subscriptions = "1 subscription" if done.subscriptions == 1 else f"{done.subscriptions} subscriptions"
    print(f"Erased, with {subscriptions}." if done.known else _NO_DATA)


def receive(
    recipient: Annotated[
        str, typer.Argument(help="The address that the mail came to: bounce+…@ or unsubscribe+…@")
    ],
) -> None:
    """Take in a mail that came back, from standard input: a bounce, or a request to unsubscribe.

    For a mail server's pipe: exit status 75 asks it to try again later.
    """
    message = sys.stdin.buffer.read(_MAX_INBOUND_BYTES)
    while sys.stdin.buffer.read(1 << 16):
        pass  # a pipe that is closed early would bounce the mail
    try:
        with Container() as parts:
            print(bounces.receive(parts.database, parts.urls, recipient, message, datetime.now(UTC)))
    except DatabaseDown as error:
        print(error, file=sys.stderr)
        raise typer.Exit(75) from None


def run_retention(
    report: Annotated[bool, typer.Option("--report", help="Only show what the last sweeps let go.")] = False,
) -> None:
    """Let go of what has been kept long enough, now. Workers do it by themselves once a day."""
    with Container() as parts:
        if not report:
            retention.run(parts.database, parts.retention_policy, datetime.now(UTC))
        reports = retention.list_runs(parts.database, 30 if report else 1)
        if not reports:
            print("There was no sweep yet; workers do one every night, and `mailer retention` does it now.")
        for at, removed in reports:
            counts = ", ".join(f"{count:,} {what}" for what, count in removed.items()) or "not finished"
            print(f"{at:%Y-%m-%d %H:%M} UTC: {counts}")


def suppress(
    addresses: Annotated[list[str], typer.Argument(help="Addresses that must not be mailed.")],
    reason: Annotated[str, typer.Option(help="Why; stands in the record.")] = "by hand",
    lift: Annotated[bool, typer.Option("--lift", help="Take it back; this subscribes nobody.")] = False,
) -> None:
    """Never mail these addresses again, also mail that is already queued."""
    keys = normalized_addresses(addresses)
    with Container() as parts:
        if lift:
            done = bounces.lift_suppressions(parts.database, [parts.tokens.address_hash(key) for key in keys])
            print(f"{done} of {len(keys)} addresses were suppressed and are not any more.")
            return
        new = bounces.suppress(parts.database, [parts.tokens.address_hash(key) for key in keys], reason)
    print(f"{new} of {len(keys)} addresses are newly suppressed.")
