"""The commands ``mailer migrate``, ``web``, ``inbox``, ``run``, ``demo`` and ``settings``."""

import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError
from mailer.cli.supervisor import Supervisor, handle_termination
from mailer.domain.errors import DatabaseDown

if TYPE_CHECKING:
    from fastapi import FastAPI

STREAMS_END_SECONDS = 10
"""How long a stop waits for answers that are under way. Streams of events end only then."""


def _serve(
    web_app: "FastAPI",
    host: str,
    port: int,
    advice: str,
    ready_message: str = "",
    trusted_proxies: str | None = None,
) -> None:
    """Serve a web app until the process ends.

    ``ready_message`` is printed with the port in place of ``%d``. ``trusted_proxies`` may set
    X-Forwarded-For. Raises UsageError, with ``advice`` at its end, if the port is not available.
    """
    import uvicorn

    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise UsageError(f"Cannot listen on {host}:{port}: {reason}. {advice}") from None
    if ready_message:
        print(ready_message % listener.getsockname()[1], flush=True)
    with listener:
        config = uvicorn.Config(
            web_app,
            access_log=False,  # URLs contain readers' tokens
            log_level="warning",
            server_header=False,
            forwarded_allow_ips=trusted_proxies,
            timeout_graceful_shutdown=STREAMS_END_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def migrate() -> None:
    """Migrate the database. Safe to repeat, and to run on two hosts at once."""
    with Container() as app:
        app.migrate()
    print("The database is up to date.")


def web() -> None:
    """Serve the web pages."""
    from mailer.web.app import create_app

    with Container(application="mailer web", pool_size=10) as app:
        # Without a database the pages say so, until it is back; the key is then checked before it is used.
        with suppress(DatabaseDown):
            app.tokens  # noqa: B018
        settings = app.settings
        _serve(
            create_app(app),
            settings.web_host,
            settings.web_port,
            "Choose another port with MAILER_WEB_PORT.",
            trusted_proxies=settings.web_trusted_proxies,
        )


def inbox(
    folder: Annotated[Path, typer.Option(help="Folder for received mail.")] = Path(".local/inbox"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="SMTP port.")] = 1025,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the inbox page.")] = 8026,
    host_name: Annotated[
        list[str] | None, typer.Option(help="Another name of this host under which the page may be opened.")
    ] = None,
) -> None:
    """Receive mail and show it in the browser. For demos and development only: delivers nothing."""
    from mailer.devtools.inbox import start_inbox_server
    from mailer.devtools.inbox.web import create_inbox_app
    from mailer.settings import read_settings

    settings = read_settings()
    host = host.strip("[]")
    shown = f"[{host}]" if ":" in host else host
    with start_inbox_server(host, smtp_port, folder) as server:
        web_app = create_inbox_app(server.inbox, [settings.public_url], [host, *(host_name or [])])
        message = f"Receiving mail on {shown}:{server.port}, showing it on http://{shown}:%d/inbox"
        _serve(web_app, host, web_port, "Choose another port with --web-port.", message)


def run() -> None:
    """Run everything on this host: web server, workers and scheduler. Stop with Ctrl-C."""
    handle_termination()
    with Container() as app, Supervisor(app) as supervisor:
        app.tokens  # noqa: B018  # refuses a wrong key before anything runs
        supervisor.start_all()
        print(f"Web pages on {app.settings.public_url}; workers are running. Stop with Ctrl-C.", flush=True)
        try:
            while not (exited := supervisor.exited()):
                time.sleep(0.5)
            print(f"{', '.join(exited)} exited; see {app.settings.state_dir / 'logs'}", file=sys.stderr)
            raise typer.Exit(1)
        except KeyboardInterrupt:
            print("Stopping. Messages in flight are finished first.")


def demo(
    exit_: Annotated[bool, typer.Option("--exit", help="Exit after the report.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    web_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the readers' pages; 0 for a free one.")
    ] = 8025,
    inbox_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the inbox page; 0 for a free one.")] = 8026,
) -> None:
    """Send a sample issue in many languages and show it. Nothing leaves this machine."""
    from mailer.cli.demo import run_demo

    run_demo(exit_, json_file, web_port, inbox_port)


def settings(
    check: Annotated[
        bool, typer.Option("--check", help="Try the settings: database, Redis, keys. Exit status 2 if any is wrong.")
    ] = False,
    relay: Annotated[
        bool, typer.Option("--relay", help="With --check: connect to each relay, log in, and send nothing.")
    ] = False,
) -> None:
    """Print every MAILER_ variable with its default as a Markdown table, or check the settings."""
    from mailer.settings import read_valid_settings

    if not check:
        print(settings_table())
        return
    from mailer.cli.settings_check import find_problems

    read, problems = read_valid_settings()
    with Container(read) as app:
        problems += find_problems(app, with_relays=relay)
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        raise typer.Exit(2)
    print("The settings are valid.")


def settings_table() -> str:
    """Return the table of docs/settings.md."""
    from mailer.settings import Settings

    lines = ["| variable | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        if isinstance(default, bool):
            text = f"`{str(default).lower()}`"
        elif isinstance(default, list):
            text = ", ".join(item.name for item in default) or "empty"
        else:
            no_limit = isinstance(default, float) and not default
            text = "empty" if default in ("", {}) or no_limit else f"`{default}`"
        lines.append(f"| `MAILER_{name.upper()}` | {text} | {field.description} |")
    return "\n".join(lines)
