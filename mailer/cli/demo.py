"""mailer demo: an invented newsletter goes out to 500 readers in 18 languages, everything embedded."""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError
from mailer.cli.supervisor import Supervisor, handle_termination
from mailer.devtools.inbox import InboxServer, start_inbox_server
from mailer.devtools.inbox.web import create_inbox_app
from mailer.domain.document import decode, parse
from mailer.domain.locales import native_name
from mailer.domain.newsletter import read_newsletter
from mailer.domain.states import IssueState
from mailer.domain.subscriber_fields import read_address
from mailer.services.feedback import bounces
from mailer.services.issues import approve, compile, document_import, report, schedule
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import csv_import
from mailer.settings import ROOT, Settings

SAMPLE = ROOT / "docs" / "sample"
_TIMEOUT_SECONDS = 120


@dataclass(slots=True)
class DemoResult:
    """What ``--json`` writes."""

    candidates: int
    sent: int
    skipped: dict[str, int]
    failed: int
    editions: int
    languages: int
    seconds: float
    """From the order to send until the last mail was in the inbox."""
    caught: int
    """Mails in the local inbox."""


def demo(
    exit_: Annotated[bool, typer.Option("--exit", help="End after the report.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    web_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the readers' pages; 0 takes a free one.")
    ] = 8025,
    inbox_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the inbox page; 0 takes a free one.")
    ] = 8026,
) -> None:
    """Send a sample issue in many languages and show it. Everything is embedded and stays on this machine."""
    console = Console()
    state = Path(".local/demo")
    for name in [name for name in os.environ if name.startswith("MAILER_")]:
        del os.environ[name]  # a demo has no part in what this shell is set up for
    handle_termination()
    with ExitStack() as stack:
        stack.enter_context(_exclusive(state))
        # Opened first: a place that cannot be written to is to be known before, not after.
        figures_file = stack.enter_context(json_file.open("w", encoding="utf-8")) if json_file else None
        shutil.rmtree(state / "inbox", ignore_errors=True)
        web_port, inbox_port = _free_port(web_port), _free_port(inbox_port)
        inbox = stack.enter_context(start_inbox_server("127.0.0.1", 0, state / "inbox"))
        settings = Settings(
            database_url="",
            redis_url="",
            state_dir=state,
            public_url=f"http://127.0.0.1:{web_port}",
            web_port=web_port,
            smtp_host="127.0.0.1",
            smtp_port=inbox.port,
            batch_size=100,
        )
        with console.status("Starting PostgreSQL and Redis…"):
            parts = stack.enter_context(Container(settings))
            parts.reset()  # begins anew, whatever the last demo left
        processes = stack.enter_context(Supervisor(parts))
        processes.start_all()
        stack.enter_context(_serve_inbox(inbox, inbox_port, settings.public_url))
        with console.status("Writing the issue and taking in its readers…"):
            issue = _prepare(parts)
        figures = _send(parts, processes, inbox, issue, console)
        true = _print_report(parts, issue, figures, console)
        if figures_file:
            print(json.dumps(asdict(figures), indent=2), file=figures_file, flush=True)
        if exit_:
            if not true:
                raise typer.Exit(1)
            return
        inbox_page = f"http://127.0.0.1:{inbox_port}/inbox"
        console.print(f"\nLeaf through the mail as its readers see it:  [bold]{inbox_page}[/]")
        console.print("Each mail's links work: its web view, its reader's choices, and unsubscribing.")
        console.print(
            "Nothing asks you to sign in: a reader's links are their key, and the rest is the command line:"
        )
        console.print(f"  MAILER_STATE_DIR={state} .venv/bin/mailer issue status {issue}", soft_wrap=True)
        console.print(
            f"  MAILER_STATE_DIR={state} .venv/bin/mailer explain {issue} {_sample_recipient(inbox)}",
            soft_wrap=True,
        )
        console.print("\nCtrl-C ends it.")
        try:
            while not (gone := processes.exited()):
                time.sleep(0.5)
            console.print(f"{', '.join(gone)} ended; see {state / 'logs'}")
            raise typer.Exit(1)
        except KeyboardInterrupt:
            console.print("Ending.")


@contextmanager
def _exclusive(state: Path) -> Iterator[None]:
    """Hold the folder for one demo: a second one would empty the database under the first."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"A demo is running in {state} already. End that one first.") from None
        yield


def _free_port(port: int) -> int:
    """The port itself if nobody listens there, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare(app: Container) -> int:
    """The sample newsletter, its issue in every language, its readers; returns the issue, approved."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    files = sorted(SAMPLE.glob("2026-3.*.md"), key=lambda file: (file.stem != "2026-3.en", file.name))
    pictures, issue = app.picture_loader(SAMPLE), 0
    for file in files:
        document = parse(decode(file.read_bytes()), file.stem.partition(".")[2])
        done = document_import.import_document(
            app.database,
            document,
            "lumen-basin",
            document.front_matter["language"],
            number="2026/3",
            today=datetime.now(UTC).date(),
            picture_loader=pictures,
            actor="demo",
        )
        issue = done.issue
    document_import.set_masthead(app.database, issue, pictures("pictures/masthead.jpg"), "demo")
    csv_import.import_subscribers(
        app.database,
        SAMPLE / "readers.csv",
        "lumen-basin",
        rejects_path=app.settings.state_dir / "readers.rejects.csv",
        hmac_pads=app.tokens.hmac_pads(),
        now=datetime.now(UTC),
    )
    _suppress_and_unsubscribe(app)
    material = compile.load_issue(app.database, app.urls, issue)
    faults = compile.render_errors(material, app.renderer, app.urls, app.settings.bounce_domain)
    approve.approve(app.database, material, "demo", faults)
    return issue


def _suppress_and_unsubscribe(app: Container) -> None:
    """Some readers complained since they subscribed, and some left."""

    def hashes(file: str) -> list[bytes]:
        lines = (SAMPLE / file).read_text("utf-8").split()
        return [app.tokens.address_hash(read_address(line)[1]) for line in lines]

    bounces.suppress(app.database, hashes("suppressed.txt"), "complained")
    bounces.unsubscribe(app.database, "lumen-basin", hashes("unsubscribed.txt"), datetime.now(UTC))


def _send(
    app: Container, processes: Supervisor, inbox: InboxServer, issue: int, console: Console
) -> DemoResult:
    began = time.monotonic()
    schedule.schedule(app.database, issue, datetime.now(UTC), "demo")
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )
    with bar:
        task = bar.add_task("Sending", total=None)
        while True:
            now = report.status(app.database, issue, datetime.now(UTC))
            counts = now.counts
            if counts.candidates:
                done = counts.candidates - counts.pending
                bar.update(task, total=counts.candidates, completed=done)
            if now.state is IssueState.sent or time.monotonic() - began > _TIMEOUT_SECONDS:
                break
            if gone := processes.exited():
                console.print(f"[red]{', '.join(gone)} ended[/]; see {app.settings.state_dir / 'logs'}")
                break
            time.sleep(0.1)
    seconds = time.monotonic() - began
    rows = report.by_language(app.database, issue)
    return DemoResult(
        candidates=counts.candidates,
        sent=counts.sent,
        skipped=report.skipped_by_reason(app.database, issue),
        failed=counts.failed,
        editions=now.editions,
        languages=sum(bool(row.language) for row in rows),
        seconds=round(seconds, 1),
        caught=len(inbox.messages()),
    )


def _print_report(app: Container, issue: int, result: DemoResult, console: Console) -> bool:
    """Print what happened; True when all of it is as it should be."""
    table = Table("first language", *("readers", "editions", "sent", "fell back", "nothing for them"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in report.by_language(app.database, issue):
        name = native_name(row.language) if row.language else "another language"
        table.add_row(
            name, *(str(n) for n in (row.subscribers, row.editions, row.sent, row.fell_back, row.not_sent))
        )
    console.print(table)
    skipped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in result.skipped.items())
    console.print(
        f"{result.candidates} candidates = {result.sent} sent + {sum(result.skipped.values())} skipped"
        f" ({skipped or 'none'}) + {result.failed} failed; "
        f"{result.editions} editions; {result.seconds} s from the order to the last mail."
    )
    wrong = [finding.message for finding in report.audit(app.database, issue)]
    if result.candidates != result.sent + sum(result.skipped.values()) + result.failed:
        wrong.append("Not everything was settled in time.")
    if result.failed:
        wrong.append(f"{result.failed} deliveries failed.")
    if result.caught != result.sent:
        wrong.append(f"The ledger says {result.sent} sent, the inbox holds {result.caught}.")
    for line in wrong:
        console.print(f"[red]{line}[/]")
    if not wrong:
        console.print("The ledger adds up, and every mail it calls sent is in the inbox.")
    return not wrong


def _sample_recipient(inbox: InboxServer) -> str:
    return next((mail.recipients[0] for mail in inbox.messages()), "ADDRESS")


@contextmanager
def _serve_inbox(inbox: InboxServer, port: int, public_url: str) -> Iterator[None]:
    """Serve the inbox page from a thread of this process."""
    config = uvicorn.Config(
        create_inbox_app(inbox.inbox, [public_url]),
        host="127.0.0.1",
        port=port,
        log_level="error",
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(5)
