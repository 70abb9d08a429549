"""Schedule: when an issue goes out, and stopping it on its way. Only rows are written here."""

from datetime import datetime, timedelta, timezone

from mailer.domain.states import InvalidIssueState, IssueState, check_transition
from mailer.models import Issue
from mailer.store import audience, batches, deliveries, issues, ledger
from mailer.store.database import Database, Session


class IssueNotFound(LookupError):
    """There is no such issue."""


def _lock_issue(session: Session, issue: int) -> Issue:
    found = issues.lock(session, issue)
    if found is None:
        raise IssueNotFound(f"There is no issue {issue}. See them with: mailer issue list.")
    return found


EARLIEST_TIME_ZONE = timezone(timedelta(hours=14))
"""The zone whose clocks are furthest ahead."""


def schedule_local_time(database: Database, issue: int, at: datetime, actor: str) -> None:
    """Let an approved issue go out when it is ``at`` (without a time zone) on each reader's own clock.

    The audience is frozen when that time comes in the first time zone. Raises WrongState.
    """
    _schedule(
        database, issue, at.replace(tzinfo=EARLIEST_TIME_ZONE), at, f"{at.isoformat()} local time", actor
    )


def schedule(database: Database, issue: int, at: datetime, actor: str) -> None:
    """Let an approved issue go out at ``at``; a time that has passed means now. Raises WrongState."""
    _schedule(database, issue, at, None, at.isoformat(), actor)


def _schedule(
    database: Database, issue: int, at: datetime, local_time: datetime | None, detail: str, actor: str
) -> None:
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state is not IssueState.scheduled:
            check_transition(issue, row.state, IssueState.scheduled)
        row.state = IssueState.scheduled
        row.scheduled_at, row.local_time = at, local_time
        issues.log(session, issue, actor, "scheduled", detail)


def unschedule(database: Database, issue: int, actor: str) -> None:
    """Take a scheduled issue back to approved. Raises WrongState."""
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        # Not check_move: a draft, too, may become approved, but only by being looked over.
        if row.state is not IssueState.scheduled:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not scheduled.")
        row.state, row.scheduled_at = IssueState.approved, None
        issues.log(session, issue, actor, "unscheduled")


def reopen(database: Database, issue: int, actor: str) -> None:
    """Take an approval back, so that the text can be changed."""
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state is not IssueState.draft:
            check_transition(issue, row.state, IssueState.draft)
            row.state = IssueState.draft
            issues.log(session, issue, actor, "reopened")


def pause(database: Database, issue: int, actor: str, reason: str = "") -> None:
    """Stop handing out; what is with the relay finishes."""
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state is not IssueState.paused:
            check_transition(issue, row.state, IssueState.paused)
            row.state = IssueState.paused
            issues.log(session, issue, actor, "paused", reason)


def resume(database: Database, issue: int, actor: str) -> None:
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state is IssueState.sending:
            return
        if row.state is not IssueState.paused:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not paused.")
        row.state = IssueState.sending
        batches.reset_enqueued(session, issue)
        issues.log(session, issue, actor, "resumed")


def set_max_rate(database: Database, issue: int, max_rate: float | None, actor: str) -> None:
    """Let an issue take no more than ``rate`` messages a second, from the next moment on; None: no limit."""
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state in (IssueState.sent, IssueState.cancelled):
            raise InvalidIssueState(
                f"Issue {issue} is {row.state.value}: there is nothing left to slow down."
            )
        row.max_rate = max_rate
        issues.log(session, issue, actor, "limited", f"{max_rate:g}/s" if max_rate else "no limit")


def cancel(database: Database, issue: int, actor: str, now: datetime) -> int:
    """End an issue for good; returns how many readers will not get it. Mail that went out stays out."""
    with database.transaction() as session:
        row = _lock_issue(session, issue)
        if row.state is not IssueState.cancelled:  # else the second step was cut off, and is done again
            check_transition(issue, row.state, IssueState.cancelled)
            row.state, row.finished_at = IssueState.cancelled, row.finished_at or now
            issues.log(session, issue, actor, "cancelled")
    with database.transaction() as session:
        # The state stands by now, so no worker takes any more; those that are taking are waited for.
        ledger.cancel_pending(session, issue, now)
        # Perhaps the clock was quicker: what counts is what the ledger says.
        return deliveries.count_skip_reasons(session, issue).get("cancelled", 0)


def finish_cancelled(database: Database, now: datetime) -> None:
    """Skip whoever still waits for a cancelled issue, because cancelling it was cut off half way."""
    with database.transaction() as session:
        left = batches.cancelled_with_work(session)
    for issue in left:
        with database.transaction() as session:
            ledger.cancel_pending(session, issue, now)


def start_due(database: Database, now: datetime, batch_size: int) -> list[int]:
    """Freeze the audience of every issue whose time has come; returns the issues."""
    with database.transaction() as session:
        waiting = issues.due(session, now)
    begun = []
    for issue in waiting:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if row is None or row.state is not IssueState.scheduled or (row.scheduled_at or now) > now:
                continue
            audience.delete_language_choices(session, issue)
            count = audience.freeze(
                session, issue, row.newsletter_id, batch_size, digest=row.digest_month is not None
            )
            row.state, row.frozen_at = IssueState.sending, now
            issues.log(session, issue, "mailer", "sending", f"{count} batches")
            begun.append(issue)
    return begun


def list_preparing(database: Database) -> list[int]:
    """Issues whose audience is frozen and not all expanded and rendered."""
    with database.transaction() as session:
        rows = issues.in_state(session, (IssueState.sending, IssueState.paused))
        return [row.id for row in rows if row.ready_at is None]


def enqueue_due(
    database: Database,
    now: datetime,
    reenqueue_after: timedelta,
    limit: int,
    *,
    send_queue_has_room: bool = True,
    retry_queue_has_room: bool = True,
) -> list[tuple[int, bool]]:
    """(batch, retry) pairs that a worker should be told of: due, and not told of for a while.

    ``first``, ``retry``: whether the queues of first attempts and of retries have room.
    """
    with database.transaction() as session:
        return batches.mark_enqueued(
            session,
            now,
            reenqueue_after,
            limit,
            first_attempts=send_queue_has_room,
            retries=retry_queue_has_room,
        )


def finish_done(database: Database, now: datetime) -> list[int]:
    """Mark issues as sent whose every delivery is settled; returns them."""
    with database.transaction() as session:
        done = batches.list_finished_issues(session)
    closed = []
    for issue in done:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if (
                row is not None
                and row.state is IssueState.sending
                and issue in batches.list_finished_issues(session)
            ):
                # Who is tried again later does not make it a new issue.
                row.state, row.finished_at = IssueState.sent, row.finished_at or now
                issues.log(session, issue, "mailer", "sent")
                closed.append(issue)
    return closed
