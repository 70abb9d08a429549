"""Reading the delivery ledger: how many, why not, for whom, and one by one. ``ledger`` writes it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.resolution import Resolution, ResolutionSource
from mailer.domain.states import DeliveryState, SkipReason


def count_sending(session: Session, issue: int) -> int:
    query = "SELECT count(*) FROM delivery WHERE issue_id = :issue AND state = 'sending'"
    return session.scalar(text(query), {"issue": issue}) or 0


def issues_in_flight(session: Session, subscriber: int, newsletter: int) -> list[int]:
    """Issues of a newsletter that are with a worker for this subscriber right now."""
    query = """
        SELECT d.issue_id FROM issue i JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = :subscriber
        WHERE i.newsletter_id = :newsletter AND i.state IN ('sending', 'paused', 'cancelled') AND d.state = 'sending'
    """
    return list(session.scalars(text(query), {"subscriber": subscriber, "newsletter": newsletter}))


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Of an issue. They add up: candidates = sent + failed + skipped + pending + uncertain."""

    candidates: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    uncertain: int = 0

    @property
    def pending(self) -> int:
        return self.candidates - self.sent - self.failed - self.skipped - self.uncertain


def counts(session: Session, issue: int) -> DeliveryCounts:
    """From the batches: a few thousand rows even for a million readers."""
    query = """
        SELECT coalesce(sum(candidates), 0)::bigint, coalesce(sum(sent), 0)::bigint, coalesce(sum(failed), 0)::bigint,
            coalesce(sum(skipped), 0)::bigint, coalesce(sum(uncertain), 0)::bigint
        FROM batch WHERE issue_id = :issue
    """
    return DeliveryCounts(*session.execute(text(query), {"issue": issue}).one())


def count_skip_reasons(session: Session, issue: int) -> dict[SkipReason, int]:
    """Skipped deliveries by reason, straight from the ledger."""
    query = """
        SELECT skip_reason, count(*) FROM delivery WHERE issue_id = :issue AND state = 'skipped' GROUP BY 1 ORDER BY 1
    """
    return {SkipReason(row[0]): row[1] for row in session.execute(text(query), {"issue": issue})}


@dataclass(frozen=True, slots=True)
class LanguageShare:
    """Deliveries of readers with the same first preference who got the same language, or nothing."""

    requested_language: str
    """Their first preference; empty when they gave none."""
    received_language: str | None
    subscribers: int
    sent: int
    with_fallback: int
    """Sent an edition with a story that fell back."""
    without_stories: int
    """None of their sections had a story."""
    editions: list[int]


def language_shares(session: Session, issue: int) -> list[LanguageShare]:
    """How an issue's deliveries divide over languages asked for and languages got."""
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


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """One ledger row with what belongs to it."""

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


def detail(session: Session, issue: int, subscriber: int) -> DeliveryDetail | None:
    query = """
        SELECT d.state, d.skip_reason, d.edition_id, e.language, e.sections, e.fallback_count, d.attempts, d.last_reply,
            d.due_at, d.finished_at, d.resends, d.resolution, d.resolution_source, d.resolved_by, d.resolution_note
        FROM delivery d LEFT JOIN edition e ON e.id = d.edition_id
        WHERE d.issue_id = :issue AND d.subscriber_id = :subscriber
    """
    row = session.execute(text(query), {"issue": issue, "subscriber": subscriber}).one_or_none()
    return DeliveryDetail(*row) if row else None


class DeliveryListItem(NamedTuple):
    """One ledger row as a list of them shows it."""

    issue: int
    newsletter: str
    number: str
    subscriber: int
    address: str | None
    """None when the person's data were let go."""
    state: str
    skip_reason: SkipReason | None
    attempts: int
    resends: int
    since: datetime
    """When it came to its state, or else is due."""
    last_reply: str | None
    resolution: Resolution | None
    resolution_source: ResolutionSource | None
    resolved_by: str | None
    resolution_note: str | None


# The counts of the batches say where to look.
_BATCH_FILTERS = {
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
    """How many deliveries are in a state, and the first of them: by issue, the newest first, and by subscriber."""
    # OFFSET keeps it in this order: the few batches first, then what is in them.
    found = f"""
        FROM batch b CROSS JOIN LATERAL (
            SELECT * FROM delivery
            WHERE issue_id = b.issue_id
              AND subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id AND state = :state OFFSET 0
        ) d
        WHERE {_BATCH_FILTERS[state]} AND (CAST(:issue AS int) IS NULL OR b.issue_id = :issue)
    """
    query = f"""
        SELECT i.id, n.slug, i.number, d.subscriber_id, r.address, d.state, d.skip_reason, d.attempts, d.resends,
            coalesce(d.finished_at, d.due_at), d.last_reply, d.resolution, d.resolution_source, d.resolved_by,
            d.resolution_note
        FROM (SELECT d.* {found} ORDER BY d.issue_id DESC, d.subscriber_id LIMIT :limit) d
        JOIN issue i ON i.id = d.issue_id JOIN newsletter n ON n.id = i.newsletter_id
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        ORDER BY d.issue_id DESC, d.subscriber_id
    """
    values = {"state": state.value, "issue": issue, "limit": limit}
    rows = [DeliveryListItem(*row) for row in session.execute(text(query), values)]
    if limit is None or len(rows) < limit:
        return len(rows), rows
    return session.scalar(text(f"SELECT count(*) {found}"), values) or 0, rows


def count_resent(session: Session, issue: int) -> int:
    """Readers of an issue who may have got it twice."""
    query = "SELECT count(*) FROM delivery WHERE issue_id = :issue AND resends > 0"
    return session.scalar(text(query), {"issue": issue}) or 0
