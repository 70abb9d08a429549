"""Errors that a user can fix. Their messages are sentences for that user."""

from mailer.domain.errors import IssueNotFound, NewsletterNotFound, UnknownSections, UserError
from mailer.domain.states import InvalidIssueState, IssueAction

_ACTION_ADVICE = {
    IssueAction.approve: "Approve it first",
    IssueAction.unschedule: "Unschedule it",
    IssueAction.reopen: "Withdraw the approval",
    IssueAction.cancel: "Stop the emails that are not sent yet",
}


class UsageError(UserError):
    """Arguments that are invalid or contradict each other."""


def is_expected(error: Exception) -> bool:
    """Return whether a user can fix the error, so that its message is enough."""
    from mailer.settings import SettingsError

    return isinstance(error, (UserError, SettingsError, OSError))


def describe(error: Exception) -> str:
    """Return an error's message as a sentence, with advice where a command helps."""
    from mailer.domain.subscriber_fields import InvalidValue

    message = str(error)
    if isinstance(error, InvalidValue):  # worded as part of a sentence
        message = message[:1].upper() + message[1:]
    if isinstance(error, IssueNotFound):
        message += " List all issues with: mailer issue list."
    if isinstance(error, UnknownSections):
        message += (
            "\nCorrect the headings, add the sections to the newsletter's file, or import with --new-sections to make "
            "them for this issue."
        )
    if isinstance(error, NewsletterNotFound) and not error.known_slugs:
        message += " Create one with: mailer newsletter new SLUG."
    if isinstance(error, InvalidIssueState):
        for action in error.remedies:
            message += f" {_ACTION_ADVICE[action]}: mailer issue {action} {error.issue}."
    return message if message.endswith((".", "!", "?")) else f"{message}."


def database_advice(error: Exception) -> str:
    """Return what to do about an unusable database, or an empty string for any other error."""
    import psycopg

    origin = getattr(error, "orig", None)
    if isinstance(origin, psycopg.errors.UndefinedTable):
        return "The database has no tables. Create them with: mailer migrate."
    # Migrations open their own connection, so this error was not translated to DatabaseDown.
    if isinstance(origin, psycopg.OperationalError) and "connect" in str(origin):
        return f"The database does not answer: {str(origin).splitlines()[0]}"
    return ""
