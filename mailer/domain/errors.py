"""Errors that a person can fix, and errors of the store that pages and commands handle."""

from collections.abc import Sequence


class UserError(Exception):
    """An error that the person who gave the input or the order can fix. The message is a sentence for them."""


class ChangeRefused(UserError, ValueError):
    """A change that this newsletter or issue does not allow. The message tells an author what to do."""


class UnknownSections(ChangeRefused):
    """Headings of a document that are no section of the newsletter. The message lists them."""


class DatabaseDown(UserError, RuntimeError):
    """PostgreSQL cannot be reached."""


class QueryTimeout(RuntimeError):
    """A query took longer than what anyone may ask for is given."""


class PictureMissing(UserError, LookupError):
    """The bytes of a picture are not where they should be."""


class PictureStoreDown(UserError, RuntimeError):
    """The picture store cannot be reached."""


class IssueNotFound(UserError, LookupError):
    """There is no such issue."""

    def __init__(self, issue: int) -> None:
        super().__init__(f"There is no issue {issue}.")


class NewsletterNotFound(UserError, LookupError):
    """There is no such newsletter."""

    def __init__(self, slug: str, known_slugs: Sequence[str]) -> None:
        super().__init__(f"There is no newsletter “{slug}”. There is: {', '.join(known_slugs) or 'none yet'}.")
        self.known_slugs = known_slugs
