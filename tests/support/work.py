"""The work of a function, counted in calls: that does not depend on what else the machine does."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType


def count_calls(function: Callable[[], object]) -> Counter[str]:
    """Run a function; return how often it called functions of each name, written in Python or in C."""
    calls: Counter[str] = Counter()

    def record(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            calls[frame.f_code.co_name] += 1
        elif event == "c_call":
            calls[getattr(argument, "__name__", "")] += 1

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls
