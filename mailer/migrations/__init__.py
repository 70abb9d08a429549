"""The database's history, and the one function that brings a database up to date."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config


def config(url: str) -> "Config":
    """Alembic's configuration for this package, without an ini file."""
    # Every worker and command imports this module, and few bring a database up to date.
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    made.attributes["url"] = url
    return made


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest revision; safe to run twice, or by two hosts at once."""
    from alembic import command

    command.upgrade(config(url), "head")
