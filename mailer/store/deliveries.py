"""Reading the delivery ledger: how many, why not, for whom, and one by one. ``ledger`` writes it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.states import DeliveryState


def count_sending(session: Session, issue: int) -> int:
    query = "SELECT count(*) FROM delivery WHERE issue_id = :issue AND state = 'sending'"
    return session.scalar(text(query), {"issue": issue}) or 0


def being_sent(session: Session, subscriber: int, newsletter: int) -> list[int]:
    """Issues of a newsletter that are with a worker for this subscriber right now."""
    query = """
        SELECT d.issue_id FROM issue i JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = :subscriber
        WHERE i.newsletter_id = :newsletter AND i.state IN ('sending', 'paused', 'cancelled') AND d.state = 'sending'
    """
    return list(session.scalars(text(query), {"subscriber": subscriber, "newsletter": newsletter}))


@dataclass(frozen=True, slots=True)
class Counts:
    """Of an issue. They add up: candidates = sent + failed + skipped + pending + uncertain."""

    candidates: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    uncertain: int = 0

    @property
    def pending(self) -> int:
        return self.candidates - self.sent - self.failed - self.skipped - self.uncertain


def counts(session: Session, issue: int) -> Counts:
    """From the batches: a few thousand rows even for a million readers."""
    query = """
        SELECT coalesce(sum(candidates), 0)::bigint, coalesce(sum(sent), 0)::bigint, coalesce(sum(failed), 0)::bigint,
            coalesce(sum(skipped), 0)::bigint, coalesce(sum(uncertain), 0)::bigint
        FROM batch WHERE issue_id = :issue
    """
    return Counts(*session.execute(text(query), {"issue": issue}).one())


def reasons(session: Session, issue: int) -> dict[str, int]:
    """Skipped deliveries by reason, straight from the ledger."""
    query = """
        SELECT reason, count(*) FROM delivery WHERE issue_id = :issue AND state = 'skipped' GROUP BY 1 ORDER BY 1
    """
    return {row[0]: row[1] for row in session.execute(text(query), {"issue": issue})}


@dataclass(frozen=True, slots=True)
class Share:
    """Deliveries of readers with the same first preference who got the same language, or nothing."""

    asked: str
    """Their first preference; empty when they gave none."""
    got: str | None
    readers: int
    sent: int
    labelled: int
    """Sent an edition with a story that fell back."""
    nothing: int
    """None of their sections had a story."""
    editions: list[int]


def shares(session: Session, issue: int) -> list[Share]:
    """How an issue's deliveries divide over languages asked for and languages got."""
    query = """
        SELECT coalesce(r.languages[1], ''), e.language, count(*),
            count(*) FILTER (WHERE d.state = 'sent'),
            count(*) FILTER (WHERE d.state = 'sent' AND e.fallbacks > 0),
            count(*) FILTER (WHERE d.reason = 'nothing_in_sections'),
            coalesce(array_agg(DISTINCT e.id) FILTER (WHERE e.id IS NOT NULL), '{}')
        FROM delivery d
        JOIN subscriber r ON r.id = d.subscriber_id
        LEFT JOIN edition e ON e.id = d.edition_id
        WHERE d.issue_id = :issue GROUP BY 1, 2
    """
    return [Share(*row) for row in session.execute(text(query), {"issue": issue})]


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger row with what belongs to it."""

    state: str
    reason: str | None
    edition: int | None
    language: str | None
    sections: int | None
    fallbacks: int | None
    attempts: int
    reply: str | None
    due_at: datetime
    finished_at: datetime | None
    resends: int


def entry(session: Session, issue: int, subscriber: int) -> Entry | None:
    query = """
        SELECT d.state, d.reason, d.edition_id, e.language, e.sections, e.fallbacks, d.attempts, d.reply,
            d.due_at, d.finished_at, d.resends
        FROM delivery d LEFT JOIN edition e ON e.id = d.edition_id
        WHERE d.issue_id = :issue AND d.subscriber_id = :subscriber
    """
    row = session.execute(text(query), {"issue": issue, "subscriber": subscriber}).one_or_none()
    return Entry(*row) if row else None


class Listed(NamedTuple):
    """One ledger row as a list of them shows it."""

    issue: int
    newsletter: str
    number: str
    subscriber: int
    address: str | None
    """None when the person's data were let go."""
    state: str
    reason: str | None
    attempts: int
    resends: int
    since: datetime
    """When it came to its state, or else is due."""
    reply: str | None


# The counts of the batches say where to look.
_HOLDING = {
    DeliveryState.sent: "b.sent > 0",
    DeliveryState.failed: "b.failed > 0",
    DeliveryState.skipped: "b.skipped > 0",
    DeliveryState.uncertain: "b.uncertain > 0",
    DeliveryState.pending: "b.candidates > b.sent + b.failed + b.skipped + b.uncertain",
    DeliveryState.sending: "b.state = 'sending'",
}


def listed(
    session: Session, state: DeliveryState, issue: int | None, limit: int | None
) -> tuple[int, list[Listed]]:
    """How many deliveries are in a state, and the first of them: by issue, the newest first, and by subscriber."""
    # OFFSET keeps it in this order: the few batches first, then what is in them.
    found = f"""
        FROM batch b CROSS JOIN LATERAL (
            SELECT * FROM delivery
            WHERE issue_id = b.issue_id AND subscriber_id BETWEEN b.first AND b.last AND state = :state OFFSET 0
        ) d
        WHERE {_HOLDING[state]} AND (CAST(:issue AS int) IS NULL OR b.issue_id = :issue)
    """
    query = f"""
        SELECT i.id, n.slug, i.number, d.subscriber_id, r.address, d.state, d.reason, d.attempts, d.resends,
            coalesce(d.finished_at, d.due_at), d.reply
        FROM (SELECT d.* {found} ORDER BY d.issue_id DESC, d.subscriber_id LIMIT :limit) d
        JOIN issue i ON i.id = d.issue_id JOIN newsletter n ON n.id = i.newsletter_id
        LEFT JOIN subscriber r ON r.id = d.subscriber_id
        ORDER BY d.issue_id DESC, d.subscriber_id
    """
    values = {"state": state.value, "issue": issue, "limit": limit}
    rows = [Listed(*row) for row in session.execute(text(query), values)]
    if limit is None or len(rows) < limit:
        return len(rows), rows
    return session.scalar(text(f"SELECT count(*) {found}"), values) or 0, rows


def count_resent(session: Session, issue: int) -> int:
    """Readers of an issue who may have got it twice."""
    query = "SELECT count(*) FROM delivery WHERE issue_id = :issue AND resends > 0"
    return session.scalar(text(query), {"issue": issue}) or 0
