"""The command line: each command parses its arguments, calls one service and prints."""

import sys
from typing import NoReturn

import typer

from mailer.cli import (
    accounts,
    deliveries,
    dkim,
    issue_review,
    issue_sending,
    issue_writing,
    newsletters,
    pictures,
    queues,
    servers,
    subscribers,
)
from mailer.cli.errors import database_advice, describe, is_expected

_issue_commands = typer.Typer(no_args_is_help=True, help="Import, check, approve, send and follow an issue.")
_issue_commands.add_typer(issue_writing.commands)
_issue_commands.add_typer(issue_review.commands)
_issue_commands.add_typer(issue_sending.commands)
commands = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Newsletters in many languages: each reader gets one email with exactly the sections they follow.",
)
commands.add_typer(newsletters.commands, name="newsletter")
commands.add_typer(newsletters.section_commands, name="section")
commands.add_typer(_issue_commands, name="issue")
commands.add_typer(subscribers.commands, name="subscribers")
commands.add_typer(queues.commands, name="queues")
commands.add_typer(deliveries.commands, name="deliveries")
commands.add_typer(dkim.commands, name="dkim")
commands.add_typer(accounts.commands, name="account")
commands.add_typer(pictures.commands, name="pictures")
commands.command("explain")(issue_sending.explain)
commands.command("suppress")(subscribers.suppress)
commands.command("receive")(subscribers.receive)
commands.command("retention")(subscribers.run_retention)
commands.command("migrate")(servers.migrate)
commands.command("web")(servers.web)
commands.command("inbox")(servers.inbox)
commands.command("run")(servers.run)
commands.command("settings")(servers.settings)
commands.command("demo")(servers.demo)


def main() -> None:
    """Run the command line. Print an expected error as one sentence and exit with status 2."""
    try:
        commands(prog_name="mailer")
    except Exception as error:
        if is_expected(error):
            message = describe(error)
            if isinstance(error, OSError) and error.strerror:
                message = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
            _exit_with_error(message)
        if message := database_advice(error):
            _exit_with_error(message)
        raise


def _exit_with_error(message: str) -> NoReturn:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"mailer: {message}", markup=False, highlight=False)
    sys.exit(2)
