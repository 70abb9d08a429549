"""The commands ``mailer subscribers``, ``suppress``, ``receive`` and ``retention``."""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.console import format_count
from mailer.cli.errors import UsageError, describe
from mailer.domain.errors import DatabaseDown
from mailer.domain.suppressions import SuppressionReason

_NO_DATA = "No data is stored about this address."

commands = typer.Typer(no_args_is_help=True, help="Import readers, unsubscribe them, and export or erase their data.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns address, name, languages, sections, …")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
    rejects: Annotated[Path | None, typer.Option(help="File for rejected lines. Default: NAME.rejects.csv.")] = None,
) -> None:
    """Import readers from CSV. Safe to repeat: existing readers keep their preferences."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from mailer.services.subscribers import csv_import

    bar = Progress(
        TextColumn("{task.fields[lines]:,} lines"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with Container() as app, bar:
        task = bar.add_task("", total=None, lines=0)

        def show(at: csv_import.Progress) -> None:
            bar.update(task, total=max(at.bytes_total, 1), completed=at.bytes_read, lines=at.lines)

        started = app.clock.monotonic()
        report = csv_import.import_subscribers(
            app.database,
            file,
            newsletter,
            rejects_path=rejects,
            hmac_pads=app.tokens.hmac_pads(),
            now=datetime.now(UTC),
            on_progress=show,
        )
        seconds = app.clock.monotonic() - started
    print(
        f"{format_count(report.lines, 'line')}: {report.added:,} added, {report.known:,} already known, "
        f"{report.suppressed:,} suppressed, {report.rejected:,} rejected; {seconds:.1f} s."
    )
    if report.rejects_path:
        print(f"Rejected lines with their reasons: {report.rejects_path}")


def normalized_addresses(addresses: list[str]) -> list[str]:
    """Return the normalized form of each address. Raises UsageError for an invalid one."""
    from mailer.domain.subscriber_fields import InvalidValue, read_address

    keys = []
    for address in addresses:
        try:
            keys.append(read_address(address)[1])
        except InvalidValue as error:
            raise UsageError(f"{describe(error)} Nothing was done.") from None
    return keys


@commands.command("unsubscribe")
def unsubscribe(
    addresses: Annotated[list[str], typer.Argument(help="Addresses to unsubscribe.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
) -> None:
    """Unsubscribe people who asked by telephone or letter. Also stops queued mail."""
    from mailer.services.feedback import bounces
    from mailer.services.subscribers.in_flight import wait_for_addresses

    keys = normalized_addresses(addresses)
    with Container() as app:
        hashes = [app.tokens.address_hash(key) for key in keys]
        unsubscribed = bounces.unsubscribe(app.database, newsletter, hashes, datetime.now(UTC))
        in_flight = wait_for_addresses(app.database, hashes)
    total = format_count(len(keys), "address", "addresses")
    print(f"Unsubscribed {unsubscribed:,} of {total}.{_in_flight_sentence(in_flight)}")


def _in_flight_sentence(count: int) -> str:
    """Return the sentence about mail that could not be stopped any more; empty if there is none."""
    addresses = format_count(count, "address", "addresses")
    return f" Mail to {addresses} is just being delivered and may still arrive." if count else ""


@commands.command("show")
def show(address: Annotated[str, typer.Argument(help="The person's address.")]) -> None:
    """Summarise a person's subscriptions, consents and latest issues."""
    from mailer.services.subscribers import personal_data

    (key,) = normalized_addresses([address])
    with Container() as app:
        sentences = personal_data.summarize(personal_data.export(app.database, app.tokens.address_hash(key)))
    print("\n".join(sentences) or _NO_DATA)


@commands.command("export")
def export(
    address: Annotated[str, typer.Argument(help="The person's address.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print all stored data about a person, from every table."""
    from mailer.services.subscribers import personal_data

    (key,) = normalized_addresses([address])
    with Container() as app:
        tables = personal_data.export(app.database, app.tokens.address_hash(key))
    if json:
        print(personal_data.to_json(tables))
        return
    for table, rows in tables.items():
        for row in rows:
            print(f"{table}:")
            for name, value in row.items():
                if value not in (None, "", [], {}):
                    print(f"  {name}: {value}")
    if not any(tables.values()):
        print(_NO_DATA)


@commands.command("erase")
def erase(
    address: Annotated[str, typer.Argument(help="The person's address.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a person from every table. A keyed hash stays and blocks a later import."""
    from mailer.services.subscribers import personal_data

    (key,) = normalized_addresses([address])
    if not yes:
        typer.confirm("Permanently erase all data about this person?", abort=True)
    with Container() as app:
        result = personal_data.erase(app.database, app.tokens.address_hash(key), datetime.now(UTC))
    subscriptions = format_count(result.subscriptions, "subscription")
    print(f"Erased, with {subscriptions}." if result.known else _NO_DATA)


def receive(
    recipient: Annotated[str, typer.Argument(help="Recipient of the mail: bounce+…@ or unsubscribe+…@")],
) -> None:
    """Process an inbound bounce or unsubscribe mail from standard input.

    Meant for a mail server's pipe. Exit status 75 (EX_TEMPFAIL) asks it to try again later.
    """
    from mailer.domain.dsn import MAX_READ_BYTES
    from mailer.services.feedback import bounces
    from mailer.services.subscribers.in_flight import wait_for_mail_in_flight

    message = sys.stdin.buffer.read(MAX_READ_BYTES)
    while sys.stdin.buffer.read(1 << 16):
        pass  # the mail server would bounce the mail if the pipe closed early
    try:
        with Container() as app:
            wait = partial(wait_for_mail_in_flight, app.database)
            print(bounces.receive(app.database, app.urls, recipient, message, datetime.now(UTC), wait))
    except DatabaseDown as error:
        print(error, file=sys.stderr)
        raise typer.Exit(75) from None


def run_retention(
    report: Annotated[bool, typer.Option("--report", help="Only list the last runs.")] = False,
) -> None:
    """Delete data past its retention period now. Workers also do this daily."""
    from mailer.services.maintenance import retention

    with Container() as app:
        if not report:
            retention.run(app.database, app.retention_policy, datetime.now(UTC))
        reports = retention.list_runs(app.database, 30 if report else 1)
        if not reports:
            print("No run yet. Workers do one every day; `mailer retention` does one now.")
        for at, deleted in reports:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in deleted.items()) or "not finished"
            print(f"{at:%Y-%m-%d %H:%M} UTC: {counts}")


def suppress(
    addresses: Annotated[list[str], typer.Argument(help="Addresses to suppress.")],
    reason: Annotated[SuppressionReason, typer.Option(help="Why.")] = SuppressionReason.manual,
    note: Annotated[str, typer.Option(help="Kept with the suppression; give no personal data.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Remove the suppression (does not resubscribe).")] = False,
) -> None:
    """Suppress addresses: never mail them again, and stop queued mail to them.

    A new sign-up does not lift this; only --lift does.
    """
    from mailer.services.feedback import bounces
    from mailer.services.subscribers.in_flight import wait_for_addresses

    keys = normalized_addresses(addresses)
    total = format_count(len(keys), "address", "addresses")
    with Container() as app:
        hashes = [app.tokens.address_hash(key) for key in keys]
        if lift:
            lifted = bounces.lift_suppressions(app.database, hashes)
            print(f"Lifted the suppression of {lifted:,} of {total}.")
            return
        added = bounces.suppress(app.database, hashes, reason, note)
        in_flight = wait_for_addresses(app.database, hashes)
    print(f"Suppressed {added:,} of {total}.{_in_flight_sentence(in_flight)}")
