"""Reading the delivery ledger: counts, skip reasons, lists and single deliveries. ``ledger`` writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.queue_status import DeliveryCounts
from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import DeliveryState, SkipReason
from mailer.store import refusals


def issues_in_flight(session: Session, subscriber: int, newsletter: int) -> list[int]:
    """Return the newsletter's issues that a worker is sending to this subscriber now."""
    query = """
        SELECT d.issue_id FROM issue i JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = :subscriber
        WHERE i.newsletter_id = :newsletter AND i.state IN ('sending', 'paused', 'cancelled') AND d.state = 'sending'
    """
    return list(session.scalars(text(query), {"subscriber": subscriber, "newsletter": newsletter}))


def counts(session: Session, issue: int) -> DeliveryCounts:
    """Return an issue's counts, summed over its batches: a few thousand rows even for a million subscribers."""
    query = """
        SELECT coalesce(sum(candidates), 0)::bigint, coalesce(sum(sent), 0)::bigint, coalesce(sum(failed), 0)::bigint,
            coalesce(sum(skipped), 0)::bigint, coalesce(sum(uncertain), 0)::bigint
        FROM batch WHERE issue_id = :issue
    """
    return DeliveryCounts(*session.execute(text(query), {"issue": issue}).one())


def count_skip_reasons(session: Session, issue: int) -> dict[SkipReason, int]:
    """Return skip reason → number of deliveries, counted in the ledger."""
    query = """
        SELECT skip_reason, count(*) FROM delivery WHERE issue_id = :issue AND state = 'skipped' GROUP BY 1 ORDER BY 1
    """
    return {SkipReason(row[0]): row[1] for row in session.execute(text(query), {"issue": issue})}


@dataclass(frozen=True, slots=True)
class LanguageShare:
    """Deliveries to subscribers with the same preferred language who got the same language."""

    requested_language: str
    """The first preference; empty if there is none."""
    received_language: str | None
    """None if they got nothing."""
    subscribers: int
    sent: int
    with_fallback: int
    """How many were sent an edition with a story in a fallback language."""
    without_stories: int
    """How many were skipped since none of their sections had a story."""
    editions: list[int]


def language_shares(session: Session, issue: int) -> list[LanguageShare]:
    """Return an issue's deliveries grouped by requested and received language."""
    query = """
        SELECT coalesce(r.languages[1], ''), e.language, count(*),
            count(*) FILTER (WHERE d.state = 'sent'),
            count(*) FILTER (WHERE d.state = 'sent' AND e.fallback_count > 0),
            count(*) FILTER (WHERE d.skip_reason = 'nothing_in_sections'),
            coalesce(array_agg(DISTINCT e.id) FILTER (WHERE e.id IS NOT NULL), '{}')
        FROM delivery d
        JOIN subscriber r ON r.id = d.subscriber_id
        LEFT JOIN edition e ON e.id = d.edition_id
        WHERE d.issue_id = :issue GROUP BY 1, 2
    """
    return [LanguageShare(*row) for row in session.execute(text(query), {"issue": issue})]


def count_by_edition(session: Session, issue: int) -> list[tuple[str, int, int]]:
    """Return (language, section mask, number of deliveries) of each edition."""
    query = """
        SELECT e.language, e.sections, sum(d.count)
        FROM (SELECT edition_id, count(*) FROM delivery WHERE issue_id = :issue AND edition_id IS NOT NULL GROUP BY 1) d
        JOIN edition e ON e.id = d.edition_id GROUP BY 1, 2
    """
    rows = session.execute(text(query), {"issue": issue})
    return [(language, sections, int(count)) for language, sections, count in rows]


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """One delivery with details of its edition."""

    state: str
    skip_reason: SkipReason | None
    edition: int | None
    language: str | None
    sections: int | None
    fallback_count: int | None
    attempts: int
    last_reply: str | None
    due_at: datetime
    finished_at: datetime | None
    resends: int
    resolution: Resolution | None
    resolution_source: ResolutionSource | None
    resolved_by: str | None
    resolution_note: str | None
    digest: int | None
    """Only if skipped as ``digest_only``: the digest that holds it, if there is one yet."""


def detail(session: Session, issue: int, subscriber: int) -> DeliveryDetail | None:
    query = """
        SELECT d.state, d.skip_reason, d.edition_id, e.language, e.sections, e.fallback_count, d.attempts, d.last_reply,
            d.due_at, d.finished_at, d.resends, d.resolution, d.resolution_source, d.resolved_by, d.resolution_note,
            d.digest_id
        FROM delivery d LEFT JOIN edition e ON e.id = d.edition_id
        WHERE d.issue_id = :issue AND d.subscriber_id = :subscriber
    """
    row = session.execute(text(query), {"issue": issue, "subscriber": subscriber}).one_or_none()
    return DeliveryDetail(*row) if row else None


class DeliveryListItem(NamedTuple):
    """One delivery as shown in a list."""

    issue: int
    newsletter: str
    number: str
    subscriber: int
    address: str | None
    """None if the person's data was erased."""
    state: str
    skip_reason: SkipReason | None
    attempts: int
    resends: int
    since: datetime
    """When it finished, or when it is due."""
    last_reply: str | None
    resolution: Resolution | None
    resolution_source: ResolutionSource | None
    resolved_by: str | None
    resolution_note: str | None


LISTED_COLUMNS = """
    i.id, n.slug, i.number, d.subscriber_id, r.address, d.state, d.skip_reason, d.attempts, d.resends,
    coalesce(d.finished_at, d.due_at), d.last_reply, d.resolution, d.resolution_source, d.resolved_by, d.resolution_note
"""
# Which batches can contain deliveries in a state, by their counts.
BATCH_FILTERS = {
    DeliveryState.sent: "b.sent > 0",
    DeliveryState.failed: "b.failed > 0",
    DeliveryState.skipped: "b.skipped > 0",
    DeliveryState.uncertain: "b.uncertain > 0",
    DeliveryState.pending: "b.candidates > b.sent + b.failed + b.skipped + b.uncertain",
    DeliveryState.sending: "b.state = 'sending'",
}


def list_in_state(
    session: Session, state: DeliveryState, issue: int | None, limit: int | None
) -> tuple[int, list[DeliveryListItem]]:
    """Return how many deliveries are in a state, and the first of them, newest issue first, then by subscriber."""
    # OFFSET makes the planner read the few batches first, then their deliveries.
    matching = f"""
        FROM batch b CROSS JOIN LATERAL (
            SELECT * FROM delivery
            WHERE issue_id = b.issue_id
              AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id AND state = :state OFFSET 0
        ) d
        WHERE {BATCH_FILTERS[state]} AND (CAST(:issue AS int) IS NULL OR b.issue_id = :issue)
    """
    query = f"""
        SELECT {LISTED_COLUMNS}
        FROM (SELECT d.* {matching} ORDER BY d.issue_id DESC, d.subscriber_id LIMIT :limit) d
        JOIN issue i ON i.id = d.issue_id JOIN newsletter n ON n.id = i.newsletter_id
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        ORDER BY d.issue_id DESC, d.subscriber_id
    """
    values = {"state": state.value, "issue": issue, "limit": limit}
    rows = [DeliveryListItem(*row) for row in session.execute(text(query), values)]
    if limit is None or len(rows) < limit:
        return len(rows), rows
    return session.scalar(text(f"SELECT count(*) {matching}"), values) or 0, rows


def latest_of(session: Session, subscriber: int, limit: int) -> list[DeliveryListItem]:
    """Return the latest deliveries to a subscriber, newest issue first."""
    query = f"""
        SELECT {LISTED_COLUMNS}
        FROM issue i JOIN newsletter n ON n.id = i.newsletter_id
        JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = :subscriber
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        WHERE i.frozen_at IS NOT NULL ORDER BY i.id DESC LIMIT :limit
    """
    values = {"subscriber": subscriber, "limit": limit}
    return [DeliveryListItem(*row) for row in session.execute(text(query), values)]


def failure_groups(session: Session, issue: int, limit: int) -> list[tuple[str, int, int]]:
    """Return (code of the last reply, failed deliveries, one of their subscribers), the most frequent first."""
    query = f"""
        SELECT coalesce({refusals.CODE}, ''),
            count(*), (array_agg(d.subscriber_id ORDER BY d.last_reply))[1]
        FROM batch b CROSS JOIN LATERAL (
            SELECT subscriber_id, last_reply FROM delivery
            WHERE issue_id = b.issue_id
              AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id AND state = 'failed' OFFSET 0
        ) d
        WHERE b.issue_id = :issue AND b.failed > 0
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit
    """
    return [(row[0], row[1], row[2]) for row in session.execute(text(query), {"issue": issue, "limit": limit})]


def replies(session: Session, issue: int, subscribers: Sequence[int]) -> dict[int, str]:
    """Return subscriber → last reply of the deliveries of an issue to some subscribers."""
    query = """
        SELECT subscriber_id, coalesce(last_reply, '') FROM delivery
        WHERE issue_id = :issue AND subscriber_id = ANY(CAST(:subscribers AS bigint[]))
    """
    values = {"issue": issue, "subscribers": list(subscribers)}
    return {row[0]: row[1] for row in session.execute(text(query), values)}


def count_resent(session: Session, issue: int) -> int:
    """Return how many subscribers may have got an issue twice."""
    query = "SELECT count(*) FROM delivery WHERE issue_id = :issue AND resends > 0"
    return session.scalar(text(query), {"issue": issue}) or 0
