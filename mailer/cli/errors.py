"""Errors that a user can fix. Their messages are sentences for that user."""

from mailer.adapters.embedded import EmbeddedServerMissing, UnusableStateDir
from mailer.adapters.markdown import TooDeep, TooLong
from mailer.adapters.mjml import TooLarge, UnsafeLink
from mailer.adapters.pictures import InvalidPicture
from mailer.bootstrap import PictureNotFound
from mailer.domain.document import DocumentError
from mailer.domain.errors import DatabaseDown, IssueNotFound, NewsletterNotFound
from mailer.domain.languages import InvalidLanguageTag
from mailer.domain.message import UnsafeHeader
from mailer.domain.newsletter import ChangeRefused, NewsletterError
from mailer.domain.resolution import InvalidReplyCode
from mailer.domain.states import InvalidIssueState, IssueAction
from mailer.domain.subscriber_fields import InvalidValue
from mailer.services.delivery.monitor import EndpointNotFound
from mailer.services.delivery.resolve import DeliveryNotFound
from mailer.services.feedback.bounces import UnrecognizedMailNotFound
from mailer.services.issues.approve import NotApproved
from mailer.services.issues.compile import EditionNotFound
from mailer.services.subscribers.csv_import import ImportRefused
from mailer.services.subscribers.personal_data import MailInTransit
from mailer.settings import SettingsError

_ACTION_ADVICE = {
    IssueAction.approve: "Approve it first",
    IssueAction.unschedule: "Unschedule it",
    IssueAction.reopen: "Withdraw the approval",
    IssueAction.cancel: "Stop the emails that are not sent yet",
}


class UsageError(ValueError):
    """Arguments that are invalid or contradict each other."""


def describe(error: Exception) -> str:
    """Return an error's message as a sentence, with advice where a command helps."""
    message = str(error)
    if isinstance(error, InvalidValue):  # worded as part of a sentence
        message = message[:1].upper() + message[1:]
    if isinstance(error, IssueNotFound):
        message += " List all issues with: mailer issue list."
    if isinstance(error, NewsletterNotFound) and not error.known_slugs:
        message += " Create one with: mailer newsletter apply FILE."
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


EXPECTED_ERRORS = (
    InvalidPicture,
    DatabaseDown,
    DocumentError,
    EmbeddedServerMissing,
    ImportRefused,
    UsageError,
    NewsletterError,
    InvalidReplyCode,
    IssueNotFound,
    NewsletterNotFound,
    UnrecognizedMailNotFound,
    DeliveryNotFound,
    EditionNotFound,
    EndpointNotFound,
    InvalidLanguageTag,
    NotApproved,
    OSError,
    MailInTransit,
    PictureNotFound,
    ChangeRefused,
    SettingsError,
    TooDeep,
    TooLarge,
    TooLong,
    UnusableStateDir,
    UnsafeHeader,
    UnsafeLink,
    InvalidIssueState,
)
