from alembic import context
from sqlalchemy import create_engine, pool, text

from mailer.models import Base

_MIGRATION_LOCK_ID = 0x6D61696C  # only one host may migrate at a time


def _include_object(obj: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    return not (kind == "table" and name is not None and name.startswith("delivery_"))  # partitions


engine = create_engine(
    context.config.attributes["url"].replace("postgresql://", "postgresql+psycopg://", 1),
    poolclass=pool.NullPool,
)
with engine.connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK_ID})
    # A lock that is not granted soon must not queue everybody else behind it. Another host's migration may take longer.
    connection.execute(text("SET lock_timeout = '4s'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=_include_object,
        compare_server_default=True,
        transaction_per_migration=True,  # PostgreSQL 15 and 16 use a new value of an enum only once it is committed
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK_ID})
    connection.commit()
