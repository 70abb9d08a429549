"""Errors that a user can mend: each has a message that is a sentence for them."""

from mailer.adapters.embedded import EmbeddedMissing, UnfitFolder
from mailer.adapters.markup import TooDeep, TooLong
from mailer.adapters.mjml import TooLarge, UnsafeLink
from mailer.adapters.pictures import BadPicture
from mailer.bootstrap import PictureMissing
from mailer.domain.document import DocumentError
from mailer.domain.languages import NotALanguage
from mailer.domain.message import UnsafeHeader
from mailer.domain.newsletter import NewsletterError, Refused
from mailer.domain.settling import NoCode
from mailer.domain.states import WrongState
from mailer.domain.subscribers import Unfit
from mailer.services.approve import NotApproved
from mailer.services.compose import NoIssue
from mailer.services.feedback import NoNewsletter
from mailer.services.report import NotFound
from mailer.services.rights import OnItsWay
from mailer.services.schedule import NoSuchIssue
from mailer.services.settle import NoSuchDelivery
from mailer.services.subscribers import ImportRefused
from mailer.services.watch import NoSuchName
from mailer.settings import SettingsError
from mailer.store.database import DatabaseDown


class Misuse(ValueError):
    """The command's words do not fit together."""


def sentence(problem: Exception) -> str:
    """A problem's message as a sentence, also where it is worded as a part of one, for a list of reasons."""
    said = str(problem)
    if isinstance(problem, Unfit):
        said = said[:1].upper() + said[1:]
    return said if said.endswith((".", "!", "?")) else f"{said}."


def about_the_database(problem: Exception) -> str:
    """What to do about a database that cannot be worked with; empty for all other problems."""
    import psycopg

    origin = getattr(problem, "orig", None)
    if isinstance(origin, psycopg.errors.UndefinedTable):
        return "The database is not set up: mailer migrate."
    # Migrations connect by themselves, so nobody has called this DatabaseDown.
    if isinstance(origin, psycopg.OperationalError) and "connect" in str(origin):
        return f"The database does not answer: {str(origin).splitlines()[0]}"
    return ""


EXPECTED = (
    BadPicture,
    DatabaseDown,
    DocumentError,
    EmbeddedMissing,
    ImportRefused,
    Misuse,
    NewsletterError,
    NoCode,
    NoIssue,
    NoNewsletter,
    NoSuchDelivery,
    NoSuchIssue,
    NoSuchName,
    NotALanguage,
    NotApproved,
    NotFound,
    OSError,
    OnItsWay,
    PictureMissing,
    Refused,
    SettingsError,
    TooDeep,
    TooLarge,
    TooLong,
    UnfitFolder,
    UnsafeHeader,
    UnsafeLink,
    WrongState,
)
