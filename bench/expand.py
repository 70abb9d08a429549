"""Expanding a million readers against a bare INSERT … SELECT of as many rows of the same width.

Expand is the whole of it: the audience is frozen and cut into batches, every reader's language, sections,
subscription and suppression are looked at, editions are found, and each reader gets a delivery row. Bare is
a copy of those very rows into a table with the same primary key and fill factor, in the same database.

``workers`` expand at once, as the tasks of a running service do; bare is a single statement. Both run in turn,
and the fastest of each count.

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
    with app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for query in queries:
            connection.execute(text(query))


def mark_inactive(app: Container) -> None:
    """A share of the readers has unsubscribed, waits for confirmation, or is suppressed."""
    run_autocommit(
        app,
        "UPDATE subscription SET state = 'unsubscribed' WHERE subscriber_id % 50 = 7",
        "UPDATE subscription SET state = 'pending' WHERE subscriber_id % 100 = 11",
        "INSERT INTO suppression (address_hash, reason)"
        " SELECT address_hash, 'manual' FROM subscriber WHERE id % 100 = 13",
        "VACUUM (FREEZE, ANALYZE)",
        "CHECKPOINT",
    )


def time_expand(app: Container, issue: int, workers: int) -> tuple[float, float]:
    """Seconds of freezing the audience, and of giving it delivery rows."""
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
        for done in [pool.submit(work) for _ in range(workers)]:
            done.result()
    return frozen - began, time.perf_counter() - frozen


def reset_issue(app: Container, issue: int) -> None:
    """Approved again, as if it had never been expanded."""
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
    """Seconds of a copy of the same rows."""
    run_autocommit(app, _BASELINE_TABLE.format(issue=issue), "CHECKPOINT")
    began = time.perf_counter()
    run_autocommit(app, f"INSERT INTO bare SELECT * FROM delivery_{issue}")
    seconds = time.perf_counter() - began
    run_autocommit(app, "DROP TABLE bare")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of both in turn; the fastest count")
    parser.add_argument("--json")
    asked = parser.parse_args()
    languages = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    with harness.service() as app:
        issue = harness.make_issue(app, *languages)
        harness.make_subscribers(app, asked.readers, languages, mask_count=63)
        mark_inactive(app)
        runs, copies = [], []
        for again in range(asked.rounds):
            if again:
                reset_issue(app, issue)
            runs.append(time_expand(app, issue, asked.workers))
            copies.append(baseline(app, issue))
        freezing, expanding = min(runs, key=sum)
        seconds = min(copies)
        with app.database.transaction() as session:
            query = f"SELECT count(*), count(skip_reason), count(DISTINCT edition_id) FROM delivery_{issue}"
            rows, skipped, editions = session.execute(text(query)).one()
    if rows != asked.readers:
        raise RuntimeError(f"{rows} rows for {asked.readers} readers")
    figures = {
        "ratio": round((freezing + expanding) / seconds, 2),
        "expand_seconds": round(freezing + expanding, 2),
        "bare_seconds": round(seconds, 2),
        "freezing_seconds": round(freezing, 2),
        "readers": rows,
        "skipped": skipped,
        "editions": editions,
        "workers": asked.workers,
        "languages": len(languages),
    }
    harness.report(figures, "Expanding against a bare INSERT … SELECT", asked.json)


if __name__ == "__main__":
    main()
