"""Report: how an issue is doing, how many got what, and whether the ledger adds up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.languages import match_language
from mailer.domain.states import IssueState
from mailer.models import Issue
from mailer.store import audit as ledger_audit
from mailer.store import deliveries, editions, issues, newsletters
from mailer.store.audit import LedgerFinding
from mailer.store.database import Database
from mailer.store.deliveries import DeliveryCounts

__all__ = ["DeliveryCounts", "LedgerFinding"]


@dataclass(frozen=True, slots=True)
class IssueStatus:
    """An issue at one moment. ``counts`` add up: candidates = sent + failed + skipped + pending + uncertain."""

    issue: int
    newsletter: str
    number: str
    state: IssueState
    scheduled_at: datetime | None
    ready_at: datetime | None
    finished_at: datetime | None
    counts: DeliveryCounts
    editions: int
    stale_editions: int
    per_second: float


def status(database: Database, issue: int, now: datetime) -> IssueStatus:
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        counts = deliveries.counts(session, issue)
        rate = 0.0
        if row.ready_at:
            seconds = ((row.finished_at or now) - row.ready_at) / timedelta(seconds=1)
            rate = (counts.sent + counts.failed + counts.uncertain) / max(seconds, 0.001)
        return IssueStatus(
            issue=issue,
            newsletter=newsletters.by_id(session, row.newsletter_id).slug,
            number=row.number,
            state=row.state,
            scheduled_at=row.scheduled_at,
            ready_at=row.ready_at,
            finished_at=row.finished_at,
            counts=counts,
            editions=len(editions.of_issue(session, issue)),
            stale_editions=editions.count_stale(session, issue),
            per_second=rate,
        )


def count_in_flight(database: Database, issue: int) -> int:
    """How many deliveries of an issue are with a worker at this moment."""
    with database.transaction() as session:
        return deliveries.count_sending(session, issue)


def list_issues(
    database: Database,
) -> list[tuple[int, str, str, IssueState, DeliveryCounts, datetime | None]]:
    """(id, newsletter, number, state, counts, when it goes out) of every issue, newest first."""
    with database.transaction() as session:
        return [
            (row.id, slug, row.number, row.state, deliveries.counts(session, row.id), _goes_out_at(row))
            for row, slug in issues.list_all(session)
        ]


def _goes_out_at(row: Issue) -> datetime | None:
    return row.scheduled_at if row.state is IssueState.scheduled else None


def skipped_by_reason(database: Database, issue: int) -> dict[str, int]:
    """Readers who get nothing, by reason."""
    with database.transaction() as session:
        return deliveries.count_skip_reasons(session, issue)


@dataclass(slots=True)
class LanguageRow:
    """One line of the report by language: readers whose first preference is served by ``language``."""

    language: str
    """A language of the newsletter, or empty for readers of others and of none."""
    subscribers: int = 0
    editions: int = 0
    sent: int = 0
    fell_back: int = 0
    """Sent an edition in another language, or one in which a story was in another language."""
    not_sent: int = 0


def by_language(database: Database, issue: int) -> list[LanguageRow]:
    """How the readers of each language were served; most readers first, the rest of the world last."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        offered = newsletters.by_id(session, row.newsletter_id).languages
        rows: dict[str, LanguageRow] = {}
        editions_of: dict[str, set[int]] = {}
        for share in deliveries.language_shares(session, issue):
            asked = (
                match_language(share.requested_language, offered) if share.requested_language else None
            ) or ""
            line = rows.setdefault(asked, LanguageRow(asked))
            line.subscribers += share.subscribers
            line.sent += share.sent
            line.fell_back += share.sent if share.received_language != asked else share.with_fallback
            line.not_sent += share.without_stories
            found = editions_of.setdefault(asked, set())
            found.update(share.editions)
            line.editions = len(found)
    return sorted(rows.values(), key=lambda line: (not line.language, -line.subscribers, line.language))


def events(database: Database, issue: int) -> list[tuple[datetime, str, str, str]]:
    """(when, who, what, detail) of an issue, oldest first."""
    with database.transaction() as session:
        return [
            (event.at, event.actor, event.action, event.detail) for event in issues.events(session, issue)
        ]


def audit(database: Database, issue: int) -> list[LedgerFinding]:
    """What does not add up in an issue's ledger; empty when all is well. Raises IssueNotFound."""
    with database.transaction() as session:
        ledger_audit.use_repeatable_read(session)
        issues.by_id(session, issue)
        return ledger_audit.findings(session, issue)


def count_resent(database: Database, issue: int) -> int:
    """How many readers may have got an issue twice, since nobody knew whether the first mail had come."""
    with database.transaction() as session:
        return deliveries.count_resent(session, issue)
