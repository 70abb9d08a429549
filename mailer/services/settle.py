"""Settle: a person says what became of uncertain deliveries, and has failed ones tried again.

The counts of the batches follow the rows in the same transaction. An issue that was sent goes on, and ends by
itself when the last delivery is done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.settling import Settlement, replies_with, said
from mailer.domain.states import DeliveryState, IssueState, WrongState
from mailer.models import Issue
from mailer.store import deliveries, issues, readers, settling
from mailer.store.database import Database, Session
from mailer.store.deliveries import Listed

__all__ = ["Listed"]


class NoSuchDelivery(LookupError):
    """There is no such issue, or no such delivery that is uncertain."""


def listed(
    database: Database, state: DeliveryState, issue: int | None, limit: int | None
) -> tuple[int, list[Listed]]:
    """How many deliveries are in a state, of one issue or of all, and the first of them."""
    with database.transaction() as session:
        if issue is not None:
            _held(session, issue)
        return deliveries.listed(session, state, issue, limit)


def look(database: Database, issue: int, addresses: Mapping[str, bytes] | None) -> list[Listed]:
    """The uncertain deliveries of an issue to these addresses (with their hashes), or all that it has.

    Raises NoSuchDelivery when one of them is not.
    """
    with database.transaction() as session:
        _held(session, issue)
        _, found = deliveries.listed(session, DeliveryState.uncertain, issue, None)
        if addresses is None:
            return found
        uncertain = {row.subscriber: row for row in found}
        return [uncertain[_uncertain(session, issue, *pair)] for pair in addresses.items()]


def _uncertain(session: Session, issue: int, address: str, address_hash: bytes) -> int:
    reader = readers.by_hash(session, address_hash)
    entry = deliveries.entry(session, issue, reader.id) if reader else None
    if reader is None or entry is None:
        raise NoSuchDelivery(f"Issue {issue} has no delivery to {address}. Nothing was done.")
    if entry.state != DeliveryState.uncertain:
        raise NoSuchDelivery(
            f"The delivery of issue {issue} to {address} is {entry.state}, not uncertain. Nothing was done."
        )
    return reader.id


def settle(
    database: Database,
    issue: int,
    subscribers: Sequence[int],
    settlement: Settlement,
    actor: str,
    why: str,
    now: datetime,
) -> int:
    """Settle deliveries that are uncertain; those that are not any more stay as they are. Returns how many.

    Raises WrongState when a cancelled issue is to be sent again.
    """
    with database.transaction() as session:
        row = _held(session, issue)
        if settlement is Settlement.again:
            _goes_on(row)
        reply = said(settlement, actor, now, why)
        moved = settling.settle(session, issue, subscribers, settlement, reply, now)
        settling.log(session, issue, actor, settlement, moved, why)
        if moved and settlement is Settlement.again:
            _open_again(row, now)
        return len(moved)


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed deliveries of an issue."""

    tried: int
    """To be tried again."""
    left: Mapping[str, int]
    """Those that stay failed, by the reason: ``suppressed``, ``unsubscribed``, ``paused``, ``monthly``, or
    ``code`` when another code was asked for."""
    state: IssueState


def retriable(database: Database, issue: int, codes: Sequence[str], now: datetime) -> Retry:
    """What ``retry`` would do. Raises NoCode, NoSuchDelivery or WrongState."""
    with database.transaction() as session:
        row = _held(session, issue)
        return _retry(row, settling.failed(session, _goes_on(row), replies_with(codes), now))


def retry(database: Database, issue: int, codes: Sequence[str], actor: str, now: datetime) -> Retry:
    """Have failed deliveries tried again, with one of these codes or with any, but for readers who must not be
    mailed any more. The same twice tries once. Raises NoCode, NoSuchDelivery or WrongState."""
    with database.transaction() as session:
        row = _held(session, issue)
        found = settling.failed(session, _goes_on(row), replies_with(codes), now)
        found[""] = settling.try_again(session, issue, found.get("", []), now)
        if found[""]:
            _open_again(row, now)
            only = f", with {', '.join(codes)}" if codes else ""
            issues.log(session, issue, actor, "retried", f"{len(found[''])} that failed{only}")
        return _retry(row, found)


def _retry(row: Issue, found: Mapping[str, Sequence[int]]) -> Retry:
    left = {why: len(subscribers) for why, subscribers in sorted(found.items()) if why}
    return Retry(len(found.get("", ())), left, row.state)


def _held(session: Session, issue: int) -> Issue:
    found = issues.locked(session, issue)
    if found is None:
        raise NoSuchDelivery(f"There is no issue {issue}. See them with: mailer issue list.")
    return found


def _goes_on(row: Issue) -> int:
    """The issue, if something of it may still be sent."""
    if row.state not in (IssueState.sending, IssueState.paused, IssueState.sent):
        raise WrongState(f"Issue {row.id} is {row.state.value}: nothing of it can be sent again.")
    return row.id


def _open_again(row: Issue, now: datetime) -> None:
    row.retried_at = now
    if row.state is IssueState.sent:
        row.state = IssueState.sending
