"""What commands print on, and how they write spans of time."""

import sys

from rich.console import Console

_NO_EDGE = 10_000


def console() -> Console:
    """As wide as the terminal; a pipe or a file has no edge, so nothing is cut there."""
    return Console(width=None if sys.stdout.isatty() else _NO_EDGE)


def span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
