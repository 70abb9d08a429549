"""Errors that the store raises and the web pages and command line handle."""

from collections.abc import Sequence


class DatabaseDown(RuntimeError):
    """PostgreSQL cannot be reached."""


class QueryTimeout(RuntimeError):
    """A query took longer than what anyone may ask for is given."""


class IssueNotFound(LookupError):
    """There is no such issue."""

    def __init__(self, issue: int) -> None:
        super().__init__(f"There is no issue {issue}.")


class NewsletterNotFound(LookupError):
    """There is no such newsletter."""

    def __init__(self, slug: str, known_slugs: Sequence[str]) -> None:
        super().__init__(f"There is no newsletter “{slug}”. There is: {', '.join(known_slugs) or 'none yet'}.")
        self.known_slugs = known_slugs
