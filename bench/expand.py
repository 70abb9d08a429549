"""Compare expanding a million readers with a bare INSERT … SELECT of as many rows.

Expanding is all of it: the audience is frozen and cut into batches, each reader's language, sections, subscription
and suppression are checked, editions are created, and each reader gets a delivery row. The baseline copies
those rows into a table with the same primary key and fill factor in the same database.

``workers`` threads expand at the same time, like the tasks of a running service; the baseline is a single
statement. Both alternate, and the fastest run of each counts.

    .venv/bin/python bench/expand.py [--readers 1000000] [--workers 2] [--json FILE]
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import harness
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import schedule

_BASELINE_TABLE = """
CREATE TABLE bare (LIKE delivery_{issue} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
WITH (fillfactor = 80)
"""


def run_autocommit(app: Container, *queries: str) -> None:
    """Run each statement outside a transaction."""
    with app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for query in queries:
            connection.execute(text(query))


def mark_inactive(app: Container) -> None:
    """Mark some readers as unsubscribed, unconfirmed or suppressed."""
    run_autocommit(
        app,
        "UPDATE subscription SET state = 'unsubscribed' WHERE subscriber_id % 50 = 7",
        "UPDATE subscription SET state = 'pending' WHERE subscriber_id % 100 = 11",
        "INSERT INTO suppression (address_hash, reason, source)"
        " SELECT address_hash, 'manual', 'staff' FROM subscriber WHERE id % 100 = 13",
        "VACUUM (FREEZE, ANALYZE)",
        "CHECKPOINT",
    )


def time_expand(app: Container, issue: int, workers: int) -> tuple[float, float]:
    """Return the seconds to freeze the audience, and to insert its delivery rows."""
    run_autocommit(app, "CHECKPOINT")
    now = datetime.now(UTC)
    schedule.schedule(app.database, issue, now, "bench")
    began = time.perf_counter()
    dispatch.start_due(app.database, now, app.settings.batch_size)
    frozen = time.perf_counter()

    def work() -> None:
        while expand.expand_next(app.database, issue, now):
            pass

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
            future.result()
    return frozen - began, time.perf_counter() - frozen


def reset_issue(app: Container, issue: int) -> None:
    """Undo the expansion: the issue is approved again."""
    run_autocommit(
        app,
        f"DROP TABLE delivery_{issue}",
        f"DELETE FROM batch WHERE issue_id = {issue}",
        f"DELETE FROM edition WHERE issue_id = {issue}",
        f"DELETE FROM language_choice WHERE issue_id = {issue}",
        f"UPDATE issue SET state = 'approved', scheduled_at = NULL, frozen_at = NULL WHERE id = {issue}",
        "VACUUM ANALYZE batch, edition, language_choice",
    )


def baseline(app: Container, issue: int) -> float:
    """Return the seconds to copy the same rows."""
    run_autocommit(app, _BASELINE_TABLE.format(issue=issue), "CHECKPOINT")
    began = time.perf_counter()
    run_autocommit(app, f"INSERT INTO bare SELECT * FROM delivery_{issue}")
    seconds = time.perf_counter() - began
    run_autocommit(app, "DROP TABLE bare")
    return seconds


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    languages = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    with harness.service() as app:
        issue = harness.make_issue(app, *languages)
        harness.make_subscribers(app, arguments.readers, languages, mask_count=63)
        mark_inactive(app)
        runs, copies = [], []
        for number in range(arguments.rounds):
            if number:
                reset_issue(app, issue)
            runs.append(time_expand(app, issue, arguments.workers))
            copies.append(baseline(app, issue))
        freezing, expanding = min(runs, key=sum)
        seconds = min(copies)
        with app.database.transaction() as session:
            query = f"SELECT count(*), count(skip_reason), count(DISTINCT edition_id) FROM delivery_{issue}"
            rows, skipped, editions = session.execute(text(query)).one()
    if rows != arguments.readers:
        raise RuntimeError(f"{rows} rows for {arguments.readers} readers")
    figures = {
        "ratio": round((freezing + expanding) / seconds, 2),
        "expand_seconds": round(freezing + expanding, 2),
        "bare_seconds": round(seconds, 2),
        "freezing_seconds": round(freezing, 2),
        "readers": rows,
        "skipped": skipped,
        "editions": editions,
        "workers": arguments.workers,
        "languages": len(languages),
    }
    harness.report(figures, "Expanding, compared with a bare INSERT … SELECT", arguments.json)


if __name__ == "__main__":
    main()
