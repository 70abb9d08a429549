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

from mailer.adapters.inbox import RunningInbox, start
from mailer.bootstrap import Mailer
from mailer.cli.errors import Misuse
from mailer.cli.processes import Processes, ends_by_signal
from mailer.domain.document import decode, parse
from mailer.domain.locales import native_name
from mailer.domain.newsletter import read_newsletter
from mailer.domain.states import IssueState
from mailer.domain.subscribers import read_address
from mailer.services import approve, author, compose, feedback, report, schedule, subscribers
from mailer.services.newsletter import apply_newsletter
from mailer.settings import ROOT, Settings
from mailer.web.inbox import create_inbox_app

SAMPLE = ROOT / "docs" / "sample"
_LONGEST = 120


@dataclass(slots=True)
class Figures:
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
    ends_by_signal()
    with ExitStack() as stack:
        stack.enter_context(_alone(state))
        # Opened first: a place that cannot be written to is to be known before, not after.
        figures_file = stack.enter_context(json_file.open("w", encoding="utf-8")) if json_file else None
        shutil.rmtree(state / "inbox", ignore_errors=True)
        web_port, inbox_port = _free(web_port), _free(inbox_port)
        inbox = stack.enter_context(start("127.0.0.1", 0, state / "inbox"))
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
            parts = stack.enter_context(Mailer(settings))
            parts.reset()  # begins anew, whatever the last demo left
        processes = stack.enter_context(Processes(parts))
        processes.start_all()
        stack.enter_context(_inbox_page(inbox, inbox_port, settings.public_url))
        with console.status("Writing the issue and taking in its readers…"):
            issue = _prepare(parts)
        figures = _send(parts, processes, inbox, issue, console)
        true = _tell(parts, issue, figures, console)
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
            f"  MAILER_STATE_DIR={state} .venv/bin/mailer explain {issue} {_someone(inbox)}", soft_wrap=True
        )
        console.print("\nCtrl-C ends it.")
        try:
            while not (gone := processes.ended()):
                time.sleep(0.5)
            console.print(f"{', '.join(gone)} ended; see {state / 'logs'}")
            raise typer.Exit(1)
        except KeyboardInterrupt:
            console.print("Ending.")


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the folder for one demo: a second one would empty the database under the first."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misuse(f"A demo is running in {state} already. End that one first.") from None
        yield


def _free(port: int) -> int:
    """The port itself if nobody listens there, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare(parts: Mailer) -> int:
    """The sample newsletter, its issue in every language, its readers; returns the issue, approved."""
    apply_newsletter(parts.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    files = sorted(SAMPLE.glob("2026-3.*.md"), key=lambda file: (file.stem != "2026-3.en", file.name))
    pictures, issue = parts.picture_from(SAMPLE), 0
    for file in files:
        document = parse(decode(file.read_bytes()), file.stem.partition(".")[2])
        done = author.import_document(
            parts.database,
            document,
            "lumen-basin",
            document.front["language"],
            number="2026/3",
            today=datetime.now(UTC).date(),
            pictures=pictures,
            actor="demo",
        )
        issue = done.issue
    author.set_masthead(parts.database, issue, pictures("pictures/masthead.jpg"), "demo")
    subscribers.import_subscribers(
        parts.database,
        SAMPLE / "readers.csv",
        "lumen-basin",
        rejects_path=parts.settings.state_dir / "readers.rejects.csv",
        pads=parts.tokens.address_pads(),
        now=datetime.now(UTC),
    )
    _life_goes_on(parts)
    material = compose.load(parts.database, parts.links, issue)
    faults = compose.faults(material, parts.renderer, parts.links, parts.settings.bounce_domain)
    approve.approve(parts.database, material, "demo", faults)
    return issue


def _life_goes_on(parts: Mailer) -> None:
    """Some readers complained since they subscribed, and some left."""

    def hashes(file: str) -> list[bytes]:
        lines = (SAMPLE / file).read_text("utf-8").split()
        return [parts.tokens.address_hash(read_address(line)[1]) for line in lines]

    feedback.suppress(parts.database, hashes("suppressed.txt"), "complained")
    feedback.unsubscribe(parts.database, "lumen-basin", hashes("unsubscribed.txt"), datetime.now(UTC))


def _send(parts: Mailer, processes: Processes, inbox: RunningInbox, issue: int, console: Console) -> Figures:
    began = time.monotonic()
    schedule.schedule(parts.database, issue, datetime.now(UTC), "demo")
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )
    with bar:
        task = bar.add_task("Sending", total=None)
        while True:
            now = report.status(parts.database, issue, datetime.now(UTC))
            counts = now.counts
            if counts.candidates:
                done = counts.candidates - counts.pending
                bar.update(task, total=counts.candidates, completed=done)
            if now.state is IssueState.sent or time.monotonic() - began > _LONGEST:
                break
            if gone := processes.ended():
                console.print(f"[red]{', '.join(gone)} ended[/]; see {parts.settings.state_dir / 'logs'}")
                break
            time.sleep(0.1)
    seconds = time.monotonic() - began
    rows = report.by_language(parts.database, issue)
    return Figures(
        candidates=counts.candidates,
        sent=counts.sent,
        skipped=report.skipped(parts.database, issue),
        failed=counts.failed,
        editions=now.editions,
        languages=sum(bool(row.language) for row in rows),
        seconds=round(seconds, 1),
        caught=len(inbox.messages()),
    )


def _tell(parts: Mailer, issue: int, figures: Figures, console: Console) -> bool:
    """Print what happened; True when all of it is as it should be."""
    table = Table("first language", *("readers", "editions", "sent", "fell back", "nothing for them"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in report.by_language(parts.database, issue):
        name = native_name(row.language) if row.language else "another language"
        table.add_row(
            name, *(str(n) for n in (row.readers, row.editions, row.sent, row.fell_back, row.nothing))
        )
    console.print(table)
    skipped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in figures.skipped.items())
    console.print(
        f"{figures.candidates} candidates = {figures.sent} sent + {sum(figures.skipped.values())} skipped"
        f" ({skipped or 'none'}) + {figures.failed} failed; "
        f"{figures.editions} editions; {figures.seconds} s from the order to the last mail."
    )
    wrong = [finding.what for finding in report.audit(parts.database, issue)]
    if figures.candidates != figures.sent + sum(figures.skipped.values()) + figures.failed:
        wrong.append("Not everything was settled in time.")
    if figures.failed:
        wrong.append(f"{figures.failed} deliveries failed.")
    if figures.caught != figures.sent:
        wrong.append(f"The ledger says {figures.sent} sent, the inbox holds {figures.caught}.")
    for line in wrong:
        console.print(f"[red]{line}[/]")
    if not wrong:
        console.print("The ledger adds up, and every mail it calls sent is in the inbox.")
    return not wrong


def _someone(inbox: RunningInbox) -> str:
    return next((mail.recipients[0] for mail in inbox.messages()), "ADDRESS")


@contextmanager
def _inbox_page(inbox: RunningInbox, port: int, public_url: str) -> Iterator[None]:
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
