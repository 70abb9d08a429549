"""What commands print on, and how they write spans of time."""

import sys

from rich.console import Console

_NO_EDGE = 10_000


def console(at_least: int = 0) -> Console:
    """As wide as the terminal, or wider; a pipe or a file has no edge, so nothing is cut there."""
    if not sys.stdout.isatty():
        return Console(width=_NO_EDGE)
    made = Console()
    return made if made.width >= at_least else Console(width=at_least)


def span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
