"""The command ``mailer newsletter``: create and change newsletters."""

from pathlib import Path

import typer

from mailer.bootstrap import Container
from mailer.cli.console import format_count

commands = typer.Typer(no_args_is_help=True, help="A newsletter's name, sender, languages, sections and theme.")


@commands.command("apply")
def apply(file: Path) -> None:
    """Create a newsletter from a TOML file, or update it to match the file."""
    from mailer.domain.newsletter import NewsletterError, read_newsletter
    from mailer.services.newsletters.apply import apply_newsletter

    try:
        settings = read_newsletter(file.read_text("utf-8"))
    except UnicodeDecodeError:
        raise NewsletterError(f"{file} is not UTF-8 text.") from None
    with Container() as app:
        if errors := list(app.catalogues.override_errors(settings.text_overrides)):
            raise NewsletterError("\n".join(errors))
        result = apply_newsletter(app.database, settings)
    sections = format_count(len(settings.sections), "section")
    languages = format_count(len(settings.languages), "language")
    print(f"{settings.slug}: {result.value}, {sections}, {languages}.")
