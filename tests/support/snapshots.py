"""Saves and restores database rows. Importing the sample issue takes ten times as long as copying it."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import text

from mailer.models import Base
from mailer.store import audience
from mailer.store.database import Database

TABLES = [table.name for table in Base.metadata.sorted_tables]
_PARTITION = "delivery_"


@dataclass(frozen=True, slots=True)
class Snapshot:
    rows: list[tuple[str, bytes]]
    """(table, COPY output) pairs, parents first."""
    sequences: list[tuple[str, int]]


class Snapshots:
    """What tests begin with, made once for all processes of a run."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where the processes of the run leave them for each other."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._known: dict[str, tuple[int, Snapshot]] = {}

    def restore(self, database: Database, key: str) -> int | None:
        """Fill an empty database; return the id that was kept with the snapshot, or None if there is none."""
        file = self._file(key)
        if key not in self._known and file.exists():
            self._known[key] = pickle.loads(file.read_bytes())
        if key not in self._known:
            return None
        id, snapshot = self._known[key]
        _restore(database, snapshot)
        return id

    def keep(self, database: Database, key: str, id: int) -> None:
        """Keep what is in the database, with an id. The key names everything that this depends on."""
        self._known[key] = id, _take_snapshot(database)
        written = self._file(key).with_suffix(f".{os.getpid()}")
        written.write_bytes(pickle.dumps(self._known[key]))
        written.rename(self._file(key))

    def restore_or_make(self, database: Database, key: str, make: Callable[[], int]) -> int:
        """Fill a database with what ``make`` puts there, and return the id that ``make`` returns.

        A database that is not empty is left to ``make``.
        """
        empty = not non_empty_tables(database)
        if empty and (known := self.restore(database, key)):
            return known
        made = make()
        if empty:
            self.keep(database, key, made)
        return made

    def _file(self, key: str) -> Path:
        return self._folder / sha256(key.encode()).hexdigest()


def non_empty_tables(database: Database) -> list[str]:
    """Return the tables that have rows, parents first."""
    query = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in TABLES)
    with database.transaction() as session:
        return sorted(session.scalars(text(query)), key=TABLES.index)


def _take_snapshot(database: Database) -> Snapshot:
    tables = non_empty_tables(database)
    with database.transaction() as session:
        cursor: Any = session.connection().connection.cursor()
        rows = []
        for table in tables:
            # A partitioned table cannot be copied as a whole.
            parts = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)")
            for name in session.scalars(parts, {"table": table}).all() or [table]:
                with cursor.copy(f"COPY {name} TO STDOUT (FORMAT binary)") as copy:
                    rows.append((name, b"".join(map(bytes, copy))))
        last = text("SELECT seqrelid::regclass::text, pg_sequence_last_value(seqrelid) FROM pg_sequence")
        return Snapshot(rows, [(name, value) for name, value in session.execute(last) if value is not None])


def _restore(database: Database, snapshot: Snapshot) -> None:
    with database.transaction() as session:
        cursor: Any = session.connection().connection.cursor()
        for table, rows in snapshot.rows:
            if table.startswith(_PARTITION):
                audience.create_partition(session, int(table.removeprefix(_PARTITION)))
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
                copy.write(rows)
        for name, last in snapshot.sequences:
            session.execute(text("SELECT setval(cast(:name AS regclass), :last)"), {"name": name, "last": last})
