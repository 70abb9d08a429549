"""Lists of suppressions, with what is known of the address and of the bounce behind each."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import Suppression


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which suppressions to list. All conditions must hold; None is none."""

    reason: SuppressionReason | None = None
    source: SuppressionSource | None = None
    since: datetime | None = None
    address_hash: bytes | None = None


class SuppressionKey(NamedTuple):
    """The place of a suppression in the list."""

    at: datetime
    address_hash: bytes


class ListedSuppression(NamedTuple):
    """A suppression, and the latest bounce of the address."""

    address_hash: bytes
    reason: SuppressionReason
    source: SuppressionSource
    note: str
    """The reply or the words of staff, without addresses."""
    at: datetime
    subscriber: int | None
    """None if nobody has the address any more."""
    address: str | None
    bounced_at: datetime | None
    bounce_reply: str
    issue: int | None
    """The issue that bounced."""
    issue_name: str


_LIST = """
SELECT x.address_hash, x.reason, x.source, x.note, x.created_at, r.id, r.address, f.at, coalesce(f.reply, ''),
    f.issue_id, coalesce(f.slug || ' ' || f.number, '')
FROM (
    SELECT * FROM suppression
    WHERE (CAST(:reason AS suppression_reason) IS NULL OR reason = :reason)
      AND (CAST(:source AS suppression_source) IS NULL OR source = :source)
      AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
      AND (CAST(:address_hash AS bytea) IS NULL OR address_hash = :address_hash)
      AND (CAST(:at AS timestamptz) IS NULL OR (created_at, address_hash) < (:at, CAST(:hash AS bytea)))
    ORDER BY created_at DESC, address_hash DESC LIMIT :limit
) x
LEFT JOIN subscriber r ON r.address_hash = x.address_hash
LEFT JOIN LATERAL (
    SELECT f.at, f.detail ->> 'reply' AS reply, f.issue_id, n.slug, i.number
    FROM feedback f LEFT JOIN issue i ON i.id = f.issue_id LEFT JOIN newsletter n ON n.id = i.newsletter_id
    WHERE f.subscriber_id = r.id AND f.kind = 'bounce' ORDER BY f.at DESC LIMIT 1
) f ON true
ORDER BY x.created_at DESC, x.address_hash DESC
"""


def among(session: Session, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the keyed hashes whose addresses are suppressed."""
    query = select(Suppression.address_hash).where(Suppression.address_hash.in_(hashes))
    return set(session.scalars(query))


def page(
    session: Session, only: SuppressionFilter, after: SuppressionKey | None, limit: int
) -> list[ListedSuppression]:
    """Return suppressions that match, the latest first, from the one after a place in the list."""
    values = asdict(only) | {"at": after and after.at, "hash": after and after.address_hash, "limit": limit}
    return [
        ListedSuppression(row[0], SuppressionReason(row[1]), SuppressionSource(row[2]), *row[3:])
        for row in session.execute(text(_LIST), values)
    ]
