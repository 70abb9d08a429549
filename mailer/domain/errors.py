"""Errors that pass from the store to the edges, which answer them without knowing the store."""


class DatabaseDown(RuntimeError):
    """PostgreSQL cannot be reached."""


class IssueNotFound(LookupError):
    """There is no such issue."""

    def __init__(self, issue: int) -> None:
        super().__init__(f"There is no issue {issue}.")
