"""Lists of suppressions for staff."""

from mailer.store import suppressions
from mailer.store.database import Database
from mailer.store.suppressions import ListedSuppression, SuppressionFilter, SuppressionKey

__all__ = ["ListedSuppression", "SuppressionFilter", "SuppressionKey"]


def list_page(
    database: Database, only: SuppressionFilter, after: SuppressionKey | None, limit: int
) -> list[ListedSuppression]:
    """Return suppressions that match, the latest first, from the one after a place in the list."""
    with database.public_transaction() as session:
        return suppressions.page(session, only, after, limit)


def find(database: Database, address_hash: bytes) -> ListedSuppression | None:
    """Return the suppression of the address with this keyed hash."""
    with database.transaction() as session:
        return next(iter(suppressions.page(session, SuppressionFilter(address_hash=address_hash), None, 1)), None)
