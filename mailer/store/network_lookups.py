"""What workers look up in the network for the check of issues."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import and_, delete, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.network_checks import LookupKind, LookupResult, StoredLookup
from mailer.domain.staff_texts import from_json, to_json
from mailer.models import IssueLookup, NetworkLookup


def request(session: Session, issue: int, now: datetime, not_since: datetime, claimed_before: datetime) -> bool:
    """Order the lookups of an issue, unless they were ordered after ``not_since`` or a worker is at them.

    Return whether they are ordered. A worker that claimed them before ``claimed_before`` is lost.
    """
    order = insert(IssueLookup).values(issue_id=issue, requested_at=now)
    order = order.on_conflict_do_update(
        index_elements=["issue_id"],
        set_={"requested_at": now, "claimed_at": None, "finished_at": None},
        where=and_(
            IssueLookup.requested_at < not_since,
            or_(
                IssueLookup.finished_at.is_not(None),
                IssueLookup.claimed_at.is_(None),
                IssueLookup.claimed_at < claimed_before,
            ),
        ),
    )
    return session.execute(order.returning(IssueLookup.issue_id)).first() is not None


def order_of(session: Session, issue: int) -> IssueLookup | None:
    return session.get(IssueLookup, issue)


def next_waiting(session: Session, claimed_before: datetime) -> int | None:
    """Return the issue whose lookups were ordered first and are not finished.

    None while a worker is at the lookups of any issue, unless it claimed them so long ago that it is lost.
    """
    unfinished = IssueLookup.finished_at.is_(None)
    at_work = select(IssueLookup).where(unfinished, IssueLookup.claimed_at >= claimed_before)
    query = select(IssueLookup.issue_id).where(unfinished, ~at_work.exists())
    return session.scalar(query.order_by(IssueLookup.requested_at).limit(1))


def claim(session: Session, issue: int, now: datetime, claimed_before: datetime) -> bool:
    """Claim an order, unless another worker has it. Return whether it is claimed."""
    order = update(IssueLookup).where(
        IssueLookup.issue_id == issue,
        IssueLookup.finished_at.is_(None),
        or_(IssueLookup.claimed_at.is_(None), IssueLookup.claimed_at < claimed_before),
    )
    return session.execute(order.values(claimed_at=now).returning(IssueLookup.issue_id)).first() is not None


def finish(session: Session, issue: int, now: datetime) -> None:
    session.execute(update(IssueLookup).where(IssueLookup.issue_id == issue).values(finished_at=now))


def save(session: Session, kind: LookupKind, target: str, result: LookupResult, now: datetime) -> None:
    """Keep a result in place of an earlier one."""
    values = {"outcome": result.outcome, "reason": to_json(result.reason), "looked_at": now}
    session.execute(
        insert(NetworkLookup)
        .values(kind=kind, target=target, **values)
        .on_conflict_do_update(index_elements=["kind", "target"], set_=values)
    )


def load(session: Session, targets: Iterable[tuple[LookupKind, str]]) -> dict[tuple[LookupKind, str], StoredLookup]:
    """Return the last results for these targets, without those that were never looked up."""
    query = select(NetworkLookup).where(tuple_(NetworkLookup.kind, NetworkLookup.target).in_(list(targets)))
    return {
        (row.kind, row.target): StoredLookup(LookupResult(row.outcome, from_json(row.reason)), row.looked_at)
        for row in session.scalars(query)
    }


def delete_before(session: Session, before: datetime) -> None:
    session.execute(delete(NetworkLookup).where(NetworkLookup.looked_at < before))
