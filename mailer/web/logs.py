"""What must not stand in a log: readers' tokens and network addresses."""

import logging
import re

from mailer.domain.urls import TOKEN_PATH_REGEX

_TOKENS = re.compile(rf"({TOKEN_PATH_REGEX.removeprefix('^')})[^/\s?#\"]+")


class TokenRedactingFilter(logging.Filter):
    """Takes tokens and network addresses out of the lines of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            _, *rest = record.args
            record.args = ("-", *(redact_tokens(part) if isinstance(part, str) else part for part in rest))
        return True


def redact_tokens(line: str) -> str:
    """``/u/k3J…?lang=fr`` → ``/u/*?lang=fr``"""
    return _TOKENS.sub(r"\1*", line)


def install_token_redaction() -> None:
    """See to it that an access log, where somebody turns it on, knows no reader."""
    logger = logging.getLogger("uvicorn.access")
    if not any(isinstance(known, TokenRedactingFilter) for known in logger.filters):
        logger.addFilter(TokenRedactingFilter())
