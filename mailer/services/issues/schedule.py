"""A coordinator's orders to an issue: when it goes out, how fast, and stopping it. Only rows are written here."""

from datetime import datetime, timedelta, timezone

from mailer.domain.states import (
    InvalidIssueState,
    IssueEventKind,
    IssueState,
    PauseReason,
    SkipReason,
    check_transition,
)
from mailer.store import batches, deliveries, issues, ledger
from mailer.store.database import Database

EARLIEST_TIME_ZONE = timezone(timedelta(hours=14))
"""The zone whose clocks are furthest ahead."""


def schedule_local_time(database: Database, issue: int, at: datetime, actor: str) -> None:
    """Let an approved issue go out when it is ``at`` (without a time zone) on each reader's own clock.

    The audience is frozen when that time comes in the first time zone. Raises WrongState.
    """
    _schedule(database, issue, at.replace(tzinfo=EARLIEST_TIME_ZONE), at, f"{at.isoformat()} local time", actor)


def schedule(database: Database, issue: int, at: datetime, actor: str) -> None:
    """Let an approved issue go out at ``at``; a time that has passed means now. Raises WrongState."""
    _schedule(database, issue, at, None, at.isoformat(), actor)


def _schedule(
    database: Database, issue: int, at: datetime, local_time: datetime | None, detail: str, actor: str
) -> None:
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.scheduled:
            check_transition(issue, row.state, IssueState.scheduled)
        row.state = IssueState.scheduled
        row.scheduled_at, row.local_time = at, local_time
        issues.log(session, issue, actor, IssueEventKind.scheduled, detail)


def unschedule(database: Database, issue: int, actor: str) -> None:
    """Take a scheduled issue back to approved. Raises WrongState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        # Not check_move: a draft, too, may become approved, but only by being looked over.
        if row.state is not IssueState.scheduled:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not scheduled.")
        row.state, row.scheduled_at = IssueState.approved, None
        issues.log(session, issue, actor, IssueEventKind.unscheduled)


def reopen(database: Database, issue: int, actor: str) -> None:
    """Take an approval back, so that the text can be changed."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.draft:
            check_transition(issue, row.state, IssueState.draft)
            row.state = IssueState.draft
            issues.log(session, issue, actor, IssueEventKind.reopened)


def pause(database: Database, issue: int, actor: str, reason: str = "") -> None:
    """Stop handing out; what is with the relay finishes."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.paused:
            check_transition(issue, row.state, IssueState.paused)
            issues.pause(session, row, PauseReason.manual, actor, reason)


def resume(database: Database, issue: int, actor: str) -> None:
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is IssueState.sending:
            return
        if row.state is not IssueState.paused:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not paused.")
        row.state, row.pause_reason = IssueState.sending, None
        batches.reset_enqueued(session, issue)
        issues.log(session, issue, actor, IssueEventKind.resumed)


def set_max_rate(database: Database, issue: int, max_rate: float | None, actor: str) -> None:
    """Let an issue take no more than ``rate`` messages a second, from the next moment on; None: no limit."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state in (IssueState.sent, IssueState.cancelled):
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}: there is nothing left to slow down.")
        row.max_rate = max_rate
        issues.log(session, issue, actor, IssueEventKind.limited, f"{max_rate:g}/s" if max_rate else "no limit")


def cancel(database: Database, issue: int, actor: str, now: datetime) -> int:
    """End an issue for good; returns how many readers will not get it. Mail that went out stays out."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.cancelled:  # else the second step was cut off, and is done again
            check_transition(issue, row.state, IssueState.cancelled)
            row.state, row.finished_at = IssueState.cancelled, row.finished_at or now
            issues.log(session, issue, actor, IssueEventKind.cancelled)
    with database.transaction() as session:
        # The state stands by now, so no worker takes any more; those that are taking are waited for.
        ledger.cancel_pending(session, issue, now)
        # Perhaps the clock was quicker: what counts is what the ledger says.
        return deliveries.count_skip_reasons(session, issue).get(SkipReason.cancelled, 0)
