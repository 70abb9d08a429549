"""Arguments and options that several commands share."""

import getpass
from typing import Annotated

import typer

IssueId = Annotated[int, typer.Argument(metavar="N", min=1, max=2**31 - 1, help="Issue id, as in `mailer issue list`.")]
Actor = Annotated[str, typer.Option("--by", help="Your name for the issue's log. Default: the user name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def current_user() -> str:
    """Return the user who runs this command: the default for ``--by``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user in a container may have no name
        return "command line"
