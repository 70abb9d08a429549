"""Freezing an audience: ranges of subscribers become batches, batches become delivery rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from mailer.domain import time_zones
from mailer.domain.audience import AudienceGroup
from mailer.domain.states import SkipReason
from mailer.domain.time_zones import QuietHours
from mailer.store import eligibility
from mailer.store.digests import AWAITING, HELD, sources_by_subscriber
from mailer.store.eligibility import EDITION_MASK, SUPPRESSION_JOIN

# Each row is updated twice. With half of each page free, updates stay on their page and touch no index (HOT).
_CREATE_PARTITION = """
CREATE TABLE IF NOT EXISTS delivery_{issue} (LIKE delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
WITH (fillfactor = 50)
"""

_RUNS_OF_SUBSCRIBERS = """
WITH RECURSIVE cut (first, last, candidates) AS (
    SELECT CAST(NULL AS bigint), CAST(0 AS bigint), CAST(0 AS bigint)
    UNION ALL
    SELECT next.* FROM cut CROSS JOIN LATERAL (
        SELECT min(subscriber_id), max(subscriber_id), count(*)
        FROM (
            SELECT subscriber_id FROM subscription s
            WHERE newsletter_id = :newsletter AND subscriber_id > cut.last
            ORDER BY subscriber_id LIMIT :size
        ) run
    ) next (first, last, candidates)
    WHERE next.candidates > 0
)
"""
_RUNS_AWAITING_DIGEST = f"""
WITH cut AS (
    SELECT min(subscriber_id) AS first, max(subscriber_id) AS last, count(*) AS candidates
    FROM (
        SELECT w.subscriber_id, (row_number() OVER (ORDER BY w.subscriber_id) - 1) / :size AS run
        FROM ({sources_by_subscriber(AWAITING)}) w
        JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id = w.subscriber_id
    ) numbered GROUP BY run
)
"""
_INSERT_BATCHES = """
INSERT INTO batch (
    issue_id, first_subscriber_id, last_subscriber_id, state, candidates, epoch, worker, is_retry,
    sent, failed, skipped, uncertain
)
-- Ranges are contiguous, so a subscriber who joins before expansion falls into exactly one batch.
SELECT :issue, first, coalesce(lead(first) OVER (ORDER BY first) - 1, last), 'planned', candidates,
    0, '', false, 0, 0, 0, 0
FROM cut WHERE first IS NOT NULL ORDER BY first
"""


def create_partition(session: Session, issue: int) -> None:
    """Create the issue's partition of the ledger if it has none.

    It is created separately and then attached, which blocks no worker that is sending another issue.
    """
    session.execute(text(_CREATE_PARTITION.format(issue=int(issue))))
    attached = session.scalar(
        text("SELECT count(*) FROM pg_inherits WHERE inhrelid = CAST(:name AS regclass)"),
        {"name": f"delivery_{int(issue)}"},
    )
    if not attached:
        session.execute(
            text(f"ALTER TABLE delivery ATTACH PARTITION delivery_{int(issue)} FOR VALUES IN ({int(issue)})")
        )


def freeze(session: Session, issue: int, newsletter: int, batch_size: int, digest_sources: Sequence[int] = ()) -> int:
    """Create the issue's ledger partition and divide its candidates into batches; return how many batches.

    The candidates of a digest are those who have yet to get one of its issues in a digest.
    """
    create_partition(session, issue)
    runs = _RUNS_AWAITING_DIGEST if digest_sources else _RUNS_OF_SUBSCRIBERS
    inserted = session.connection().execute(
        text(runs + _INSERT_BATCHES),
        {"issue": issue, "newsletter": newsletter, "size": batch_size, "digest_sources": list(digest_sources)},
    )
    return inserted.rowcount


@dataclass(frozen=True, slots=True)
class PlannedBatches:
    """Consecutive batches that have no deliveries yet."""

    batch_ids: Sequence[int]
    first_subscriber_ids: Sequence[int]
    """One per batch."""
    last_subscriber_id: int
    """Of the last batch."""


def claim_planned(session: Session, issue: int, limit: int) -> PlannedBatches | None:
    """Lock batches to expand until the transaction ends. Return None if none is available."""
    query = """
        SELECT id, first_subscriber_id, last_subscriber_id FROM batch WHERE issue_id = :issue AND state = 'planned'
        ORDER BY first_subscriber_id LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    rows = session.execute(text(query), {"issue": issue, "limit": limit}).all()
    # Other workers may have locked some in between. Ids are consecutive like the ranges, so keep the unbroken start.
    batches = [row for offset, row in enumerate(rows) if row.id == rows[0].id + offset]
    if not batches:
        return None
    return PlannedBatches(
        [row.id for row in batches], [row.first_subscriber_id for row in batches], batches[-1].last_subscriber_id
    )


class LanguageRequest(NamedTuple):
    """What the language of an edition is chosen by."""

    languages: list[str]
    """A subscriber's language preferences."""
    sources: int = 0
    """Only in a digest: the mask of the issues that it holds for them."""


def list_language_requests(
    session: Session, issue: int, newsletter: int, digest_sources: Sequence[int] = ()
) -> list[LanguageRequest]:
    """Return the distinct language requests of an issue's candidates."""
    sources, join = ("w.sources", _JOIN_POSSIBLE_SOURCES) if digest_sources else ("0", "")
    query = f"""
        SELECT DISTINCT r.languages, {sources}
        FROM subscription s JOIN subscriber r ON r.id = s.subscriber_id {join}
        WHERE s.newsletter_id = :newsletter
    """
    values = {"issue": issue, "newsletter": newsletter, "digest_sources": list(digest_sources)}
    return [LanguageRequest(list(languages), sources) for languages, sources in session.execute(text(query), values)]


def add_language_choice(
    session: Session, issue: int, request: LanguageRequest, language: str | None, sections: int
) -> None:
    query = """
        INSERT INTO language_choice (issue_id, languages, sources, language, sections)
        VALUES (:issue, :languages, :sources, :language, :sections) ON CONFLICT DO NOTHING
    """
    values = {"issue": issue, "language": language, "sections": sections} | request._asdict()
    session.execute(text(query), values)


# The candidates in a range of subscribers, each with their edition or skip reason. The range is a condition on both
# tables, so that only this range of each is read. OFFSET makes each expression be computed once. Both tables are read
# in the order of subscriber ids and the rest is looked up per row, so the result needs no sorting.
# Of a delivery that is due later, only what cannot be undone by then is decided now.
_SKIP_REASON = partial(
    eligibility.skip_reason,
    now=":now",
    digest=":digest",
    suppressed=eligibility.IS_SUPPRESSED_BY_LOOKUP,
    with_edition=True,
)
# A digest also waits for the end of a pause, and then for its hour (see store.ledger).
_DUE = "coalesce(z.due_at, CAST(:due_at AS timestamptz))"
_DIGEST_DUE = f"greatest({_DUE}, s.paused_until)"
_CANDIDATES = f"""
(
    SELECT
        s.subscriber_id,
        r.languages,
        {{sources}} AS sources,
        c.issue_id IS NULL AS unchosen,
        c.language,
        {EDITION_MASK} AS mask,
        {{skip_reason}} AS skip_reason,
        {{due}} AS due_at
    FROM subscription s {{held}}
    JOIN subscriber r ON r.id = s.subscriber_id AND r.id BETWEEN :first AND :last
    LEFT JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages AND c.sources = {{sources}}
    LEFT JOIN unnest(CAST(:zones AS text[]), CAST(:zones_due_at AS timestamptz[])) z (name, due_at)
        ON z.name = r.time_zone
    WHERE s.newsletter_id = :newsletter AND s.subscriber_id BETWEEN :first AND :last
    OFFSET 0
) a
LEFT JOIN edition e
    ON e.issue_id = :issue AND e.language = a.language AND e.sections = a.mask AND e.sources = a.sources
WHERE {{undelivered}}
"""

_WITHOUT_DELIVERY = """NOT EXISTS (
    SELECT FROM delivery_{issue} d
    WHERE d.subscriber_id = a.subscriber_id AND d.subscriber_id BETWEEN :first AND :last
)"""

_HOLD = f"""
UPDATE delivery SET digest_id = :issue
WHERE issue_id = ANY(CAST(:digest_sources AS int[])) AND subscriber_id BETWEEN :first AND :last AND {AWAITING}
"""
_HELD = f"SELECT * FROM ({sources_by_subscriber(HELD)}) w WHERE subscriber_id BETWEEN :first AND :last"
_JOIN_HELD = f"JOIN ({_HELD}) w ON w.subscriber_id = s.subscriber_id"

_INSERT_DELIVERIES = """
INSERT INTO delivery_{issue} (issue_id, subscriber_id, due_at, finished_at, edition_id, state, skip_reason)
SELECT
    :issue, a.subscriber_id, a.due_at, CASE WHEN a.skip_reason IS NOT NULL THEN CAST(:now AS timestamptz) END,
    CASE WHEN a.skip_reason IS NULL THEN e.id END,
    CASE WHEN a.skip_reason IS NULL THEN 'pending'::delivery_state ELSE 'skipped'::delivery_state END, a.skip_reason
FROM {candidates} AND NOT a.unchosen AND (a.skip_reason IS NOT NULL OR e.id IS NOT NULL)
"""

_HAS_LANGUAGE_CHOICES = "SELECT EXISTS (SELECT FROM language_choice WHERE issue_id = :issue)"

# Comparing counts is safe: erasing a subscriber locks their batch (store.personal_data), and so does expansion, so an
# erasure cannot hide a missing row.
_COUNT_CANDIDATES = """
SELECT count(*) FROM subscription WHERE newsletter_id = :newsletter AND subscriber_id BETWEEN :first AND :last
"""

_COUNT_DIGEST_CANDIDATES = f"""
SELECT count(*) FROM subscription s {_JOIN_HELD} WHERE s.newsletter_id = :newsletter
"""

_COUNT_DELIVERIES = "SELECT count(*) FROM delivery_{issue} WHERE subscriber_id BETWEEN :first AND :last"

_PLANNER_SETTINGS = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'
"""

_WITHOUT_LANGUAGE_CHOICE = """
SELECT DISTINCT a.languages, a.sources FROM {candidates} AND a.unchosen ORDER BY 1, 2
"""

_INSERT_EDITIONS = """
INSERT INTO edition (
    issue_id, language, sections, sources, revision, subject, story_count, fallback_count, html, message, slots
)
SELECT DISTINCT CAST(:issue AS int), a.language, a.mask, a.sources, 0, '', 0, 0, '', ''::bytea, '[]'::jsonb
FROM {candidates} AND a.skip_reason IS NULL AND e.id IS NULL
ORDER BY a.language, a.mask, a.sources
ON CONFLICT DO NOTHING  -- another worker has just made it
"""

_MARK_BATCHES_READY = """
UPDATE batch b
SET candidates = coalesce(c.candidates, 0),
    skipped = coalesce(c.skipped, 0),
    due_at = coalesce(c.due_at, :now),
    state = (CASE WHEN coalesce(c.candidates - c.skipped, 0) = 0 THEN 'done' ELSE 'ready' END)::batch_state
FROM unnest(CAST(:batches AS bigint[])) WITH ORDINALITY picked (id, n)
LEFT JOIN (
    SELECT width_bucket(subscriber_id, CAST(:firsts AS bigint[])) AS n,
        count(*) AS candidates, count(skip_reason) AS skipped, min(due_at) FILTER (WHERE skip_reason IS NULL) AS due_at
    FROM delivery_{issue} WHERE subscriber_id BETWEEN :first AND :last
    GROUP BY 1
) c ON c.n = picked.n
WHERE b.id = picked.id
"""


@dataclass(frozen=True, slots=True)
class DueTimes:
    """When deliveries are due. Without local time, digest time and quiet hours they are due at ``now``."""

    now: datetime
    local_time: datetime | None = None
    """In each subscriber's time zone; naive."""
    quiet_hours: QuietHours | None = None
    """In each subscriber's time zone."""
    digest_time: time | None = None
    """The hour of a digest, in each subscriber's time zone."""
    not_before: datetime | None = None
    """When a digest was scheduled: it is sent at the next digest time."""

    def at(self, zone: str, paused_until: datetime | None = None) -> datetime:
        """Return when a delivery is due in a time zone; for a digest, to somebody who has paused until then."""
        rules, local_time = time_zones.time_zone(zone), self.local_time
        if self.digest_time:
            earliest = max(self.not_before or self.now, paused_until or datetime.min.replace(tzinfo=UTC))
            local_time = time_zones.next_local_time(rules, earliest, self.digest_time)
        return time_zones.due_at(rules, self.now, local_time, self.quiet_hours)

    def by_time_zone(self) -> Mapping[str, datetime]:
        """Return time zone → when deliveries there are due; empty if that is ``now`` everywhere."""
        if self.local_time is None and self.quiet_hours is None and self.digest_time is None:
            return {}
        if self.digest_time is None:
            return time_zones.due_times(self.now, self.local_time, self.quiet_hours)
        return {zone: self.at(zone) for zone in time_zones.known_time_zones()}


class Expansion:
    """Gives every candidate of some batches a delivery, with an edition or a skip reason."""

    def __init__(
        self,
        session: Session,
        issue: int,
        newsletter: int,
        always_mask: int,
        planned: PlannedBatches,
        due_times: DueTimes,
        digest_sources: Sequence[int] = (),
    ) -> None:
        """Start expanding batches.

        The candidates of a digest are those who have yet to get one of its issues in a digest. From then on this
        digest holds these issues for them.
        """
        self._session = session
        self._inserted_count = 0
        self._digest = bool(digest_sources)
        zones = due_times.by_time_zone()
        due = _DIGEST_DUE if self._digest else _DUE
        self._candidates = {
            "due": due,
            "skip_reason": _SKIP_REASON(later=f"{due} > :now" if zones else ""),
            "held": _JOIN_HELD if self._digest else "",
            "sources": "w.sources" if self._digest else "CAST(0 AS bigint)",
        }
        self._issue = int(issue)
        self._values = {
            "issue": issue,
            "newsletter": newsletter,
            "always": always_mask,
            "batches": planned.batch_ids,
            "firsts": planned.first_subscriber_ids,
            "first": planned.first_subscriber_ids[0],
            "last": planned.last_subscriber_id,
            "now": due_times.now,
            "digest": self._digest,
            "digest_sources": list(digest_sources),
            "due_at": zones.get("UTC", due_times.now),
            "zones": list(zones),
            "zones_due_at": list(zones.values()),
        }
        # A generic plan would assume small ranges, and a nested loop would scan all editions, which have no statistics
        # yet, for each subscriber.
        session.execute(text(_PLANNER_SETTINGS))
        if self._digest:
            self._run(_HOLD)
        self._inserted_count = self._run(_COUNT_DELIVERIES).scalar_one()

    def insert_deliveries(self) -> bool:
        """Insert deliveries for candidates whose language choice and edition exist; return whether these were all.

        If not, add the missing choices and editions and call this again.
        """
        if self._run(_HAS_LANGUAGE_CHOICES).scalar_one():  # there are none for the first batches of an issue
            self._inserted_count += self._run(_INSERT_DELIVERIES).rowcount
        counting = _COUNT_DIGEST_CANDIDATES if self._digest else _COUNT_CANDIDATES
        candidate_count: int = self._run(counting).scalar_one()
        return self._inserted_count >= candidate_count

    def without_language_choice(self) -> list[LanguageRequest]:
        """Return the language requests without a language choice for this issue.

        They are sorted, so that two workers that insert the same choices cannot deadlock.
        """
        return [LanguageRequest(list(row.languages), row.sources) for row in self._run(_WITHOUT_LANGUAGE_CHOICE)]

    def add_editions(self) -> None:
        self._run(_INSERT_EDITIONS)

    def finish(self) -> None:
        """Mark the batches as ready. Call once every candidate has a delivery."""
        self._run(_MARK_BATCHES_READY)

    def _run(self, query: str) -> CursorResult[Any]:
        undelivered = _WITHOUT_DELIVERY.format(issue=self._issue) if self._inserted_count else "true"
        candidates = _CANDIDATES.format(undelivered=undelivered, **self._candidates)
        statement = query.format(issue=self._issue, candidates=candidates)
        return self._session.connection().execute(text(statement), self._values)


def mark_ready(session: Session, issue: int, now: datetime) -> bool:
    """Start sending an issue if all its batches are expanded and all editions rendered; return whether this did.

    Only ``Expansion`` adds editions for subscribers. Those for the seed list were added when it was frozen.
    """
    query = """
        UPDATE issue i SET ready_at = :now
        WHERE id = :issue AND ready_at IS NULL
          AND NOT EXISTS (SELECT FROM batch WHERE issue_id = i.id AND state = 'planned')
          AND NOT EXISTS (SELECT FROM edition WHERE issue_id = i.id AND revision <> i.revision)
    """
    return session.connection().execute(text(query), {"issue": issue, "now": now}).rowcount > 0


_JOIN_POSSIBLE_SOURCES = f"""
JOIN ({sources_by_subscriber(f"({AWAITING} OR {HELD})")}) w ON w.subscriber_id = s.subscriber_id
"""
_PREVIEW = f"""
SELECT r.languages, c.language, {EDITION_MASK} AS mask,
    {eligibility.skip_reason(now="now()", digest=":digest", with_edition=True)} AS skip_reason,
    count(*) AS subscribers
FROM subscription s {{possible_sources}}
JOIN subscriber r ON r.id = s.subscriber_id
JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages AND c.sources = {{sources}}
{SUPPRESSION_JOIN}
WHERE s.newsletter_id = :newsletter
GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4, 1
"""


def preview(
    session: Session, issue: int, newsletter: int, always_mask: int, digest_sources: Sequence[int] = ()
) -> list[AudienceGroup]:
    """Return who would get what if the audience were frozen now."""
    values = {
        "issue": issue,
        "newsletter": newsletter,
        "always": always_mask,
        "digest": bool(digest_sources),
        "digest_sources": list(digest_sources),
    }
    query = _PREVIEW.format(
        possible_sources=_JOIN_POSSIBLE_SOURCES if digest_sources else "",
        sources="w.sources" if digest_sources else "0",
    )
    rows = session.execute(text(query), values)
    return [
        AudienceGroup(
            tuple(row.languages),
            row.language,
            row.mask or 0,
            SkipReason(row.skip_reason) if row.skip_reason else None,
            row.subscribers,
        )
        for row in rows
    ]


def delete_language_choices(session: Session, issue: int) -> None:
    """Delete an issue's language choices. They depend on its translations, and are made again at freezing."""
    session.execute(text("DELETE FROM language_choice WHERE issue_id = :issue"), {"issue": issue})
