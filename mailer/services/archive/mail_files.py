"""What the links in an email lead to: its web view, and its pictures."""

from dataclasses import dataclass

from mailer.domain.ports import PictureStore
from mailer.store import editions, pictures, transactional
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class EditionPage:
    """The web view of an edition."""

    html: str
    language: str


@dataclass(frozen=True, slots=True)
class PictureFile:
    """The bytes of a picture."""

    media_type: str
    data: bytes


def edition_page(database: Database, issue: int, edition: int) -> EditionPage | None:
    """Return the web view of an edition: a complete HTML document without personal data.

    Return None if there is no such edition or it is not rendered yet.
    """
    with database.public_transaction() as session:
        row = editions.by_id(session, edition)
        if row is None or row.issue_id != issue or not row.html:
            return None
        return EditionPage(row.html, row.language)


def test_page(database: Database, issue: int, test: int) -> EditionPage | None:
    """Return the web view of a test of an issue, until the test is deleted."""
    with database.public_transaction() as session:
        found = transactional.test_view(session, issue, test)
        return EditionPage(*found) if found else None


def picture(database: Database, store: PictureStore | None, prefix: str) -> PictureFile | None:
    """Return the picture whose SHA-256 begins with these 32 hexadecimal digits, or None.

    Raises PictureMissing if its bytes are nowhere, and PictureStoreDown.
    """
    with database.public_transaction() as session:
        row = pictures.by_prefix(session, prefix)
        if row is None:
            return None
        media_type, sha256, data = row.media_type, row.sha256, row.data
    return PictureFile(media_type, pictures.read(sha256, data, store))
