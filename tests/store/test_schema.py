"""The migrations match the models."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Enum, text

from mailer.migrations import config
from mailer.models import Base
from mailer.settings import ROOT
from mailer.store.database import Database


def test_migrations_match_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_no_migration_waits_long_for_a_lock(database: Database, tmp_path: Path) -> None:
    """Each is a transaction of its own, so that a limit of the first is not one of the second."""
    latest = ScriptDirectory.from_config(config(database.url)).get_current_head()
    for revision, before, query in (
        ("first", latest, "SET LOCAL lock_timeout = '1s'"),
        ("second", "first", "CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS lock_timeout"),
    ):
        (tmp_path / f"{revision}.py").write_text(
            f"from alembic import op\n\nrevision = {revision!r}\ndown_revision = {before!r}\n\n\n"
            f"def upgrade() -> None:\n    op.execute({query!r})\n"
        )
    made = config(database.url)
    made.set_main_option("path_separator", "newline")
    made.set_main_option("version_locations", f"{ROOT / 'mailer' / 'migrations' / 'versions'}\n{tmp_path}")
    try:
        command.upgrade(made, "head")
        with database.transaction() as session:
            assert session.scalar(text("SELECT lock_timeout FROM seen")) == "4s"
    finally:
        with database.transaction() as session:
            session.execute(text("DROP TABLE IF EXISTS seen"))
            session.execute(text("UPDATE alembic_version SET version_num = :latest"), {"latest": latest})


def test_database_enums_match_their_classes_in_order(database: Database) -> None:
    query = """
        SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
        FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY 1
    """
    with database.transaction() as session:
        stored = {row.typname: row.labels for row in session.execute(text(query))}
    assert stored == {
        column.type.name: list(column.type.enums)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, Enum)
    }
