"""Scheduling, pausing, rate-limiting and cancelling issues. Only rows are written; workers act on them."""

from datetime import UTC, datetime, timedelta, timezone

from mailer.domain.accounts import Actor
from mailer.domain.errors import UserError
from mailer.domain.states import (
    InvalidIssueState,
    IssueEventKind,
    IssueState,
    PauseReason,
    SkipReason,
    check_transition,
)
from mailer.domain.time_zones import ClockChange, clock_change, known_time_zones, time_zone
from mailer.store import batches, deliveries, issues, ledger, subscribers
from mailer.store.database import Database

EARLIEST_TIME_ZONE = timezone(timedelta(hours=14))
"""The first time zone in which a local time is reached."""
_LATEST_TIME_ZONE = timezone(timedelta(hours=-12))

MAX_DAYS_AHEAD = 730
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class InvalidTime(UserError, ValueError):
    """A time at which no issue can be sent."""


def schedule_local_time(database: Database, issue: int, at: datetime, actor: Actor) -> None:
    """Schedule an approved issue for ``at`` in each reader's time zone.

    The audience is frozen when that time is reached in the first time zone. Raises InvalidIssueState and InvalidTime.
    """
    _schedule(database, issue, at.replace(tzinfo=EARLIEST_TIME_ZONE), at, f"{at:%Y-%m-%d %H:%M} local time", actor)


def schedule(database: Database, issue: int, at: datetime, actor: Actor) -> None:
    """Schedule an approved issue for ``at``; a time in the past means now. Raises InvalidIssueState and InvalidTime."""
    _schedule(database, issue, at, None, f"{at:%Y-%m-%d %H:%M %Z}", actor)


def _schedule(
    database: Database, issue: int, at: datetime, local_time: datetime | None, detail: str, actor: Actor
) -> None:
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.scheduled:
            check_transition(issue, row.state, IssueState.scheduled)
        if at > issues.database_time(session) + timedelta(days=MAX_DAYS_AHEAD):
            raise InvalidTime(f"{at:%-d %B %Y at %H:%M} is more than two years ahead.")
        row.state = IssueState.scheduled
        row.scheduled_at, row.local_time = max(at, _EARLIEST).astimezone(UTC), local_time
        issues.log(session, issue, actor, IssueEventKind.scheduled, detail, when=detail, zone=str(at.tzinfo))


def has_passed_everywhere(local_time: datetime, now: datetime) -> bool:
    """Return whether a local time has passed in every time zone."""
    return local_time.replace(tzinfo=_LATEST_TIME_ZONE) < now


def clock_changes(database: Database, issue: int, local_time: datetime) -> dict[str, ClockChange]:
    """Return what changes of clocks do to a local time, by time zone, for the zones of the newsletter's readers."""
    changes = {name: clock_change(local_time, time_zone(name)) for name in known_time_zones()}
    changed = {name: change for name, change in changes.items() if change}
    with database.transaction() as session:
        newsletter = issues.by_id(session, issue).newsletter_id
        return {name: changed[name] for name in subscribers.time_zones(session, newsletter, sorted(changed))}


def unschedule(database: Database, issue: int, actor: Actor) -> None:
    """Return a scheduled issue to approved. Raises InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        # check_transition would also allow a draft, which must be approved instead.
        if row.state is not IssueState.scheduled:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not scheduled.", issue)
        row.state, row.scheduled_at = IssueState.approved, None
        issues.log(session, issue, actor, IssueEventKind.unscheduled)


def reopen(database: Database, issue: int, actor: Actor) -> None:
    """Make an issue a draft again, so that the text can be changed. What is not stays approved.

    Raises InvalidIssueState.
    """
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.draft:
            check_transition(issue, row.state, IssueState.draft)
            row.state = IssueState.draft
            issues.log(session, issue, actor, IssueEventKind.reopened)


def pause(database: Database, issue: int, actor: Actor, reason: str = "") -> None:
    """Pause sending. Messages in flight are finished. Raises InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.paused:
            check_transition(issue, row.state, IssueState.paused)
            issues.pause(session, row, PauseReason.manual, actor, reason)


def resume(database: Database, issue: int, actor: Actor) -> None:
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is IssueState.sending:
            return
        if row.state is not IssueState.paused:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, not paused.", issue)
        row.state, row.pause_reason = IssueState.sending, None
        batches.reset_enqueued(session, issue)
        issues.log(session, issue, actor, IssueEventKind.resumed)


def set_max_rate(database: Database, issue: int, max_rate: float | None, actor: Actor) -> None:
    """Limit an issue to ``max_rate`` messages per second, effective immediately; None removes the limit."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state in (IssueState.sent, IssueState.cancelled):
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}: its rate can no longer be changed.", issue)
        row.max_rate = max_rate
        detail = f"{max_rate:g}/s" if max_rate else "no limit"
        issues.log(session, issue, actor, IssueEventKind.limited, detail, per_second=max_rate or 0)


def cancel(database: Database, issue: int, actor: Actor, now: datetime) -> int:
    """Cancel an issue permanently. Return how many readers will not receive it.

    Mail already sent is not affected. Raises InvalidIssueState.
    """
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state is not IssueState.cancelled:  # otherwise only the interrupted second step is repeated
            check_transition(issue, row.state, IssueState.cancelled)
            row.state, row.finished_at = IssueState.cancelled, row.finished_at or now
            issues.log(session, issue, actor, IssueEventKind.cancelled)
    with database.transaction() as session:
        # The new state is committed, so workers reserve no more deliveries. This waits for those that are reserving.
        ledger.cancel_pending(session, issue, now)
        # The scheduler may have skipped some already, so the ledger is counted.
        return deliveries.count_skip_reasons(session, issue).get(SkipReason.cancelled, 0)
