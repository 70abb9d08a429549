"""The command line: parse, call one service, print."""

import sys
from typing import NoReturn

import typer
from rich.console import Console

from mailer.cli import deliveries, demo, dkim, issues, newsletters, queues, readers, servers
from mailer.cli.errors import EXPECTED, about_the_database, sentence

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Newsletters in many languages: each reader gets one mail with exactly the sections they follow.",
)
app.add_typer(newsletters.app, name="newsletter")
app.add_typer(issues.app, name="issue")
app.add_typer(readers.app, name="subscribers")
app.add_typer(queues.app, name="queues")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(dkim.app, name="dkim")
app.command("explain")(issues.explain)
app.command("suppress")(readers.suppress)
app.command("receive")(readers.receive)
app.command("retention")(readers.retention_)
app.command("migrate")(servers.migrate)
app.command("web")(servers.web)
app.command("inbox")(servers.inbox)
app.command("run")(servers.run)
app.command("settings")(servers.settings)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line: an expected error is one sentence and exit status 2."""
    try:
        app()
    except EXPECTED as error:
        said = sentence(error)
        if isinstance(error, OSError) and error.strerror:
            said = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
        _complain(said)
    except Exception as error:
        if said := about_the_database(error):
            _complain(said)
        raise


def _complain(said: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(f"mailer: {said}", markup=False, highlight=False)
    sys.exit(2)
