"""The commands ``mailer subscribers``, ``suppress``, ``receive`` and ``retention``."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError, describe
from mailer.domain.errors import DatabaseDown
from mailer.domain.plurals import format_count
from mailer.domain.states import Frequency, ListedState
from mailer.domain.suppressions import SuppressionReason

if TYPE_CHECKING:
    from mailer.domain.section_parser import SectionParser
    from mailer.services.subscribers.listing import ListedSubscriber
    from mailer.services.subscribers.staff_changes import Difference

_NO_DATA = "No data is stored about this address."

commands = typer.Typer(no_args_is_help=True, help="Import, list and change readers, and what is stored about them.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns address, name, languages, sections, …")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
    rejects: Annotated[Path | None, typer.Option(help="File for rejected lines. Default: NAME.rejects.csv.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Also change readers who are known. Asks first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what --update would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Import readers from CSV. Safe to repeat: existing readers keep their preferences, unless --update is given.

    With --update, what the file has for a known reader replaces what is stored; empty cells change nothing. People who
    have unsubscribed stay unsubscribed.
    """
    if dry_run and not update:
        raise UsageError("--dry-run lists what --update would change: give both.")
    with Container() as app:
        to_change = _list_changes(app, file, newsletter, everything=dry_run) if update else 0
        if dry_run:
            return
        if to_change and not yes:
            readers = format_count(to_change, "reader")
            if not typer.confirm(f"Change {readers}, and import the rest of the file?"):
                print("Nothing was imported and nothing changed.")
                raise typer.Exit(1)
        _import(app, file, newsletter, rejects)
        if to_change:
            from mailer.services.subscribers import staff_changes

            changed = staff_changes.update_from_csv(
                app.database, file, newsletter, hmac_pads=app.tokens.hmac_pads(), now=datetime.now(UTC)
            )
            print(f"Changed {format_count(changed, 'reader')}.")


_LISTED_CHANGES = 20


def _list_changes(app: Container, file: Path, newsletter: str, *, everything: bool) -> int:
    """Print what a file would change for known readers; return for how many."""
    from mailer.services.subscribers import staff_changes

    changes = staff_changes.find_changes(
        app.database, file, newsletter, hmac_pads=app.tokens.hmac_pads(), now=datetime.now(UTC)
    )
    count = 0
    for change in changes:
        count += 1
        if everything or count <= _LISTED_CHANGES:
            print(change.address)
            _print_differences(change.differences)
    if not count:
        print("No reader who is known would change.")
    elif not everything and count > _LISTED_CHANGES:
        print(f"… and {format_count(count - _LISTED_CHANGES, 'more reader')}; list all with --dry-run.")
    return count


def _print_differences(differences: Iterable["Difference"]) -> None:
    for difference in differences:
        label = difference.field.replace("_", " ")
        print(f"  {label:<9}  {difference.before or '(none)'} → {difference.after or '(none)'}")


def _import(app: Container, file: Path, newsletter: str, rejects: Path | None) -> None:
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
    pads = app.tokens.hmac_pads()
    with bar:
        task = bar.add_task("", total=None, lines=0)

        def show(at: csv_import.Progress) -> None:
            bar.update(task, total=max(at.bytes_total, 1), completed=at.bytes_read, lines=at.lines)

        started = app.clock.monotonic()
        report = csv_import.import_subscribers(
            app.database,
            file,
            newsletter,
            rejects_path=rejects,
            hmac_pads=pads,
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


@commands.command("set")
def set_(
    address: Annotated[str, typer.Argument(help="The person's address.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
    name: Annotated[str | None, typer.Option(help='Name for the greeting; "" for none.')] = None,
    languages: Annotated[str | None, typer.Option(help='Languages, the preferred one first: "sr-Latn en".')] = None,
    sections: Annotated[str | None, typer.Option(help="Keys or titles, all, none; future for those to come.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Such as Europe/Belgrade.")] = None,
) -> None:
    """Change a reader's name, languages, sections or time zone, as they asked by letter or telephone.

    It also applies to mail that is already queued. Name, languages and time zone hold for all newsletters.
    """
    from mailer.domain.subscriber_fields import InvalidValue, read_languages, read_name, read_time_zone, trim
    from mailer.services.subscribers import staff_changes

    (key,) = normalized_addresses([address])
    values: dict[str, object] = {}
    with Container() as app:
        try:
            if name is not None:
                values["name"] = read_name(name)
                if trim(name) and not values["name"]:
                    raise InvalidValue(f"“{name[:60]}” is not a name for a greeting")
            if languages is not None:
                values["languages"] = read_languages(languages)
                if not values["languages"]:
                    raise InvalidValue("there is no language")
            if sections is not None:
                values["sections"] = staff_changes.section_parser(app.database, newsletter).read(sections)
            if time_zone is not None:
                values["time_zone"] = read_time_zone(trim(time_zone))
        except InvalidValue as error:
            raise UsageError(f"{describe(error)} Nothing was changed.") from None
        if not values:
            raise UsageError("Nothing to change: give --name, --languages, --sections or --time-zone.")
        differences = staff_changes.set_preferences(
            app.database, newsletter, app.tokens.address_hash(key), values, datetime.now(UTC)
        )
    if differences:
        print(f"Changed {key}:")
        _print_differences(differences)
    else:
        print(f"Nothing changed: {key} has these preferences already.")


@commands.command("list")
def list_(
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")],
    state: Annotated[ListedState | None, typer.Option(help="Only readers in this state.")] = None,
    language: Annotated[str | None, typer.Option(help="Only readers of this language.")] = None,
    sections: Annotated[str | None, typer.Option(help="Only readers who follow these sections.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Only readers in this time zone.")] = None,
    frequency: Annotated[Frequency | None, typer.Option(help="Only readers who get mail so often.")] = None,
    search: Annotated[str | None, typer.Option(help="Only those whose address, domain or name begins so.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a CSV file instead, which can be imported.")] = None,
) -> None:
    """List a newsletter's readers, or export them to a CSV file."""
    from mailer.domain.subscriber_fields import InvalidValue, read_languages, read_time_zone
    from mailer.services.subscribers import listing, staff_changes

    with Container() as app:
        parser = staff_changes.section_parser(app.database, newsletter)
        try:
            tags = read_languages(language) if language else (None,)
            only = listing.SubscriberFilter(
                state=state,
                language=tags[0],
                sections=parser.read(sections) if sections else None,
                time_zone=read_time_zone(time_zone) if time_zone else None,
                frequency=frequency,
                text=search,
            )
        except InvalidValue as error:
            raise UsageError(describe(error)) from None
        if len(tags) > 1:
            raise UsageError("--language takes one language.")
        found = listing.list_subscribers(app.database, newsletter, only, datetime.now(UTC))
        if out:
            with private_file(out) as file:
                count = listing.write_csv(found, parser, file)
            print(f"Wrote {format_count(count, 'reader')} to {out}.")
            return
        count = _print_subscribers(found, parser)
    print(f"{format_count(count, 'reader')}." if count else "No reader is in this list.")


@contextmanager
def private_file(path: Path) -> Iterator[TextIO]:
    """Open a new file for personal data, for its owner alone. Raises UsageError if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} already exists: choose another file.") from None
    # Spreadsheet programs recognise UTF-8 by the byte-order mark.
    with open(descriptor, "w", encoding="utf-8-sig", newline="") as file:
        yield file


_ROWS_FOR_WIDTHS = 500


def _print_subscribers(found: Iterator["ListedSubscriber"], parser: "SectionParser") -> int:
    """Print a table whose columns are as wide as its first rows need, and return the number of rows."""
    from rich.cells import cell_len

    titles = ("address", "name", "languages", "sections", "time zone", "state")

    def cells(row: "ListedSubscriber") -> tuple[str, ...]:
        languages, sections = ", ".join(row.languages), parser.write(row.sections).replace(" ", ", ")
        return (row.address, row.name, languages, sections, row.time_zone, row.state.value)

    first = [cells(row) for row in islice(found, _ROWS_FOR_WIDTHS)]
    if not first:
        return 0
    widths = [max(map(cell_len, column)) for column in zip(titles, *first, strict=True)]
    count = 0
    for count, row in enumerate(chain([titles], first, map(cells, found))):  # noqa: B007
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())
    return count


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
