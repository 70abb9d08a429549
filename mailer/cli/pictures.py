"""The commands ``mailer pictures``: where the bytes of pictures are."""

from typing import TYPE_CHECKING, Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError
from mailer.domain.plurals import format_count

if TYPE_CHECKING:
    from mailer.domain.ports import PictureStore

commands = typer.Typer(no_args_is_help=True, help="Move, copy and check the pictures of newsletters.")
_DATABASE = "database"
Place = Annotated[str, typer.Argument(help="`database`, file:///folder or s3://bucket/prefix.")]


@commands.command("move")
def move(source: Place) -> None:
    """Move pictures from SOURCE to MAILER_PICTURE_STORE. It can be stopped, and goes on when it is run again."""
    from mailer.services.maintenance import pictures

    with Container() as app:
        if source.rstrip("/") == (app.settings.picture_store or _DATABASE):
            raise UsageError("The pictures are there already. Set MAILER_PICTURE_STORE to where they should be.")
        count = sum(1 for _ in pictures.move(app.database, _store(source), app.picture_store))
    print(f"{format_count(count, 'picture')} moved.")


@commands.command("copy")
def copy(target: Place) -> None:
    """Copy all pictures that are not there to TARGET, before MAILER_PICTURE_STORE is changed or as a backup."""
    from mailer.services.maintenance import pictures

    with Container() as app:
        count = sum(1 for _ in pictures.copy(app.database, app.picture_store, _store(target)))
    print(f"{format_count(count, 'picture')} copied.")


@commands.command("check")
def check() -> None:
    """Read every picture, and list those whose bytes are missing or damaged. Exits with 1 if there are any."""
    from mailer.services.maintenance import pictures

    count = 0

    def count_one(_: str) -> None:
        nonlocal count
        count += 1

    with Container() as app:
        problems = pictures.find_damage(app.database, app.picture_store, count_one)
    for problem in problems:
        print(problem)
    print(f"{format_count(count, 'picture')} checked, {format_count(len(problems), 'problem')} found.")
    if problems:
        raise typer.Exit(1)


def _store(place: str) -> "PictureStore | None":
    """Return the store at a place, None for the database. Raises UsageError."""
    from mailer.adapters.picture_store import ObjectStore
    from mailer.settings import PICTURE_STORE

    if place == _DATABASE:
        return None
    if not PICTURE_STORE.fullmatch(place):
        raise UsageError(f"{place} is neither `database` nor like file:///folder or s3://bucket/prefix.")
    return ObjectStore(place.rstrip("/"))
