"""Manual resolution of uncertain deliveries, and retries of failed ones.

The counts of batches are updated in the same transaction. A sent issue returns to sending, until its last delivery
is finished.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.errors import UserError
from mailer.domain.resolution import Resolution, ResolutionSource, reply_pattern
from mailer.domain.states import DeliveryState, InvalidIssueState, IssueEventKind, IssueState, SkipReason
from mailer.models import Issue
from mailer.store import audit_log, deliveries, issues
from mailer.store import resolution as resolution_store
from mailer.store import subscribers as subscribers_store
from mailer.store.database import Database, Session
from mailer.store.deliveries import DeliveryListItem
from mailer.store.resolution import FailedDeliveries, ResolvedBy

__all__ = ["DeliveryListItem"]


class DeliveryNotFound(UserError, LookupError):
    """There is no such uncertain delivery."""


def list_deliveries(
    database: Database, state: DeliveryState, issue: int | None, limit: int | None
) -> tuple[int, list[DeliveryListItem]]:
    """Return the number of deliveries in a state, and up to ``limit`` of them. Without ``issue``, of all issues."""
    with database.transaction() as session:
        if issue is not None:
            issues.lock(session, issue)
        return deliveries.list_in_state(session, state, issue, limit)


def latest_deliveries(database: Database, address_hash: bytes, limit: int) -> tuple[int | None, list[DeliveryListItem]]:
    """Return who has this keyed hash of an address, and their latest deliveries, newest first."""
    with database.transaction() as session:
        found = subscribers_store.by_hash(session, address_hash)
        return (found.id, deliveries.latest_of(session, found.id, limit)) if found else (None, [])


def preview(database: Database, issue: int, address_hashes: Mapping[str, bytes] | None) -> list[DeliveryListItem]:
    """Return the uncertain deliveries of an issue, all or those to the given addresses (address → hash).

    Raises IssueNotFound, or DeliveryNotFound if the delivery to an address is not uncertain.
    """
    with database.transaction() as session:
        issues.lock(session, issue)
        _, rows = deliveries.list_in_state(session, DeliveryState.uncertain, issue, None)
        if address_hashes is None:
            return rows
        uncertain = {row.subscriber: row for row in rows}
        return [uncertain[_find_uncertain(session, issue, *pair)] for pair in address_hashes.items()]


def _find_uncertain(session: Session, issue: int, address: str, address_hash: bytes) -> int:
    subscriber = subscribers_store.by_hash(session, address_hash)
    delivery = deliveries.detail(session, issue, subscriber.id) if subscriber else None
    if subscriber is None or delivery is None:
        raise DeliveryNotFound(f"Issue {issue} has no delivery to {address}. Nothing was done.")
    if delivery.state != DeliveryState.uncertain:
        raise DeliveryNotFound(
            f"The delivery of issue {issue} to {address} is {delivery.state}, not uncertain. Nothing was done."
        )
    return subscriber.id


def resolve(
    database: Database,
    issue: int,
    subscribers: Sequence[int],
    resolution: Resolution,
    actor: Actor,
    reason: str,
    now: datetime,
) -> int:
    """Resolve uncertain deliveries. Return their number; deliveries in another state are not changed.

    Raises InvalidIssueState if a delivery of a cancelled issue should be resent.
    """
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if resolution is Resolution.resend:
            _check_resendable(row)
        by = ResolvedBy(ResolutionSource.staff, actor, reason)
        moved = resolution_store.resolve(session, issue, subscribers, resolution, by, now)
        if moved and resolution is Resolution.resend:
            restart_sending(row, now)
        if moved:
            detail = {"deliveries": len(moved), "outcome": resolution.value, "reason": reason}
            _record(session, now, actor, AuditAction.deliveries_resolved, issue, detail)
        return len(moved)


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """How many failed deliveries of an issue are retried, and how many stay failed and why."""

    retried: int
    ineligible: Mapping[SkipReason, int]
    other_code: int
    """Deliveries that failed with a code that was not requested."""
    state: IssueState


def plan_retry(database: Database, issue: int, codes: Sequence[str], now: datetime) -> RetryPlan:
    """Return what ``retry`` would do, without doing it. Raises InvalidReplyCode, IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        failed = resolution_store.failed(session, _check_resendable(row), reply_pattern(codes), now)
        return _retry_plan(row, failed, len(failed.retryable))


def retry(database: Database, issue: int, codes: Sequence[str], actor: Actor, now: datetime) -> RetryPlan:
    """Retry failed deliveries, all or those with one of these reply codes, to subscribers who are still eligible.

    Idempotent until the retry fails. Raises InvalidReplyCode, IssueNotFound or InvalidIssueState.
    """
    with database.transaction() as session:
        row = issues.lock(session, issue)
        failed = resolution_store.failed(session, _check_resendable(row), reply_pattern(codes), now)
        retried = resolution_store.retry_failed(session, issue, failed.retryable, actor, now)
        if retried:
            restart_sending(row, now)
            only = f", with {', '.join(codes)}" if codes else ""
            issues.log(session, issue, actor, IssueEventKind.retried, f"{len(retried)} that failed{only}")
            detail: dict[str, Any] = {"deliveries": len(retried)} | ({"code": " ".join(codes)} if codes else {})
            _record(session, now, actor, AuditAction.deliveries_retried, issue, detail)
        return _retry_plan(row, failed, len(retried))


def _record(
    session: Session, now: datetime, actor: Actor, action: AuditAction, issue: int, detail: Mapping[str, Any]
) -> None:
    audit_log.record(session, now, actor, action, object_kind="issue", object_id=issue, detail=detail)


def _retry_plan(row: Issue, failed: FailedDeliveries, retried: int) -> RetryPlan:
    ineligible = {reason: len(subscribers) for reason, subscribers in failed.ineligible.items()}
    return RetryPlan(retried, ineligible, len(failed.other_code), row.state)


def _check_resendable(row: Issue) -> int:
    """Return the issue's id. Raises InvalidIssueState if its deliveries cannot be sent again."""
    if row.state not in (IssueState.sending, IssueState.paused, IssueState.sent):
        raise InvalidIssueState(f"Issue {row.id} is {row.state.value}: its deliveries cannot be sent again.", row.id)
    return row.id


def restart_sending(row: Issue, now: datetime) -> None:
    """Let an issue with deliveries that are due again be sent. Lock it first."""
    row.retried_at = now
    if row.state is IssueState.sent:
        row.state = IssueState.sending
