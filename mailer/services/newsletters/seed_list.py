"""The addresses that get every issue of a newsletter in full when it goes out, beside its readers."""

from mailer.store import subscribers
from mailer.store.database import Database


def is_suppressed(database: Database, address_hash: bytes) -> bool:
    """Return whether nothing is sent to an address of the list, because it is suppressed."""
    with database.transaction() as session:
        return subscribers.suppression(session, address_hash) is not None
