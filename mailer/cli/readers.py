"""mailer subscribers … and mailer suppress"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mailer.bootstrap import Mailer
from mailer.cli.errors import Misuse
from mailer.domain.subscribers import Unfit, read_address
from mailer.services import feedback, subscribers

app = typer.Typer(no_args_is_help=True, help="Readers of a newsletter.")


@app.command("import")
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
    with Mailer() as parts, bar:
        task = bar.add_task("", total=None, lines=0)

        def show(at: subscribers.Progress) -> None:
            bar.update(task, total=max(at.bytes_all, 1), completed=at.bytes_read, lines=at.lines)

        report = subscribers.import_subscribers(
            parts.database,
            file,
            newsletter,
            rejects_path=rejects,
            pads=parts.tokens.address_pads(),
            now=datetime.now(UTC),
            on_progress=show,
        )
    print(
        f"{report.lines:,} lines: {report.added:,} added, {report.known:,} known already, "
        f"{report.suppressed:,} suppressed, {report.rejected:,} rejected; {report.seconds:.1f} s."
    )
    if report.rejects:
        print(f"The rejected lines, each with its reason: {report.rejects}")


def _keys(addresses: list[str]) -> list[str]:
    keys = []
    for address in addresses:
        try:
            keys.append(read_address(address)[1])
        except Unfit as error:
            raise Misuse(f"{error}. Nothing was done.") from None
    return keys


@app.command("unsubscribe")
def unsubscribe(
    addresses: Annotated[list[str], typer.Argument(help="Addresses of people who asked for it.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
) -> None:
    """End subscriptions for people who asked by telephone or letter; takes effect on queued mail too."""
    keys = _keys(addresses)
    with Mailer() as parts:
        hashes = [parts.tokens.address_hash(key) for key in keys]
        ended = feedback.unsubscribe(parts.database, newsletter, hashes, datetime.now(UTC))
    print(f"{ended} of {len(keys)} were subscribed and are not any more.")


def suppress(
    addresses: Annotated[list[str], typer.Argument(help="Addresses that must not be mailed.")],
    reason: Annotated[str, typer.Option(help="Why; stands in the record.")] = "by hand",
) -> None:
    """Never mail these addresses again, also mail that is already queued."""
    keys = _keys(addresses)
    with Mailer() as parts:
        new = feedback.suppress(parts.database, [parts.tokens.address_hash(key) for key in keys], reason)
    print(f"{new} of {len(keys)} addresses are newly suppressed.")

