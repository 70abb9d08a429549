"""Importing a million CSV lines, validated and de-duplicated, against a bare COPY of the file.

Import is ``services.subscribers.csv_import.import_subscribers``: the file is checked, each line read and judged, each
address hashed and looked up, and subscribers and subscriptions with the evidence of their consent stored,
chunk by chunk. Of a hundred lines one repeats an address, one is wrong and one is suppressed. Bare is COPY of
the same file into a table of text columns without an index; ``rows_seconds`` is what PostgreSQL alone takes
for the rows that an import leaves: INSERT … SELECT of them into the same two tables, with their indexes.

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
from mailer.services.subscribers import csv_import
from mailer.store import subscribers

_SOURCES = ("web form", "fair in Aldeva", "letter", "telephone")
_SECTIONS = ("", "water-and-rivers", "water-and-rivers|health-and-care", "none")
_TABLES = ("subscriber", "subscription")


def write_csv(path: Path, lines: int, languages: list[str]) -> None:
    """Invented readers; of each hundred, line 1 is wrong, 2 repeats line 0, and 3 is suppressed."""
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for n in range(lines):
            which = n % 100
            person = n - 2 if which == 2 else n
            name = "not an address" if which == 1 else f"reader{person}"
            file.write(
                f"{name}@d{person % 997}.example.org,Reader Số {n},{languages[n % len(languages)]},"
                f"{_SECTIONS[n % 4]},Europe/Belgrade,{_SOURCES[n % 4]},20{10 + n % 15}-0{1 + n % 9}-1{n % 10}\n"
            )


def suppress_some(app: Container, lines: int) -> None:
    with app.database.transaction() as session:
        for n in range(3, lines, 100):
            hashed = app.tokens.address_hash(f"reader{n}@d{n % 997}.example.org")
            subscribers.suppress(session, hashed, "manual", "")


def baseline(app: Container, path: Path) -> float:
    """Seconds of COPY into a table of text, the client's reading of the file included."""
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
    """Seconds of storing once more what is stored."""
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--json")
    asked = parser.parse_args()
    languages = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    with harness.service() as app:
        harness.make_issue(app, "en")
        path = app.settings.state_dir / "readers.csv"
        write_csv(path, asked.lines, languages)
        suppress_some(app, asked.lines)
        copies = [baseline(app, path) for _ in range(3)]
        before = harness.peak_memory_bytes(os.getpid())
        began = time.perf_counter()
        report = csv_import.import_subscribers(
            app.database, path, "lumen-basin", hmac_pads=app.tokens.hmac_pads(), now=datetime.now(UTC)
        )
        seconds = time.perf_counter() - began
        more = harness.peak_memory_bytes(os.getpid()) - before
        copies += [baseline(app, path) for _ in range(3)]
        stored = time_row_inserts(app)
    if report.lines != asked.lines or report.rejected != 2 * (asked.lines // 100):
        raise RuntimeError(str(report))
    figures = {
        "ratio": round(seconds / median(copies), 2),
        "import_seconds": round(seconds, 2),
        "copy_seconds": round(median(copies), 2),
        "rows_seconds": round(stored, 2),
        "lines": report.lines,
        "added": report.added,
        "suppressed": report.suppressed,
        "rejected": report.rejected,
        "megabytes_more": round(more / 1e6, 1),
    }
    harness.report(figures, "Importing against a bare COPY", asked.json)


if __name__ == "__main__":
    main()
