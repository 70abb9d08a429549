"""The database's history, and the one function that brings a database up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def config(url: str) -> Config:
    """Alembic's configuration for this package, without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    made.attributes["url"] = url
    return made


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest revision; safe to run twice, or by two hosts at once."""
    command.upgrade(config(url), "head")
