"""What commands print on, and how they write spans of time."""

import sys

from rich.console import Console

_UNLIMITED_WIDTH = 10_000


def make_console(min_width: int = 0) -> Console:
    """As wide as the terminal, or wider; a pipe or a file has no edge, so nothing is cut there."""
    if not sys.stdout.isatty():
        return Console(width=_UNLIMITED_WIDTH)
    made = Console()
    return made if made.width >= min_width else Console(width=min_width)


def format_duration(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
