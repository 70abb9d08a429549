"""One action on all deliveries that match a filter: retrying failed ones, and resolving uncertain ones.

An order is a row. Its deliveries are changed in chunks, each in a transaction that also records how far it came, so
that a lost process costs at most the chunk that it was at. The page that gives an order works on it for a moment; the
scheduler goes on with what is left.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mailer.domain.accounts import Actor, AuditAction, name_of
from mailer.domain.errors import DatabaseDown, UserError
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import DeliveryState, IssueEventKind
from mailer.models import DeliveryOrder
from mailer.services.delivery.resolve import restart_sending
from mailer.store import audit_log, delivery_orders, delivery_search, issues, resolution
from mailer.store.database import Database, Session
from mailer.store.delivery_search import Chosen, DeliveryFilter, FoundDelivery, Place
from mailer.store.resolution import ResolvedBy

__all__ = ["Chosen", "DeliveryFilter", "DeliveryOrder", "Place"]

CHUNK = 1_000
STATES = {
    Resolution.retry: DeliveryState.failed,
    Resolution.sent: DeliveryState.uncertain,
    Resolution.failed: DeliveryState.uncertain,
    Resolution.resend: DeliveryState.uncertain,
}
"""Which deliveries each of them is for."""


_log = logging.getLogger("mailer")


class NumberChanged(UserError):
    """Another number of deliveries matches by now."""


def list_page(database: Database, only: DeliveryFilter, after: Place | None, limit: int) -> list[FoundDelivery]:
    """Return deliveries that match, newest issue first, from the one after a place. Raises QueryTimeout."""
    with database.public_transaction() as session:
        return delivery_search.page(session, only, after, limit)


def count(database: Database, only: DeliveryFilter, wanted: Resolution, now: datetime) -> Chosen:
    """Return how many deliveries an order would be for. Raises QueryTimeout."""
    with database.public_transaction() as session:
        return delivery_search.count(session, only, wanted, now)


def place_order(
    database: Database,
    only: DeliveryFilter,
    wanted: Resolution,
    number: int,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    described: Mapping[str, str],
) -> int:
    """Order an action on all deliveries that match; return the order's id. Raises NumberChanged.

    ``only.state`` is the state that the action is for: see ``STATES``. ``described`` is the filter for the audit log.
    """
    with database.transaction() as session:
        if delivery_search.count(session, only, wanted, now).number != number:
            raise NumberChanged(NumberChanged.__doc__)
        order = delivery_orders.add(session, wanted, _to_json(only), number, name_of(actor), reason, now)
        action = AuditAction.deliveries_retried if wanted is Resolution.retry else AuditAction.deliveries_resolved
        detail: dict[str, Any] = {**described, "deliveries": number, "reason": reason}
        if wanted is not Resolution.retry:
            detail["outcome"] = wanted.value
        kind = "issue" if only.issue is not None else ""
        audit_log.record(session, now, actor, action, object_kind=kind, object_id=only.issue, detail=detail)
        return order


def find_order(database: Database, order: int) -> DeliveryOrder | None:
    with database.transaction() as session:
        return delivery_orders.find(session, order)


def carry_on(database: Database, order: int, now: datetime, *, seconds: float, chunk: int = CHUNK) -> bool:
    """Work on an order for about so many seconds; return whether it is finished."""
    end = time.monotonic() + seconds
    while True:
        with database.transaction() as session:
            row = delivery_orders.claim(session, order)
            if row is None:  # finished, or another process is at it
                return False
            _change_chunk(session, row, now, chunk)
            if row.finished_at is not None:
                return True
        if time.monotonic() > end:
            return False


def carry_on_all(database: Database, now: datetime, *, seconds: float) -> None:
    """Work on unfinished orders, the oldest first, for about so many seconds altogether.

    The others wait. An order that raises an error is logged and left for the next time, so that it holds up none.
    """
    end = time.monotonic() + seconds
    with database.transaction() as session:
        unfinished = delivery_orders.unfinished(session)
    for order in unfinished:
        try:
            carry_on(database, order, now, seconds=end - time.monotonic())
        except DatabaseDown:
            raise
        except Exception:
            _log.exception("The order %s on deliveries could not be worked on.", order)
        if time.monotonic() > end:
            return


def _change_chunk(session: Session, row: DeliveryOrder, now: datetime, limit: int) -> None:
    after = None if row.after_issue is None else Place(row.after_issue, row.after_subscriber or 0)
    places, end = delivery_search.next_places(session, _from_json(row.filter), row.resolution, after, limit, now)
    by_issue: dict[int, list[int]] = defaultdict(list)
    for place in places:
        by_issue[place.issue].append(place.subscriber)
    # In one order for all, so that nobody waits for another in a circle.
    for issue, subscribers in sorted(by_issue.items()):
        row.done += len(_change(session, row, issue, subscribers, now))
    if end is None:
        row.finished_at = now
    else:
        row.after_issue, row.after_subscriber = end


def _change(session: Session, row: DeliveryOrder, issue: int, subscribers: list[int], now: datetime) -> list[int]:
    locked = issues.lock(session, issue)
    if row.resolution is Resolution.retry:
        changed = resolution.retry_failed(session, issue, subscribers, row.ordered_by, now)
        if changed:
            issues.log(session, issue, row.ordered_by, IssueEventKind.retried, f"{len(changed)} that failed")
    else:
        by = ResolvedBy(ResolutionSource.staff, row.ordered_by, row.reason)
        changed = resolution.resolve(session, issue, subscribers, row.resolution, by, now)
    if changed and row.resolution in (Resolution.retry, Resolution.resend):
        restart_sending(locked, now)
    return changed


def _to_json(only: DeliveryFilter) -> dict[str, Any]:
    before = only.before.isoformat() if only.before else None
    return asdict(only) | {"state": only.state and only.state.value, "before": before}


def _from_json(values: dict[str, Any]) -> DeliveryFilter:
    return DeliveryFilter(
        issue=values["issue"],
        state=DeliveryState(values["state"]),
        reply_patterns=tuple(values["reply_patterns"]),
        domains=tuple(values["domains"]),
        relay=values["relay"],
        before=datetime.fromisoformat(values["before"]) if values["before"] else None,
    )
