"""mailer newsletter …"""

from pathlib import Path

import typer

from mailer.bootstrap import Container
from mailer.domain.newsletter import NewsletterError, read_newsletter
from mailer.services.newsletters.apply import apply_newsletter

commands = typer.Typer(no_args_is_help=True, help="A newsletter's name, sender, languages, sections, look.")


@commands.command("apply")
def apply(file: Path) -> None:
    """Make a newsletter from a TOML file, or bring it in line with the file."""
    try:
        settings = read_newsletter(file.read_text("utf-8"))
    except UnicodeDecodeError:
        raise NewsletterError(f"{file} is not a text file in UTF-8.") from None
    with Container() as parts:
        if misfits := list(parts.catalogues.override_errors(settings.text_overrides)):
            raise NewsletterError("\n".join(misfits))
        applied = apply_newsletter(parts.database, settings)
    sections, languages = len(settings.sections), len(settings.languages)
    print(
        f"{settings.slug}: {applied.value}, {sections} {'section' if sections == 1 else 'sections'}, "
        f"{languages} {'language' if languages == 1 else 'languages'}."
    )
