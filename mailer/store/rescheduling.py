"""When deliveries are due that wait for an hour on their subscriber's clock, or for the end of a pause.

The subscriber's present time zone and pause count, not those of the time when the audience was frozen.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from mailer.store import batches
from mailer.store.audience import DueTimes
from mailer.store.batches import Claim

# What the time of a delivery depends on besides the subscriber; nothing if it is the same for all.
_HOURS = """
SELECT clock_timestamp() AS now, i.newsletter_id, n.quiet_from, n.quiet_until, i.local_time, i.scheduled_at,
    CASE WHEN i.digest_month IS NOT NULL THEN n.digest_time END AS digest_time
FROM issue i JOIN newsletter n ON n.id = i.newsletter_id
WHERE i.id = :issue AND (n.quiet_from IS NOT NULL OR i.local_time IS NOT NULL OR i.digest_month IS NOT NULL)
"""

_SUBSCRIBERS = "(SELECT id, time_zone, CAST(NULL AS timestamptz) AS paused_until FROM subscriber)"
_DIGEST_SUBSCRIBERS = """(
    SELECT r.id, r.time_zone, s.paused_until
    FROM subscriber r JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id = r.id
)"""

# A first attempt, and a digest to somebody who has paused, waits for the subscriber's present time zone and pause.
_WAITING = """
r.id = d.subscriber_id AND r.id BETWEEN :after AND :last
AND d.issue_id = :issue AND d.subscriber_id BETWEEN :after AND :last
AND d.state = 'pending' AND (d.attempts = 0 OR r.paused_until > :now) AND {chosen}
"""
_CLOCKS = f"SELECT DISTINCT r.time_zone, r.paused_until FROM delivery d, {{readers}} r WHERE {_WAITING}"
_SET_DUE = f"""
UPDATE delivery d SET due_at = hours.due_at
FROM {{readers}} r, unnest(
    CAST(:zones AS text[]), CAST(:pauses AS timestamptz[]), CAST(:due AS timestamptz[])
) hours (time_zone, paused_until, due_at)
WHERE hours.time_zone = r.time_zone AND hours.paused_until IS NOT DISTINCT FROM r.paused_until AND {_WAITING}
"""


def _hours(session: Session, issue: int) -> Row[Any] | None:
    return session.execute(text(_HOURS), {"issue": issue}).one_or_none()


def _set_due(
    session: Session, hours: Row[Any], times: DueTimes, issue: int, subscribers: tuple[int, int], *, due: bool
) -> list[datetime]:
    """Set when deliveries are due, in a range of subscribers; return the new times.

    ``due``: only of those that are due and should not be yet; else of those that are not due yet.
    """
    digest = hours.digest_time is not None
    chosen = "d.due_at <= :now" if due else "d.due_at > :now"
    form = {"readers": _DIGEST_SUBSCRIBERS if digest else _SUBSCRIBERS, "chosen": chosen}
    values = {"issue": issue, "newsletter": hours.newsletter_id, "after": subscribers[0], "last": subscribers[1]}
    values["now"] = times.now
    rows = [
        (zone, pause, times.at(zone, pause)) for zone, pause in session.execute(text(_CLOCKS.format(**form)), values)
    ]
    rows = [row for row in rows if not due or row[2] > times.now]
    if rows:
        zones, pauses, dues = map(list, zip(*rows, strict=True))
        session.execute(text(_SET_DUE.format(**form)), values | {"zones": zones, "pauses": pauses, "due": dues})
    return [row[2] for row in rows]


def _due_times(hours: Row[Any], now: datetime, not_before: datetime) -> DueTimes:
    quiet = None if hours.quiet_from is None else (hours.quiet_from, hours.quiet_until)
    return DueTimes(now, hours.local_time, quiet, hours.digest_time, not_before)


def postpone(session: Session, claim: Claim, after: int) -> None:
    """Postpone due deliveries whose time has not come by the subscriber's present time zone, pause and quiet hours."""
    if hours := _hours(session, claim.issue):
        times = _due_times(hours, hours.now, hours.scheduled_at)
        _set_due(session, hours, times, claim.issue, (after, claim.last_subscriber_id), due=True)


def reschedule(session: Session, subscriber: int, now: datetime) -> None:
    """Set when what waits for an hour on this subscriber's clock, or for the end of their pause, is due.

    Call this after their time zone or a pause has changed.
    """
    query = """
        SELECT i.id FROM issue i JOIN delivery d ON d.issue_id = i.id
        WHERE i.state IN ('sending', 'paused') AND d.subscriber_id = :subscriber AND d.state = 'pending'
        ORDER BY i.id
    """
    for issue in session.scalars(text(query), {"subscriber": subscriber}).all():
        if not (hours := _hours(session, issue)) or not batches.lock_for_subscriber(session, issue, subscriber):
            continue
        times = _due_times(hours, now, max(now, hours.scheduled_at or now))  # a digest still has its hour
        for due_at in _set_due(session, hours, times, issue, (subscriber, subscriber), due=False):
            batches.bring_forward(session, issue, subscriber, due_at)
