"""Freezing an audience: ranges of subscribers become batches, batches become delivery rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from mailer.domain import time_zones
from mailer.domain.states import SkipReason
from mailer.domain.time_zones import QuietHours
from mailer.store import eligibility
from mailer.store.eligibility import EDITION_MASK, IS_CANDIDATE, SUPPRESSION_JOIN

# Each row is updated twice. With half of each page free, updates stay on their page and touch no index (HOT).
_CREATE_PARTITION = """
CREATE TABLE IF NOT EXISTS delivery_{issue} (LIKE delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
WITH (fillfactor = 50)
"""

_INSERT_BATCHES = f"""
WITH RECURSIVE cut (first, last, candidates) AS (
    SELECT CAST(NULL AS bigint), CAST(0 AS bigint), CAST(0 AS bigint)
    UNION ALL
    SELECT next.* FROM cut CROSS JOIN LATERAL (
        SELECT min(subscriber_id), max(subscriber_id), count(*)
        FROM (
            SELECT subscriber_id FROM subscription s
            WHERE newsletter_id = :newsletter AND subscriber_id > cut.last
                AND {IS_CANDIDATE}
            ORDER BY subscriber_id LIMIT :size
        ) run
    ) next (first, last, candidates)
    WHERE next.candidates > 0
)
INSERT INTO batch (
    issue_id, first_subscriber_id, last_subscriber_id, state, candidates, epoch, worker, is_retry,
    sent, failed, skipped, uncertain
)
-- Ranges are contiguous, so a subscriber who joins before expansion falls into exactly one batch.
SELECT :issue, first, coalesce(lead(first) OVER (ORDER BY first) - 1, last), 'planned', candidates,
    0, '', false, 0, 0, 0, 0
FROM cut WHERE first IS NOT NULL ORDER BY first
"""


def freeze(session: Session, issue: int, newsletter: int, batch_size: int, *, digest: bool) -> int:
    """Create the issue's ledger partition and divide its candidates into batches; return how many batches.

    The partition is created separately and then attached, which blocks no worker that is sending another issue.
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
    inserted = session.connection().execute(
        text(_INSERT_BATCHES),
        {"issue": issue, "newsletter": newsletter, "size": batch_size, "digest": digest},
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


def list_language_preferences(session: Session, newsletter: int) -> list[list[str]]:
    """Return every distinct list of language preferences among a newsletter's subscribers."""
    query = """
        SELECT DISTINCT r.languages FROM subscription s JOIN subscriber r ON r.id = s.subscriber_id
        WHERE s.newsletter_id = :newsletter
    """
    return [list(row) for row in session.scalars(text(query), {"newsletter": newsletter})]


def add_language_choice(
    session: Session, issue: int, languages: list[str], language: str | None, sections: int
) -> None:
    query = """
        INSERT INTO language_choice (issue_id, languages, language, sections)
        VALUES (:issue, :languages, :language, :sections) ON CONFLICT DO NOTHING
    """
    values = {"issue": issue, "languages": languages, "language": language, "sections": sections}
    session.execute(text(query), values)


# The candidates in a range of subscribers, each with their edition or skip reason. The range is a condition on both
# tables, so that only this range of each is read. OFFSET makes each expression be computed once. Both tables are read
# in the order of subscriber ids and the rest is looked up per row, so the result needs no sorting.
_SKIP_REASON = eligibility.skip_reason(
    now=":now", digest=":digest", suppressed=eligibility.IS_SUPPRESSED_BY_LOOKUP, with_edition=True
)
_CANDIDATES = f"""
(
    SELECT
        s.subscriber_id,
        r.languages,
        c.issue_id IS NULL AS unchosen,
        c.language,
        {EDITION_MASK} AS mask,
        {_SKIP_REASON} AS skip_reason,
        coalesce(z.due_at, CAST(:due_at AS timestamptz)) AS due_at
    FROM subscription s
    JOIN subscriber r ON r.id = s.subscriber_id AND r.id BETWEEN :first AND :last
    LEFT JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
    LEFT JOIN unnest(CAST(:zones AS text[]), CAST(:zones_due_at AS timestamptz[])) z (name, due_at)
        ON z.name = r.time_zone
    WHERE s.newsletter_id = :newsletter AND s.subscriber_id BETWEEN :first AND :last
        AND {IS_CANDIDATE}
    OFFSET 0
) a
LEFT JOIN edition e ON e.issue_id = :issue AND e.language = a.language AND e.sections = a.mask
WHERE {{undelivered}}
"""

_WITHOUT_DELIVERY = """NOT EXISTS (
    SELECT FROM delivery_{issue} d
    WHERE d.subscriber_id = a.subscriber_id AND d.subscriber_id BETWEEN :first AND :last
)"""

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

# Counts do not work for a digest: switching back from monthly takes no lock and ends candidacy.
_HAS_CANDIDATES_WITHOUT_DELIVERY = """
SELECT EXISTS (
    SELECT FROM subscription a
    WHERE a.newsletter_id = :newsletter AND a.subscriber_id BETWEEN :first AND :last
        AND a.frequency = 'monthly' AND {undelivered}
)
"""

_COUNT_DELIVERIES = "SELECT count(*) FROM delivery_{issue} WHERE subscriber_id BETWEEN :first AND :last"

_PLANNER_SETTINGS = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'
"""

_WITHOUT_LANGUAGE_CHOICE = "SELECT DISTINCT a.languages FROM {candidates} AND a.unchosen"

_INSERT_EDITIONS = """
INSERT INTO edition (issue_id, language, sections, revision, subject, story_count, fallback_count, html, message, slots)
SELECT DISTINCT CAST(:issue AS int), a.language, a.mask, 0, '', 0, 0, '', ''::bytea, '[]'::jsonb
FROM {candidates} AND a.skip_reason IS NULL AND e.id IS NULL
ORDER BY a.language, a.mask
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
    """When deliveries are due. Without local time and quiet hours they are due at ``now``."""

    now: datetime
    local_time: datetime | None = None
    """In each subscriber's time zone; naive."""
    quiet_hours: QuietHours | None = None
    """In each subscriber's time zone."""

    def by_time_zone(self) -> Mapping[str, datetime]:
        """Return time zone → when deliveries there are due; empty if that is ``now`` everywhere."""
        if self.local_time is None and self.quiet_hours is None:
            return {}
        return time_zones.due_times(self.now, self.local_time, self.quiet_hours)


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
        *,
        digest: bool,
    ) -> None:
        """Start expanding batches. With ``digest`` only monthly subscribers are candidates."""
        self._session = session
        self._inserted_count = 0
        self._digest = digest
        zones = due_times.by_time_zone()
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
            "digest": digest,
            "due_at": zones.get("UTC", due_times.now),
            "zones": list(zones),
            "zones_due_at": list(zones.values()),
        }
        # A generic plan would assume small ranges, and a nested loop would scan all editions, which have no statistics
        # yet, for each subscriber.
        session.execute(text(_PLANNER_SETTINGS))
        self._inserted_count = self._run(_COUNT_DELIVERIES).scalar_one()

    def insert_deliveries(self) -> bool:
        """Insert deliveries for candidates whose language choice and edition exist; return whether these were all.

        If not, add the missing choices and editions and call this again.
        """
        if self._run(_HAS_LANGUAGE_CHOICES).scalar_one():  # there are none for the first batches of an issue
            self._inserted_count += self._run(_INSERT_DELIVERIES).rowcount
        if self._digest:
            return not self._run(_HAS_CANDIDATES_WITHOUT_DELIVERY).scalar_one()
        candidate_count: int = self._run(_COUNT_CANDIDATES).scalar_one()
        return self._inserted_count >= candidate_count

    def without_language_choice(self) -> list[list[str]]:
        """Return the language preferences without a language choice for this issue.

        They are sorted, so that two workers that insert the same choices cannot deadlock.
        """
        return sorted(list(languages) for languages in self._run(_WITHOUT_LANGUAGE_CHOICE).scalars())

    def add_editions(self) -> None:
        self._run(_INSERT_EDITIONS)

    def finish(self) -> None:
        """Mark the batches as ready. Call once every candidate has a delivery."""
        self._run(_MARK_BATCHES_READY)

    def _run(self, query: str) -> CursorResult[Any]:
        undelivered = _WITHOUT_DELIVERY.format(issue=self._issue) if self._inserted_count else "true"
        candidates = _CANDIDATES.format(undelivered=undelivered)
        statement = query.format(issue=self._issue, candidates=candidates, undelivered=undelivered)
        return self._session.connection().execute(text(statement), self._values)


def mark_ready(session: Session, issue: int, now: datetime) -> bool:
    """Start sending an issue if all its batches are expanded and all editions rendered; return whether this did.

    Only ``Expansion`` adds editions, so every edition has subscribers.
    """
    query = """
        UPDATE issue i SET ready_at = :now
        WHERE id = :issue AND ready_at IS NULL
          AND NOT EXISTS (SELECT FROM batch WHERE issue_id = i.id AND state = 'planned')
          AND NOT EXISTS (SELECT FROM edition WHERE issue_id = i.id AND revision <> i.revision)
    """
    return session.connection().execute(text(query), {"issue": issue, "now": now}).rowcount > 0


_PREVIEW = f"""
SELECT c.language, {EDITION_MASK} AS mask,
    {eligibility.skip_reason(now="now()", digest=":digest", with_edition=True)} AS skip_reason,
    count(*) AS subscribers
FROM subscription s
JOIN subscriber r ON r.id = s.subscriber_id
JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
{SUPPRESSION_JOIN}
WHERE s.newsletter_id = :newsletter AND {IS_CANDIDATE}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def preview(
    session: Session, issue: int, newsletter: int, always_mask: int, *, digest: bool
) -> list[tuple[str | None, int, SkipReason | None, int]]:
    """Return what the audience would get if frozen now, as (language, mask, skip reason, number of subscribers)."""
    values = {"issue": issue, "newsletter": newsletter, "always": always_mask, "digest": digest}
    rows = session.execute(text(_PREVIEW), values)
    return [
        (
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
