"""The command ``mailer newsletter``: create and change newsletters."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError
from mailer.cli.options import JsonOption
from mailer.domain.plurals import format_count

commands = typer.Typer(no_args_is_help=True, help="A newsletter's name, sender, languages, sections and theme.")
section_commands = typer.Typer(no_args_is_help=True, help="List a newsletter's sections, and retire one.")


Slug = Annotated[str, typer.Option("--newsletter", help="The newsletter's slug.")]


@commands.command("apply")
def apply(
    file: Path,
    force: Annotated[bool, typer.Option("--force", help="Overwrite later changes made at the desk.")] = False,
) -> None:
    """Create a newsletter from a TOML file, or update it to match the file."""
    from mailer.domain.newsletter_check import NewsletterError, Problem, read_newsletter
    from mailer.services.newsletters.apply import apply_newsletter

    with Container() as app:
        try:
            settings = read_newsletter(file.read_text("utf-8"), app.catalogues.override_errors)
        except UnicodeDecodeError:
            raise NewsletterError([Problem((), f"{file} is not UTF-8 text.")]) from None
        result = apply_newsletter(app.database, settings, force=force)
    sections = format_count(len(settings.sections), "section")
    languages = format_count(len(settings.languages), "language")
    print(f"{settings.slug}: {result.value}, {sections}, {languages}.")


@commands.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all newsletters."""
    from rich.markup import escape
    from rich.table import Table

    from mailer.services.newsletters import catalogue

    with Container() as app:
        newsletters = catalogue.list_newsletters(app.database)
    if as_json:
        print(json.dumps([asdict(newsletter) for newsletter in newsletters], ensure_ascii=False, indent=2))
        return
    if not newsletters:
        print("There are no newsletters yet. Start with: mailer newsletter new SLUG")
        return
    table = Table("newsletter", "name", "languages")
    for newsletter in newsletters:
        table.add_row(newsletter.slug, escape(newsletter.name), " ".join(newsletter.languages))
    make_console().print(table)


@commands.command("show")
def show(slug: Annotated[str, typer.Argument(metavar="SLUG", help="As in `mailer newsletter list`.")]) -> None:
    """Print a newsletter as a file that can be changed and applied."""
    from mailer.domain.newsletter_file import to_toml
    from mailer.services.newsletters.settings import load_settings

    with Container() as app:
        print(to_toml(load_settings(app.database, slug)), end="")


@commands.command("new")
def new(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Its name in commands and URLs, such as river-news.")],
) -> None:
    """Write a file SLUG.toml to start a newsletter from. It explains every setting."""
    from mailer.domain.newsletter_check import read_newsletter
    from mailer.domain.newsletter_file import starter_file

    text = starter_file(slug)
    read_newsletter(text)
    file = Path(f"{slug}.toml")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists already.") from None
    print(f"{file} is written. Change the examples in it, then: mailer newsletter apply {file}")


@commands.command("settings")
def settings() -> None:
    """Print every setting of a newsletter's file as a Markdown table."""
    from mailer.domain.newsletter_file import reference_table

    print(reference_table())


@section_commands.command("list")
def list_sections(newsletter: Slug, as_json: JsonOption = False) -> None:
    """List a newsletter's sections, also those that readers can no longer choose."""
    from rich.markup import escape
    from rich.table import Table

    from mailer.services.newsletters import sections as section_service

    with Container() as app:
        sections = section_service.list_sections(app.database, newsletter)
    if as_json:
        print(json.dumps([asdict(section) for section in sections], ensure_ascii=False, indent=2))
        return
    table = Table("section", "title", "offered to readers", "readers")
    for section in sections:
        offered = "everyone gets it" if section.always_included else "yes" if section.offered else "no"
        table.add_row(section.key, escape(section.title), offered, f"{section.followers:,}")
    make_console().print(table)


@section_commands.command("retire")
def retire_section(
    section: Annotated[str, typer.Argument(metavar="KEY", help="As in `mailer section list`.")], newsletter: Slug
) -> None:
    """Offer a section to readers no longer. Those who follow it still get it if an issue contains it."""
    from mailer.services.newsletters import sections as section_service

    with Container() as app:
        section_service.retire_section(app.database, newsletter, section)
    print(
        f"{newsletter}: {section} is no longer offered. Take it out of the newsletter's file as well: applying a file "
        "that names it offers it again."
    )
