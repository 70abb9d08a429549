"""Editions: composed once, read by every worker that sends them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.models import Edition


@dataclass(frozen=True, slots=True)
class EditionMessage:
    """The parts of an edition that sending needs."""

    id: int
    language: str
    message: bytes
    slots: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class StaleEdition:
    """An edition that was not rendered yet, or of an older revision of its issue."""

    id: int
    language: str
    sections: int
    sources: int
    """Mask of the issues that it holds, in a digest; otherwise 0."""


def claim_stale(session: Session, issue: int, limit: int) -> list[StaleEdition]:
    """Lock editions that are not rendered in the issue's current revision; return them."""
    query = """
        SELECT e.id, e.language, e.sections, e.sources FROM edition e JOIN issue i ON i.id = e.issue_id
        WHERE e.issue_id = :issue AND e.revision <> i.revision
        ORDER BY e.sources, e.language, e.sections LIMIT :limit FOR UPDATE OF e SKIP LOCKED
    """
    rows = session.execute(text(query), {"issue": issue, "limit": limit})
    return [StaleEdition(*row) for row in rows]


def count_stale(session: Session, issue: int) -> int:
    query = """
        SELECT count(*) FROM edition e JOIN issue i ON i.id = e.issue_id
        WHERE e.issue_id = :issue AND e.revision <> i.revision
    """
    return session.scalar(text(query), {"issue": issue}) or 0


def load_messages(session: Session, ids: Iterable[int]) -> list[EditionMessage]:
    query = select(Edition.id, Edition.language, Edition.message, Edition.slots)
    rows = session.execute(query.where(Edition.id.in_(list(ids))))
    return [EditionMessage(row.id, row.language, row.message, row.slots) for row in rows]


def by_id(session: Session, edition: int) -> Edition | None:
    return session.get(Edition, edition)


def of_issue(session: Session, issue: int) -> list[Edition]:
    """Return the editions of an issue, by language and sections."""
    query = select(Edition).where(Edition.issue_id == issue).order_by(Edition.language, Edition.sections)
    return list(session.scalars(query))


def count(session: Session, issue: int) -> int:
    return session.scalar(select(func.count()).where(Edition.issue_id == issue)) or 0


def save(session: Session, edition: int, **values: object) -> None:
    session.execute(update(Edition).where(Edition.id == edition).values(**values))


def find(session: Session, issue: int, language: str, sections: int) -> Edition | None:
    """Return an edition of an issue that is no digest."""
    query = select(Edition).where(Edition.issue_id == issue, Edition.language == language)
    return session.scalar(query.where(Edition.sections == sections, Edition.sources == 0))


def add(session: Session, issue: int, language: str, sections: int) -> None:
    """Add an edition, to be rendered, unless it is there. No delivery refers to it yet."""
    query = insert(Edition).values(issue_id=issue, language=language, sections=sections)
    session.execute(query.on_conflict_do_nothing())
