"""mailer migrate, web, inbox, run, settings"""

import socket
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from mailer.bootstrap import Container
from mailer.cli.errors import UsageError
from mailer.cli.supervisor import Supervisor, handle_termination
from mailer.settings import Settings, read_settings
from mailer.web.app import create_app


def _serve(
    app: FastAPI,
    host: str,
    port: int,
    advice: str,
    ready_message: str = "",
    trusted_proxies: str | None = None,
) -> None:
    """Serve an app until the process is ended; ``ready`` is printed with the port; ``proxies`` are believed when
    they say for whom they ask. Raises Misuse, which ends in ``otherwise``, when the port cannot be had."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise UsageError(f"Nothing can be served on {host}:{port}: {why}. {advice}") from None
    if ready_message:
        print(ready_message % listener.getsockname()[1], flush=True)
    with listener:
        config = uvicorn.Config(
            app,
            access_log=False,  # addresses of pages hold readers' tokens
            log_level="warning",
            server_header=False,
            forwarded_allow_ips=trusted_proxies,
        )
        uvicorn.Server(config).run(sockets=[listener])


def migrate() -> None:
    """Bring the database up to date; safe to run twice, or on two hosts at once."""
    with Container() as parts:
        parts.migrate()
    print("The database is up to date.")


def web() -> None:
    """Serve the web pages."""
    with Container(application="mailer web", pool_size=10) as parts:
        settings = parts.settings
        otherwise = "Choose another with MAILER_WEB_PORT."
        _serve(
            create_app(parts),
            settings.web_host,
            settings.web_port,
            otherwise,
            trusted_proxies=settings.web_trusted_proxies,
        )


def inbox(
    folder: Annotated[Path, typer.Option(help="Where caught mail is kept.")] = Path(".local/inbox"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="Port that takes mail.")] = 1025,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 8026,
) -> None:
    """Catch mail and show it as readers see it: for demos and development, never for real mail."""
    from mailer.devtools.inbox import start_inbox_server
    from mailer.devtools.inbox.web import create_inbox_app

    settings = read_settings()
    with start_inbox_server(host, smtp_port, folder) as running:
        app = create_inbox_app(running.inbox, [settings.public_url])
        said = f"Catching mail on {host}:{running.port}, showing it on http://{host}:%d/inbox"
        _serve(app, host, web_port, "Choose another with --web-port.", said)


def run() -> None:
    """Run everything on this host: web pages, workers and the clock, until Ctrl-C."""
    handle_termination()
    with Container() as parts, Supervisor(parts) as processes:
        processes.start_all()
        print(f"Web pages on {parts.settings.public_url}. Workers run. Ctrl-C ends it.", flush=True)
        try:
            while not (gone := processes.exited()):
                time.sleep(0.5)
            print(f"{', '.join(gone)} ended; see {parts.settings.state_dir / 'logs'}", file=sys.stderr)
            raise typer.Exit(1)
        except KeyboardInterrupt:
            print("Ending; messages in flight finish.")


def settings() -> None:
    """List every MAILER_ variable with its default, as a Markdown table."""
    print(settings_table())


def settings_table() -> str:
    """The table of docs/settings.md, from the settings themselves."""
    lines = ["| variable | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        if isinstance(default, list):
            shown = ", ".join(one.name for one in default) or "empty"
        else:
            no_limit = isinstance(default, float) and not default
            shown = "empty" if default == "" or no_limit else f"`{default}`"
        lines.append(f"| `MAILER_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)
