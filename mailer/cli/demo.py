"""The command ``mailer demo``: send a sample newsletter to 500 readers in 18 languages."""

import fcntl
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis
import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError
from mailer.cli.supervisor import Supervisor, handle_termination
from mailer.devtools.inbox import InboxServer, start_inbox_server
from mailer.devtools.inbox.web import create_inbox_app
from mailer.domain.document import decode, parse
from mailer.domain.labels import SKIP_REASON_LABELS
from mailer.domain.locales import native_name
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.plurals import format_count
from mailer.domain.states import IssueState, SkipReason
from mailer.domain.subscriber_fields import read_address
from mailer.domain.suppressions import SuppressionReason
from mailer.services.accounts import people
from mailer.services.feedback import bounces
from mailer.services.issues import approve, compile, document_import, issue_pictures, report, schedule
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import csv_import
from mailer.settings import ROOT, Settings

SAMPLE = ROOT / "docs" / "sample"
_TIMEOUT_SECONDS = 120


@dataclass(slots=True)
class DemoResult:
    """The figures that ``--json`` writes."""

    candidates: int
    sent: int
    skipped: dict[SkipReason, int]
    failed: int
    editions: int
    languages: int
    seconds: float
    """From the send order until the last mail reached the inbox."""
    caught: int
    """Number of mails in the local inbox."""


def run_demo(exit_: bool, json_file: Path | None, web_port: int, inbox_port: int) -> None:
    """Send the sample issue and show it until Ctrl-C, or exit after the report."""
    console = Console()
    state = Path(".local/demo")
    for name in [name for name in os.environ if name.startswith("MAILER_")]:
        del os.environ[name]  # the demo ignores this shell's settings
    handle_termination()
    with ExitStack() as stack:
        stack.enter_context(_exclusive(state))
        # Open the file first, so that an unwritable path fails before anything is sent.
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
            web_components=True,
            smtp_host="127.0.0.1",
            smtp_port=inbox.port,
            batch_size=100,
        )
        with console.status("Starting PostgreSQL and Redis…"):
            app = stack.enter_context(Container(settings))
            app.database.delete_all_rows()
            redis.Redis.from_url(app.redis_url).flushall()
        supervisor = stack.enter_context(Supervisor(app))
        supervisor.start_all()
        stack.enter_context(_serve_inbox(inbox, inbox_port, settings.public_url))
        with console.status("Importing the issue and its readers…"):
            issue = _prepare(app)
        accounts = _add_accounts(app)
        figures = _send(app, supervisor, inbox, issue, console)
        draft = _import("2026-4", app)
        complete = _print_report(app, issue, figures, console)
        if figures_file:
            print(json.dumps(asdict(figures), indent=2), file=figures_file, flush=True)
        if exit_:
            if not complete:
                raise typer.Exit(1)
            return
        inbox_page = f"http://127.0.0.1:{inbox_port}/inbox"
        console.print(f"\nRead the mail as its readers see it:  [bold]{inbox_page}[/]")
        console.print("The links in each mail work: web view, preferences and unsubscribe.")
        console.print("Readers need no sign-in: the links in their mail identify them. Try the command line:")
        console.print(f"  MAILER_STATE_DIR={state} .venv/bin/mailer issue status {issue}", soft_wrap=True)
        console.print(
            f"  MAILER_STATE_DIR={state} .venv/bin/mailer explain {issue} {_sample_recipient(inbox)}",
            soft_wrap=True,
        )
        _print_accounts(accounts, draft, settings.public_url, console)
        console.print("\nStop with Ctrl-C.")
        try:
            while not (exited := supervisor.exited()):
                time.sleep(0.5)
            console.print(f"{', '.join(exited)} exited; see {state / 'logs'}")
            raise typer.Exit(1)
        except KeyboardInterrupt:
            console.print("Stopping.")


@contextmanager
def _exclusive(state: Path) -> Iterator[None]:
    """Lock the folder, because a second demo would empty the database of the first."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"A demo is already running in {state}. Stop it first.") from None
        yield


def _free_port(port: int) -> int:
    """Return the port if it is free, else another free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare(app: Container) -> int:
    """Import the sample newsletter, its issue and its readers. Return the approved issue's id."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    issue = _import("2026-3", app)
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
    errors = compile.render_errors(material, app.renderer, app.urls, app.settings.bounce_domain)
    approve.approve(app.database, material, "demo", errors)
    return issue


def _import(name: str, app: Container) -> int:
    """Import an issue of the sample in all its languages, the first one first. Return its id."""
    files = sorted(SAMPLE.glob(f"{name}.*.md"), key=lambda file: (file.stem != f"{name}.en", file.name))
    pictures, issue = app.picture_loader(SAMPLE), 0
    for file in files:
        document = parse(decode(file.read_bytes()), file.stem.partition(".")[2])
        result = document_import.import_document(
            app.database,
            document,
            "lumen-basin",
            document.front_matter["language"],
            number=name.replace("-", "/"),
            today=datetime.now(UTC).date(),
            picture_loader=pictures,
            picture_store=app.picture_store,
            actor="demo",
        )
        issue = result.issue
    header = issue_pictures.NewPicture(pictures("pictures/masthead.jpg"), "masthead.jpg")
    issue_pictures.set_header_image(app.database, issue, header, "demo", app.picture_store)
    return issue


def _add_accounts(app: Container) -> list[tuple[Role, str, str]]:
    """Add an account for each role. Return role, address and password, which are made for this run."""
    made = []
    for role in Role:
        address, password = f"{role.value}@example.org", secrets.token_urlsafe(12)
        languages = ("fr", "ar") if role is Role.translator else ()
        people.create_account(
            app.database,
            app.passwords,
            address,
            f"{role.value.title()} Example",
            password,
            [RoleGrant(role, None, languages)],
            datetime.now(UTC),
            "demo",
        )
        made.append((role, address, password))
    return made


def _print_accounts(accounts: list[tuple[Role, str, str]], draft: int, url: str, console: Console) -> None:
    """Print where to sign in, as whom, and what to try there."""
    console.print(f"\nWork on the newsletter:  [bold]{url}/desk[/]")
    table = Table("sign in as", "password, for this run only")
    for _, address, password in accounts:
        table.add_row(address, escape(password))
    console.print(table)
    console.print(
        f"Issue {draft} waits there as a draft: sign in as coordinator@example.org, look it over, approve it, "
        "send it to the same readers, and watch it arrive.",
        soft_wrap=True,
    )


def _suppress_and_unsubscribe(app: Container) -> None:
    """Suppress some readers and unsubscribe others, as the sample's text files list them."""

    def hashes(file: str) -> list[bytes]:
        lines = (SAMPLE / file).read_text("utf-8").split()
        return [app.tokens.address_hash(read_address(line)[1]) for line in lines]

    bounces.suppress(app.database, hashes("suppressed.txt"), SuppressionReason.complaint)
    bounces.unsubscribe(app.database, "lumen-basin", hashes("unsubscribed.txt"), datetime.now(UTC))


def _send(app: Container, supervisor: Supervisor, inbox: InboxServer, issue: int, console: Console) -> DemoResult:
    """Send the issue, wait until it is sent, and return the figures."""
    started = time.monotonic()
    schedule.schedule(app.database, issue, datetime.now(UTC), "demo")
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    with bar:
        task = bar.add_task("Sending", total=None)
        while True:
            status = report.status(app.database, issue, datetime.now(UTC))
            counts = status.counts
            if counts.candidates:
                done = counts.candidates - counts.pending
                bar.update(task, total=counts.candidates, completed=done)
            if status.state is IssueState.sent or time.monotonic() - started > _TIMEOUT_SECONDS:
                break
            if exited := supervisor.exited():
                console.print(f"[red]{', '.join(exited)} exited[/]; see {app.settings.state_dir / 'logs'}")
                break
            time.sleep(0.1)
    seconds = time.monotonic() - started
    rows = report.by_language(app.database, issue)
    return DemoResult(
        candidates=counts.candidates,
        sent=counts.sent,
        skipped=report.skipped_by_reason(app.database, issue),
        failed=counts.failed,
        editions=status.editions,
        languages=sum(bool(row.language) for row in rows),
        seconds=round(seconds, 1),
        caught=len(inbox.messages()),
    )


def _print_report(app: Container, issue: int, result: DemoResult, console: Console) -> bool:
    """Print the result. Return whether every mail is accounted for."""
    table = Table("first language", *("readers", "editions", "sent", "fallback", "not sent"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in report.by_language(app.database, issue):
        name = native_name(row.language) if row.language else "another language"
        table.add_row(name, *(str(n) for n in (row.subscribers, row.editions, row.sent, row.fell_back, row.not_sent)))
    console.print(table)
    skipped = ", ".join(f"{count} {SKIP_REASON_LABELS[reason]}" for reason, count in result.skipped.items())
    console.print(
        f"{result.candidates} candidates = {result.sent} sent + {sum(result.skipped.values())} skipped"
        f" ({skipped or 'none'}) + {result.failed} failed; "
        f"{result.editions} editions; {result.seconds} s from the send order to the last mail."
    )
    problems = [finding.message for finding in report.audit(app.database, issue)]
    if result.candidates != result.sent + sum(result.skipped.values()) + result.failed:
        problems.append(f"Some deliveries were not finished after {_TIMEOUT_SECONDS} s.")
    if result.failed:
        problems.append(f"{format_count(result.failed, 'delivery', 'deliveries')} failed.")
    if result.caught != result.sent:
        problems.append(f"The ledger has {result.sent} sent, but the inbox has {result.caught}.")
    for line in problems:
        console.print(f"[red]{line}[/]")
    if not problems:
        console.print("The ledger adds up, and every sent mail is in the inbox.")
    return not problems


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
