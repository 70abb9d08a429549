"""What must not stand in a log: readers' tokens and network addresses."""

import logging
import re

_TOKENS = re.compile(r"(/[upekca]/)[^/\s?#\"]+")


class Discreet(logging.Filter):
    """Takes tokens and network addresses out of the lines of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            _, *rest = record.args
            record.args = ("-", *(without_tokens(part) if isinstance(part, str) else part for part in rest))
        return True


def without_tokens(line: str) -> str:
    """``/u/k3J…?lang=fr`` → ``/u/*?lang=fr``"""
    return _TOKENS.sub(r"\1*", line)


def keep_discreet() -> None:
    """See to it that an access log, where somebody turns it on, knows no reader."""
    logger = logging.getLogger("uvicorn.access")
    if not any(isinstance(known, Discreet) for known in logger.filters):
        logger.addFilter(Discreet())
