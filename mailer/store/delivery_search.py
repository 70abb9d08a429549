"""Finding deliveries of any issue by state, reply, relay, domain and age, a page at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.resolution import Resolution
from mailer.domain.states import DeliveryState, SkipReason
from mailer.store import eligibility
from mailer.store.deliveries import BATCH_FILTERS, LISTED_COLUMNS, DeliveryListItem


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to find. All conditions must hold; None and nothing are none."""

    issue: int | None = None
    state: DeliveryState | None = None
    reply_patterns: tuple[str, ...] = ()
    """PostgreSQL regular expressions, all of which the last reply matches."""
    domains: tuple[str, ...] = ()
    """Any of them, in lower case."""
    relay: str = ""
    before: datetime | None = None
    """Finished, or due, before this."""


class Place(NamedTuple):
    """The place of a delivery in a list: newest issue first, then by subscriber."""

    issue: int
    subscriber: int


def _matching(
    only: DeliveryFilter, after: Place | None = None, batches: int | None = None
) -> tuple[str, str, dict[str, Any]]:
    """Return a FROM clause for the deliveries that match, and one for their batches, with the parameters.

    ``b`` and ``d`` are the aliases. Only so many ``batches`` are read, in the order of the list; None for all.
    """
    batch = [BATCH_FILTERS[only.state]] if only.state else []
    delivery = ["state = :state"] if only.state else []
    values: dict[str, Any] = {"state": only.state and only.state.value, "batches": batches}
    if only.issue is not None:
        batch.append("b.issue_id = :issue")
    if after is not None:
        batch.append(
            "(b.issue_id < :after_issue OR b.issue_id = :after_issue AND b.last_subscriber_id > :after_subscriber)"
        )
        delivery.append("(issue_id < :after_issue OR subscriber_id > :after_subscriber)")
        values |= {"after_issue": after.issue, "after_subscriber": after.subscriber}
    if only.reply_patterns:
        delivery.append("last_reply ~ ALL(CAST(:patterns AS text[]))")
    if only.domains:
        delivery.append("""EXISTS (SELECT FROM subscriber r WHERE r.id = subscriber_id
            AND lower(split_part(r.address, '@', 2)) = ANY(CAST(:domains AS text[])))""")
    if only.relay:
        delivery.append("relay = :relay")
    if only.before:
        delivery.append("coalesce(finished_at, due_at) < :before")
    of_batches = f"""
        FROM batch b WHERE {" AND ".join(batch) or "true"} ORDER BY b.issue_id DESC, b.first_subscriber_id
    """
    # OFFSET makes the planner read of each batch only its own deliveries.
    clause = f"""
        FROM (SELECT * {of_batches} LIMIT :batches) b CROSS JOIN LATERAL (
            SELECT * FROM delivery
            WHERE issue_id = b.issue_id AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
              AND {" AND ".join(delivery) or "true"} OFFSET 0
        ) d
    """
    values |= {
        "issue": only.issue,
        "patterns": list(only.reply_patterns),
        "domains": list(only.domains),
        "relay": only.relay,
        "before": only.before,
    }
    return clause, of_batches, values


_FIRST_BATCHES = 16


def _rows(
    session: Session, query: str, only: DeliveryFilter, after: Place | None, limit: int, **values: Any
) -> list[Any]:
    """Return rows of a query with ``{found}``, a FROM clause for deliveries in order, ``limit`` at most.

    A few batches are read first, then twice as many, until there are enough rows.
    """
    rows: list[Any] = []
    batches = _FIRST_BATCHES
    while True:
        clause, of_batches, matching = _matching(only, after, batches)
        found = f"{clause} {_IN_ORDER}"
        rows += session.execute(text(query.replace("{found}", found)), matching | values | {"limit": limit - len(rows)})
        if len(rows) == limit:
            return rows
        last = f"SELECT b.issue_id, b.last_subscriber_id {of_batches} LIMIT 1 OFFSET :batches - 1"
        end = session.execute(text(last), matching).one_or_none()
        if end is None:
            return rows
        after = Place(*end)
        batches *= 2


_IN_ORDER = "ORDER BY b.issue_id DESC, b.first_subscriber_id, d.subscriber_id LIMIT :limit"


class FoundDelivery(NamedTuple):
    delivery: DeliveryListItem
    relay: str
    """The relay that gave the last reply, or was sent the message; empty if there is none."""
    worker: str
    """The last worker that had its batch: its host has the journal of the transfer."""


def page(session: Session, only: DeliveryFilter, after: Place | None, limit: int) -> list[FoundDelivery]:
    """Return deliveries that match, from the one after a place in the list."""
    query = f"""
        SELECT coalesce(d.relay, '') AS relay, d.worker, {LISTED_COLUMNS}
        FROM (SELECT d.*, b.worker {{found}}) d
        JOIN issue i ON i.id = d.issue_id JOIN newsletter n ON n.id = i.newsletter_id
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        ORDER BY d.issue_id DESC, d.subscriber_id
    """
    rows = _rows(session, query, only, after, limit)
    return [FoundDelivery(DeliveryListItem(*row[2:]), row[0], row[1]) for row in rows]


_SKIP_REASON = eligibility.skip_reason(now=":now", digest="(i.digest_month IS NOT NULL)")
_CAN_BE_SENT = "i.state IN ('sending', 'paused', 'sent')"
_JOINS = f"""
JOIN issue i ON i.id = d.issue_id
LEFT JOIN subscriber r ON r.id = d.subscriber_id
LEFT JOIN subscription s ON s.newsletter_id = i.newsletter_id AND s.subscriber_id = d.subscriber_id
{eligibility.SUPPRESSION_JOIN}
"""


def _outcome(resolution: Resolution) -> tuple[str, str]:
    """Return SQL for whether the issue allows a resolution of its deliveries, and for why a reader is passed over."""
    return (
        _CAN_BE_SENT if resolution in (Resolution.retry, Resolution.resend) else "true",
        _SKIP_REASON if resolution is Resolution.retry else "CAST(NULL AS skip_reason)",
    )


class Chosen(NamedTuple):
    """How many deliveries an order is for, and how many that match are passed over."""

    number: int
    ineligible: dict[SkipReason, int]
    of_ended_issues: int
    """Their issues were cancelled, and nothing of them is sent again."""


def count(session: Session, only: DeliveryFilter, resolution: Resolution, now: datetime) -> Chosen:
    allowed, reason = _outcome(resolution)
    clause, _, values = _matching(only)
    query = f"""
        SELECT allowed, skip_reason, count(*) AS number
        FROM (SELECT {allowed} AS allowed, {reason} AS skip_reason {clause} {_JOINS}) found GROUP BY 1, 2
    """
    rows = session.execute(text(query), values | {"now": now}).all()
    return Chosen(
        sum(row.number for row in rows if row.allowed and row.skip_reason is None),
        {SkipReason(row.skip_reason): row.number for row in rows if row.allowed and row.skip_reason},
        sum(row.number for row in rows if not row.allowed),
    )


def next_places(
    session: Session, only: DeliveryFilter, resolution: Resolution, after: Place | None, limit: int, now: datetime
) -> tuple[list[Place], Place | None]:
    """Return the next deliveries that an order is for, and the place to go on after; None at the end."""
    allowed, reason = _outcome(resolution)
    query = f"""
        SELECT d.issue_id, d.subscriber_id, {allowed} AND {reason} IS NULL AS chosen
        FROM (SELECT d.* {{found}}) d {_JOINS} ORDER BY d.issue_id DESC, d.subscriber_id
    """
    rows = _rows(session, query, only, after, limit, now=now)
    places = [Place(row.issue_id, row.subscriber_id) for row in rows if row.chosen]
    return places, Place(rows[-1].issue_id, rows[-1].subscriber_id) if len(rows) == limit else None
