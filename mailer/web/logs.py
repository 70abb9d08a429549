"""Keeps readers' tokens and network addresses, and the words of strangers, out of logs."""

import logging
import re

from mailer.domain.urls import TOKEN_PATH_REGEX

_TOKENS = re.compile(rf"({TOKEN_PATH_REGEX.removeprefix('^')})[^/\s?#\"]+")


class TokenRedactingFilter(logging.Filter):
    """Removes tokens and network addresses from uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            _, *rest = record.args
            record.args = ("-", *(redact_tokens(part) if isinstance(part, str) else part for part in rest))
        return True


def redact_tokens(line: str) -> str:
    """Return ``/u/*?lang=fr`` for ``/u/k3J…?lang=fr``."""
    return _TOKENS.sub(r"\1*", line)


def configure_logs() -> None:
    """Add the filter to uvicorn's access log, in case it is turned on, and silence the parser of forms.

    It would write a line, with bytes of the request, for each form that it cannot read.
    """
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    logger = logging.getLogger("uvicorn.access")
    if not any(isinstance(known, TokenRedactingFilter) for known in logger.filters):
        logger.addFilter(TokenRedactingFilter())
