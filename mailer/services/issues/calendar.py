"""The calendar of a month: what is planned, what goes out and what was sent."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from mailer.domain.states import IssueState
from mailer.domain.time_zones import time_zone
from mailer.store import issues, newsletters
from mailer.store.database import Database

FIRST_MONTH, LAST_MONTH = date(2000, 1, 1), date(2099, 12, 1)
_A_DAY = timedelta(days=1)
"""More than any time zone is ahead of or behind UTC."""


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """An issue on the day on which it goes out, or on which sending began."""

    issue: int
    number: str
    newsletter: int
    newsletter_name: str
    state: IssueState
    at: datetime
    """In the newsletter's time zone."""
    each_own_time: bool
    """Whether ``at`` is on each reader's own clock."""


def month(
    database: Database, newsletters_allowed: frozenset[int] | None, first: date
) -> Mapping[date, Sequence[CalendarEntry]]:
    """Return day → issues, by time, of the month that begins on ``first``. Newsletters: None for all."""
    following = next_month(first)
    start, end = (datetime.combine(day, time(), UTC) for day in (first - _A_DAY, following + _A_DAY))
    found: defaultdict[date, list[CalendarEntry]] = defaultdict(list)
    with database.transaction() as session:
        by_id = {row.id: row for row in newsletters.list_all(session)}
        for row in issues.going_out(session, newsletters_allowed, start, end):
            newsletter = by_id[row.newsletter_id]
            planned = row.state is IssueState.scheduled
            own_time = row.local_time if planned else None
            moment = row.scheduled_at if planned else row.ready_at
            assert moment is not None
            zone = time_zone(newsletter.time_zone)
            at = own_time.replace(tzinfo=zone) if own_time else moment.astimezone(zone)
            if first <= at.date() < following:
                name = newsletter.localize(newsletter.names).text
                entry = CalendarEntry(row.id, row.number, row.newsletter_id, name, row.state, at, own_time is not None)
                found[at.date()].append(entry)
    return {day: sorted(found[day], key=lambda entry: entry.at) for day in sorted(found)}


def next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def previous_month(first: date) -> date:
    return (first - _A_DAY).replace(day=1)
