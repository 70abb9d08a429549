"""The harness of the benchmarks: embedded servers, a sample issue and invented readers."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

import redis  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from sqlalchemy import text  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from mailer.bootstrap import Container  # noqa: E402
from mailer.domain.document import parse  # noqa: E402
from mailer.domain.headers import SenderIdentity, edition_headers  # noqa: E402
from mailer.domain.message import compile_message, marker  # noqa: E402
from mailer.domain.newsletter_check import read_newsletter  # noqa: E402
from mailer.domain.ports import Clock  # noqa: E402
from mailer.services.delivery import dispatch, expand  # noqa: E402
from mailer.services.issues import approve, compile, document_import, schedule  # noqa: E402
from mailer.services.newsletters.apply import apply_newsletter  # noqa: E402
from mailer.settings import Settings  # noqa: E402

SAMPLE = ROOT / "docs" / "sample"
_FILLER_LINE = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod te\n"


def machine() -> dict[str, object]:
    """Return a description of this machine, for the report."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "system": platform.platform(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def report(figures: dict[str, Any], title: str, json_file: str | None) -> None:
    """Print the figures as a table on a terminal, else as JSON; write JSON to ``json_file``."""
    figures_and_machine = {**figures, "machine": machine()}
    if json_file:
        Path(json_file).write_text(json.dumps(figures_and_machine, indent=2) + "\n")
    if sys.stdout.isatty() or json_file:
        table = Table(title=title, show_header=False)
        for name, value in figures.items():
            table.add_row(name, f"{value:,}" if isinstance(value, int | float) else str(value))
        Console().print(table)
    else:
        print(json.dumps(figures_and_machine, indent=2))


@contextmanager
def service(*, clock: Clock | None = None, **settings: Any) -> Iterator[Container]:
    """Run the service on embedded servers, which stop at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as folder:
        # Embedded PostgreSQL runs as another user when this is root.
        os.chmod(folder, 0o755)
        app_settings = Settings(database_url="", redis_url="", state_dir=Path(folder), secret_key="b" * 32, **settings)
        components = {"clock": clock} if clock else {}
        with Container(app_settings, application="bench", pool_size=10, **components) as app:
            assert app.redis_url
            yield app


@contextmanager
def sink(*options: str) -> Iterator[tuple[int, Callable[[], dict[str, int]]]]:
    """Run bench/sink.py. Yields its port, and a function that stops it and returns its counts."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "sink.py"), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with ExitStack() as stack:
        stack.callback(process.kill)
        port = int(process.stdout.readline())

        def stop() -> dict[str, int]:
            process.terminate()
            return dict(json.loads(process.communicate()[0]))

        yield port, stop


def make_issue(app: Container, *languages: str) -> int:
    """Import the sample newsletter and its issue, and approve it. Return the issue's id."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    issue = 0
    for language in languages or ("en",):
        issue = document_import.import_document(
            app.database,
            parse((SAMPLE / f"2026-3.{language}.md").read_text("utf-8"), language),
            "lumen-basin",
            language,
            number="2026/3",
            today=date(2026, 9, 30),
            picture_loader=app.picture_loader(SAMPLE),
            picture_store=app.picture_store,
            actor="bench",
        ).issue
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "bench")
    return issue


def make_subscribers(app: Container, count: int, languages: list[str], mask_count: int = 1) -> None:
    """Insert invented readers, with the languages and ``mask_count`` section masks in turn."""
    _ = app.tokens  # keeps the key's fingerprint: the hashes of these readers are none of a key
    query = """
        WITH added AS (
            INSERT INTO subscriber (address, address_hash, name, languages, time_zone)
            SELECT 'reader' || n || '@d' || n % 50 || '.example.org', substr(sha256(n::text::bytea), 1, 16),
                'Reader ' || n, ARRAY[(CAST(:languages AS text[]))[1 + n % :several]], 'UTC'
            FROM generate_series(1, :count) n RETURNING id
        )
        INSERT INTO subscription (newsletter_id, subscriber_id, state, sections)
        SELECT (SELECT min(id) FROM newsletter), id, 'active',
            CASE WHEN :masks = 1 THEN 63 ELSE 1 + id / :several % :masks END
        FROM added
    """
    with app.database.transaction() as session:
        session.execute(
            text(query),
            {"languages": languages, "several": len(languages), "count": count, "masks": mask_count},
        )
    with app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def set_message_size(app: Container, issue: int, size: int) -> int:
    """Give each edition a message of about ``size`` bytes. Return the exact size.

    The headers and slots are real.
    """
    names = {marker("bench", name): name for name in compile.SLOTS}
    address, preferences, unsubscribe = (marker("bench", name) for name in ("address", "preferences", "unsubscribe"))
    sender = SenderIdentity(
        "Bench",
        "bench@example.org",
        "",
        "bench.example.org",
        "bench",
        "example.org",
        "http://127.0.0.1/",
        "b",
    )
    text_part = f"Greetings, {marker('bench', 'name')}\n" + _FILLER_LINE * 20
    footer = f"http://127.0.0.1/{preferences}\nhttp://127.0.0.1/{unsubscribe}\n{address}\n"

    def compiled(lines: int) -> tuple[bytes, list[list[object]]]:
        html = text_part + _FILLER_LINE * lines + footer
        return compile_message(edition_headers(sender, "Bench", "en"), text_part + footer, html, names).serialize()

    lines = max(1, (size - len(compiled(0)[0])) // (len(_FILLER_LINE) + 1))
    message, slots = compiled(lines)
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE edition SET message = :message, slots = CAST(:slots AS jsonb) WHERE issue_id = :issue"),
            {"message": message, "slots": json.dumps(slots), "issue": issue},
        )
    return len(message)


def insert_edition(session: Session, issue: int) -> None:
    """Insert, as rendered, the only edition that readers with one language and mask need."""
    session.execute(
        text(
            """
            INSERT INTO edition (issue_id, language, sections, revision, subject, story_count, fallback_count,
                html, message, slots)
            SELECT id, 'en', 63, revision, 'Bench', 16, 0, '', '', '[]' FROM issue WHERE id = :issue
            """
        ),
        {"issue": issue},
    )


def expand_all(app: Container, issue: int) -> None:
    """Freeze, expand and render an issue in this process, without opening it for sending."""
    now = datetime.now(UTC)
    schedule.schedule(app.database, issue, now, "bench")
    dispatch.start_due(app.database, now, app.settings.batch_size)
    while expand.expand_next(app.database, issue, now):
        pass
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass


def issue_times(app: Container, issue: int) -> tuple[datetime, datetime, datetime, datetime]:
    """Return when an issue was frozen and ready, its last delivery recorded, and it finished."""
    query = """
        SELECT frozen_at, ready_at,
            (SELECT max(finished_at) FROM delivery WHERE issue_id = i.id), finished_at
        FROM issue i WHERE id = :issue
    """
    with app.database.transaction() as session:
        frozen, ready, last, finished = session.execute(text(query), {"issue": issue}).one()
    return frozen, ready, last, finished


def peak_memory_bytes(pid: int) -> int:
    """Return the peak resident memory of a process in bytes; 0 if it is unknown."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def wait_for_workers(app: Container, count: int) -> None:
    """Wait until ``count`` Celery workers wait for messages at the broker."""
    broker = redis.Redis.from_url(app.redis_url)
    wait_for(lambda: sum(client["cmd"] == "brpop" for client in broker.client_list()) >= count, 60)


def wait_for(condition: Callable[[], bool], timeout: float, poll_seconds: float = 0.05) -> float:
    """Wait until the condition holds; return the seconds. Raises RuntimeError after ``timeout``."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise RuntimeError(f"nothing happened within {timeout:g} s")
        time.sleep(poll_seconds)
    return time.monotonic() - began
