"""Figures that need all deliveries of an issue, kept until they may have changed."""

from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.errors import IssueNotFound
from mailer.models import IssueFigures

_QUICK_SECONDS = 0.1
"""What takes no longer to count is counted again at every change."""
_AGE_FACTOR = 60
"""How many times as old as the time that counting took figures may become while an issue is being sent."""

# Changes with every delivery that changes its state, and with every mail that comes back.
_VERSION = """
SELECT concat_ws(' ', i.state, i.revision, extract(epoch FROM i.retried_at), b.sums,
    (SELECT concat_ws('-', count(*), max(id)) FROM feedback WHERE issue_id = i.id))
FROM issue i, LATERAL (
    SELECT concat_ws('-', count(*), sum(candidates), sum(sent), sum(failed), sum(skipped), sum(uncertain), sum(epoch),
        extract(epoch FROM max(progressed_at))) AS sums
    FROM batch WHERE issue_id = i.id
) b WHERE i.id = :issue
"""


class Kept(NamedTuple):
    """Figures as JSON, if they can still be shown."""

    figures: Any
    """None if they are to be counted."""
    version: str
    """Of the ledger at present, for ``save``."""


def find(session: Session, issue: int, name: str, max_age: timedelta | None = None) -> Kept:
    """Return kept figures of an issue, if they are no older than ``max_age``. Raises IssueNotFound.

    While it is being sent something always changes. Then figures that take long are kept for a while, so that counting
    takes a sixtieth of the time however many look.
    """
    version = session.scalar(text(_VERSION), {"issue": issue})
    if version is None:
        raise IssueNotFound(issue)
    kept = session.get(IssueFigures, (issue, name))
    if kept is None:
        return Kept(None, version)
    current = kept.version == version
    age = session.scalar(text("SELECT now() - CAST(:at AS timestamptz)"), {"at": kept.counted_at})
    if not current and kept.seconds > _QUICK_SECONDS:
        current = age < timedelta(seconds=kept.seconds * _AGE_FACTOR)
    if max_age is not None and age > max_age:
        current = False
    return Kept(kept.figures if current else None, version)


def save(session: Session, issue: int, name: str, version: str, seconds: float, figures: Any) -> None:
    """Keep figures that took so many seconds to count."""
    values = {"version": version, "seconds": seconds, "figures": figures, "counted_at": text("now()")}
    statement = insert(IssueFigures).values(issue_id=issue, name=name, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["issue_id", "name"], set_=values))
