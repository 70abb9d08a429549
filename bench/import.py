"""Compare importing a million CSV lines with a bare COPY of the file.

The import is ``services.subscribers.csv_import.import_subscribers``: it checks the file, validates each line, hashes
and looks up each address, and stores subscribers and subscriptions with their consent records, in chunks. Of
a hundred lines one repeats an address, one is invalid and one is suppressed. The baseline is COPY of the same file
into a table of text columns without an index. ``rows_seconds`` is the time of PostgreSQL alone for the imported
rows: INSERT … SELECT into the same two tables, with their indexes.

    .venv/bin/python bench/import.py [--lines 1000000] [--json FILE]
"""

import argparse
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import harness
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.subscriber_csv import COLUMNS
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.subscribers import csv_import
from mailer.store import subscribers

_SOURCES = ("web form", "fair in Aldeva", "letter", "telephone")
_SECTIONS = ("", "water-and-rivers", "water-and-rivers|health-and-care", "none")
_TABLES = ("subscriber", "subscription")


def write_csv(path: Path, lines: int, languages: list[str]) -> None:
    """Write invented readers. Of each hundred, line 1 is invalid, 2 repeats 0, 3 is suppressed."""
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for n in range(lines):
            line = n % 100
            person = n - 2 if line == 2 else n
            name = "not an address" if line == 1 else f"reader{person}"
            file.write(
                f"{name}@d{person % 997}.example.org,Reader Số {n},{languages[n % len(languages)]},"
                f"{_SECTIONS[n % 4]},Europe/Belgrade,{_SOURCES[n % 4]},20{10 + n % 15}-0{1 + n % 9}-1{n % 10}\n"
            )


def suppress_some(app: Container, lines: int) -> None:
    """Suppress one address of each hundred."""
    with app.database.transaction() as session:
        for n in range(3, lines, 100):
            hashed = app.tokens.address_hash(f"reader{n}@d{n % 997}.example.org")
            subscribers.suppress(session, hashed, SuppressionReason.manual, SuppressionSource.staff)


def baseline(app: Container, path: Path) -> float:
    """Return the seconds of COPY into a table of text, including reading the file."""
    columns = ", ".join(f"{name} text" for name in COLUMNS)
    with app.database.transaction() as session:
        session.execute(text(f"CREATE TABLE bare ({columns})"))
    began = time.perf_counter()
    with app.database.transaction() as session, path.open("rb") as file:
        cursor = session.connection().connection.cursor()
        with cursor.copy("COPY bare FROM STDIN (FORMAT csv, HEADER)") as copy:
            while block := file.read(1 << 17):
                copy.write(block)
    seconds = time.perf_counter() - began
    with app.database.transaction() as session:
        session.execute(text("DROP TABLE bare"))
    return seconds


def time_row_inserts(app: Container) -> float:
    """Return the seconds to insert the imported rows once more."""
    with app.database.transaction() as session:
        for table in _TABLES:
            session.execute(text(f"CREATE TABLE kept_{table} AS TABLE {table}"))
        session.execute(text(f"TRUNCATE {', '.join(_TABLES)} CASCADE"))
    began = time.perf_counter()
    with app.database.transaction() as session:
        for table in _TABLES:
            session.execute(text(f"INSERT INTO {table} SELECT * FROM kept_{table}"))
    return time.perf_counter() - began


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    languages = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    with harness.service() as app:
        harness.make_issue(app, "en")
        path = app.settings.state_dir / "readers.csv"
        write_csv(path, arguments.lines, languages)
        suppress_some(app, arguments.lines)
        copies = [baseline(app, path) for _ in range(3)]
        memory_before = harness.peak_memory_bytes(os.getpid())
        began = time.perf_counter()
        report = csv_import.import_subscribers(
            app.database, path, "lumen-basin", hmac_pads=app.tokens.hmac_pads(), now=datetime.now(UTC)
        )
        seconds = time.perf_counter() - began
        added_memory = harness.peak_memory_bytes(os.getpid()) - memory_before
        copies += [baseline(app, path) for _ in range(3)]
        insert_seconds = time_row_inserts(app)
    if report.lines != arguments.lines or report.rejected != 2 * (arguments.lines // 100):
        raise RuntimeError(str(report))
    figures = {
        "ratio": round(seconds / median(copies), 2),
        "import_seconds": round(seconds, 2),
        "copy_seconds": round(median(copies), 2),
        "rows_seconds": round(insert_seconds, 2),
        "lines": report.lines,
        "added": report.added,
        "suppressed": report.suppressed,
        "rejected": report.rejected,
        "megabytes_more": round(added_memory / 1e6, 1),
    }
    harness.report(figures, "Importing, compared with a bare COPY", arguments.json)


if __name__ == "__main__":
    main()
