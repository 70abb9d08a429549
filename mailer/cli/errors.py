"""Errors that a user can mend: each has a message that is a sentence for them."""

from mailer.adapters.embedded import EmbeddedServerMissing, UnusableStateDir
from mailer.adapters.markdown import TooDeep, TooLong
from mailer.adapters.mjml import TooLarge, UnsafeLink
from mailer.adapters.pictures import InvalidPicture
from mailer.bootstrap import PictureNotFound
from mailer.domain.document import DocumentError
from mailer.domain.languages import InvalidLanguageTag
from mailer.domain.message import UnsafeHeader
from mailer.domain.newsletter import ChangeRefused, NewsletterError
from mailer.domain.resolution import InvalidReplyCode
from mailer.domain.states import InvalidIssueState
from mailer.domain.subscriber_fields import InvalidValue
from mailer.services.delivery.monitor import EndpointNotFound
from mailer.services.delivery.resolve import DeliveryNotFound
from mailer.services.feedback.bounces import NewsletterNotFound
from mailer.services.issues.approve import NotApproved
from mailer.services.issues.compile import EditionNotFound
from mailer.services.subscribers.csv_import import ImportRefused
from mailer.services.subscribers.personal_data import MailInTransit
from mailer.settings import SettingsError
from mailer.store.database import DatabaseDown
from mailer.store.issues import IssueNotFound


class UsageError(ValueError):
    """The command's words do not fit together."""


def describe(error: Exception) -> str:
    """A problem's message as a sentence, also where it is worded as a part of one, for a list of reasons."""
    said = str(error)
    if isinstance(error, InvalidValue):
        said = said[:1].upper() + said[1:]
    if isinstance(error, IssueNotFound):
        said += " See them with: mailer issue list."
    return said if said.endswith((".", "!", "?")) else f"{said}."


def database_advice(error: Exception) -> str:
    """What to do about a database that cannot be worked with; empty for all other problems."""
    import psycopg

    origin = getattr(error, "orig", None)
    if isinstance(origin, psycopg.errors.UndefinedTable):
        return "The database is not set up: mailer migrate."
    # Migrations connect by themselves, so nobody has called this DatabaseDown.
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
