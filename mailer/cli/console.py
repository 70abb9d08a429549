"""Console output: widths and durations."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNLIMITED_WIDTH = 10_000


def make_console(min_width: int = 0) -> "Console":
    """Return a console as wide as the terminal, at least ``min_width`` columns.

    Pipes and files get no width limit, so that nothing is cut.
    """
    from rich.console import Console

    if not sys.stdout.isatty():
        return Console(width=_UNLIMITED_WIDTH)
    console = Console()
    return console if console.width >= min_width else Console(width=min_width)


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit that it holds twice, such as ``90 s`` or ``28 min``."""
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
