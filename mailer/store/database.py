"""Database access: a lazily created engine, and transactions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from psycopg.errors import DeadlockDetected, QueryCanceled
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mailer.domain.errors import DatabaseDown, QueryTimeout
from mailer.models import Base

__all__ = ["Database", "DatabaseDown", "Deadlock", "Session", "execute_driver_sql"]


class Deadlock(RuntimeError):
    """This transaction was rolled back because of a deadlock. It can be retried."""


def execute_driver_sql(session: Session, query: str, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run a statement with psycopg's ``%(name)s`` parameters; return its rows.

    It has less overhead than ``text()``, which matters for statements that run every few hundred messages.
    """
    return session.connection().exec_driver_sql(query, values).all()


class Database:
    """Connects at the first transaction, so a process may fork after creating one."""

    def __init__(
        self, url: str, *, pool: int = 5, application: str = "mailer", public_timeout_seconds: float = 3
    ) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._pool = pool
        self._application = application
        self._public_timeout_seconds = public_timeout_seconds

    @cached_property
    def engine(self) -> Engine:
        return create_engine(
            self.url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=self._pool,
            max_overflow=self._pool,
            pool_pre_ping=True,
            hide_parameters=True,  # errors are logged, and parameters contain addresses and names
            connect_args={
                "application_name": self._application,
                "connect_timeout": 5,
                "prepare_threshold": 3,
                "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=300s",
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session that commits when the block ends and rolls back if it raises.

        Raises DatabaseDown, Deadlock and QueryTimeout.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            if error.connection_invalidated or "connect" in str(error.orig):
                raise DatabaseDown(f"The database does not answer: {str(error.orig).splitlines()[0]}") from error
            if isinstance(error.orig, DeadlockDetected):
                raise Deadlock(Deadlock.__doc__) from error
            if isinstance(error.orig, QueryCanceled):
                raise QueryTimeout(QueryTimeout.__doc__) from error
            raise

    @contextmanager
    def public_transaction(self) -> Iterator[Session]:
        """Yield a session like ``transaction``, for what anyone may ask: each statement has a time limit."""
        with self.transaction() as session:
            milliseconds = round(self._public_timeout_seconds * 1000)
            session.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
            yield session

    def delete_all_rows(self, truncate_above_bytes: int = 2 << 20) -> None:
        """Delete all rows of all tables, for demos and tests. DELETE is faster than TRUNCATE up to about 2 MiB."""
        names = [table.name for table in Base.metadata.sorted_tables]
        with self.engine.begin() as connection:
            for part in connection.scalars(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'delivery'::regclass")
            ).all():
                connection.execute(text(f"DROP TABLE {part}"))
            size = connection.scalar(
                text("SELECT sum(pg_relation_size(name::regclass)) FROM unnest(cast(:names AS text[])) AS name"),
                {"names": names},
            )
            if size and size > truncate_above_bytes:
                connection.execute(text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
                return
            # TRUNCATE creates new files for all tables and indexes: a hundred times slower than deleting a few rows.
            deletions = " ".join(f"DELETE FROM {name};" for name in reversed(names))
            connection.execute(text(f"DO $$ BEGIN {deletions} END $$"))
            connection.execute(
                text(
                    "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"
                    " WHERE pg_sequence_last_value(seqrelid) IS NOT NULL"
                )
            )

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose()
            del self.__dict__["engine"]
