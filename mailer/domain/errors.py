"""Errors that the store raises and the web pages and command line handle."""


class DatabaseDown(RuntimeError):
    """PostgreSQL cannot be reached."""


class QueryTimeout(RuntimeError):
    """A query took longer than what anyone may ask for is given."""


class IssueNotFound(LookupError):
    """There is no such issue."""

    def __init__(self, issue: int) -> None:
        super().__init__(f"There is no issue {issue}.")
