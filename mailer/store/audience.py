"""Freezing an audience: ranges of subscribers become batches, batches become delivery rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from mailer.domain.states import SkipReason
from mailer.store import eligibility
from mailer.store.eligibility import EDITION_MASK, IS_CANDIDATE, SUPPRESSION_JOIN

# Each row changes twice. With half of its page free it stays there, and no index has to learn of it.
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
-- Each reaches to the next one: who subscribes before it is expanded belongs to one batch, not between two.
SELECT :issue, first, coalesce(lead(first) OVER (ORDER BY first) - 1, last), 'planned', candidates,
    0, '', false, 0, 0, 0, 0
FROM cut WHERE first IS NOT NULL ORDER BY first
"""


def freeze(session: Session, issue: int, newsletter: int, batch_size: int, *, digest: bool) -> int:
    """Make the issue's part of the ledger and cut its candidates into batches; returns how many batches.

    The partition is made apart and attached, which locks out nobody who is sending another issue.
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
    made = session.connection().execute(
        text(_INSERT_BATCHES),
        {"issue": issue, "newsletter": newsletter, "size": batch_size, "digest": digest},
    )
    return made.rowcount


@dataclass(frozen=True, slots=True)
class PlannedBatches:
    """Neighbouring batches without delivery rows."""

    batch_ids: Sequence[int]
    first_subscriber_ids: Sequence[int]
    """The first subscriber of each."""
    last_subscriber_id: int
    """The last subscriber of them all."""


def claim_planned(session: Session, issue: int, limit: int) -> PlannedBatches | None:
    """Some batches to expand, held until this transaction ends. None when none is left to take."""
    query = """
        SELECT id, first_subscriber_id, last_subscriber_id FROM batch WHERE issue_id = :issue AND state = 'planned'
        ORDER BY first_subscriber_id LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    rows = session.execute(text(query), {"issue": issue, "limit": limit}).all()
    # Other workers may hold some in between: ids follow one another as ranges do.
    run = [row for place, row in enumerate(rows) if row.id == rows[0].id + place]
    if not run:
        return None
    return PlannedBatches([row.id for row in run], [row.first_subscriber_id for row in run], run[-1].last_subscriber_id)


def list_language_preferences(session: Session, newsletter: int) -> list[list[str]]:
    """Every preference list among a newsletter's candidates: for counts before anything is frozen."""
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


# When a reader's delivery is due. "At nine o'clock where you are" needs each reader's time zone; one that this
# server does not know counts as UTC. Quiet hours may run past midnight.
_DUE_IMMEDIATELY = "SELECT CAST(:now AS timestamptz) AS due_at"
DUE_IN_TIME_ZONE = """
SELECT CASE
    WHEN (CASE WHEN q.since < q.until THEN t.clock::time >= q.since AND t.clock::time < q.until
          ELSE t.clock::time >= q.since OR t.clock::time < q.until END)
    THEN (date_trunc('day', t.clock) + CAST(q.until AS interval)
          + CASE WHEN t.clock::time >= q.until THEN interval '1 day' ELSE interval '0' END) AT TIME ZONE z.name
    ELSE d.at END AS due_at
FROM (SELECT coalesce((SELECT name FROM zones WHERE name = r.time_zone), 'UTC') AS name) z,
    LATERAL (SELECT greatest(CAST(:now AS timestamptz), CAST(:local_time AS timestamp) AT TIME ZONE z.name) AS at) d,
    LATERAL (SELECT d.at AT TIME ZONE z.name AS clock) t,
    (SELECT CAST(:quiet_from AS time) AS since, CAST(:quiet_until AS time) AS until) q
"""

# The candidates in a range of subscribers, each with what they get or the reason why not. The range is said of
# both tables, so that only that much of either is read; OFFSET has each expression computed once. Both tables
# are read in the order of readers and all else is looked up for each, so that rows come in that order unsorted.
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
        due.due_at
    FROM subscription s
    JOIN subscriber r ON r.id = s.subscriber_id AND r.id BETWEEN :first AND :last
    LEFT JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
    CROSS JOIN LATERAL ({{due}}) due
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
WITH zones AS MATERIALIZED (SELECT name FROM pg_timezone_names WHERE {zoned})
INSERT INTO delivery_{issue} (issue_id, subscriber_id, due_at, finished_at, edition_id, state, skip_reason)
SELECT
    :issue, a.subscriber_id, a.due_at, CASE WHEN a.skip_reason IS NOT NULL THEN CAST(:now AS timestamptz) END,
    CASE WHEN a.skip_reason IS NULL THEN e.id END,
    CASE WHEN a.skip_reason IS NULL THEN 'pending'::delivery_state ELSE 'skipped'::delivery_state END, a.skip_reason
FROM {candidates} AND NOT a.unchosen AND (a.skip_reason IS NOT NULL OR e.id IS NOT NULL)
"""

_HAS_LANGUAGE_CHOICES = "SELECT EXISTS (SELECT FROM language_choice WHERE issue_id = :issue)"

# Nobody who goes can make up for somebody who is missing: whoever erases a reader holds their batch (store.people),
# and so do we.
_COUNT_CANDIDATES = """
SELECT count(*) FROM subscription WHERE newsletter_id = :newsletter AND subscriber_id BETWEEN :first AND :last
"""

# Who would rather have each issue again is no candidate for a digest any more, and nobody holds anything for it.
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
    """When deliveries are due. Without local time and quiet hours: at once."""

    now: datetime
    local_time: datetime | None = None
    """On each reader's own clock; no time zone."""
    quiet_hours: tuple[time, time] | None = None
    """Since and until, on each reader's own clock."""


class Expansion:
    """Gives every candidate of some batches a delivery row: with an edition, or with the reason why not."""

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
        """``digest``: only readers who get one mail a month are candidates."""
        self._session = session
        self._inserted_count = 0
        self._digest = digest
        self._per_time_zone = due_times.local_time is not None or due_times.quiet_hours is not None
        since, until = due_times.quiet_hours or (None, None)
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
            "local_time": due_times.local_time,
            "quiet_from": since,
            "quiet_until": until,
        }
        # A plan for any range would take every range for a small one, and editions that were made a moment ago
        # are no reason to go through them all for each reader.
        session.execute(text(_PLANNER_SETTINGS))
        self._inserted_count = self._run(_COUNT_DELIVERIES).scalar_one()

    def insert_deliveries(self) -> bool:
        """Rows for all whose language is chosen and whose edition is there; True when that is everybody.

        Otherwise make the choices and editions that are missing, and deliver again.
        """
        if self._run(_HAS_LANGUAGE_CHOICES).scalar_one():  # not so for the first batches of an issue
            self._inserted_count += self._run(_INSERT_DELIVERIES, per_time_zone=self._per_time_zone).rowcount
        if self._digest:
            return not self._run(_HAS_CANDIDATES_WITHOUT_DELIVERY).scalar_one()
        wanted: int = self._run(_COUNT_CANDIDATES).scalar_one()
        return self._inserted_count >= wanted

    def without_language_choice(self) -> list[list[str]]:
        """Preference lists for which the issue has no language choice yet; in order, so that two who write the
        same choices down wait for each other in one direction only."""
        return sorted(list(languages) for languages in self._run(_WITHOUT_LANGUAGE_CHOICE).scalars())

    def add_editions(self) -> None:
        self._run(_INSERT_EDITIONS)

    def finish(self) -> None:
        """Once everybody has a row: the batches are ready."""
        self._run(_MARK_BATCHES_READY)

    def _run(self, query: str, per_time_zone: bool = False) -> CursorResult[Any]:
        due = DUE_IN_TIME_ZONE if per_time_zone else _DUE_IMMEDIATELY
        undelivered = _WITHOUT_DELIVERY.format(issue=self._issue) if self._inserted_count else "true"
        candidates = _CANDIDATES.format(due=due, undelivered=undelivered)
        zoned = "true" if per_time_zone else "false"
        whole = query.format(issue=self._issue, candidates=candidates, undelivered=undelivered, zoned=zoned)
        return self._session.connection().execute(text(whole), self._values)


def mark_ready(session: Session, issue: int, now: datetime) -> bool:
    """True when every batch is expanded and every edition rendered: from then on mail goes out.

    Editions are made by ``Expansion`` alone, for readers who get them.
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
    """Who would get what now: (language, mask, reason why not, readers), before anything is frozen."""
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
    """The choices depend on the issue's translations: they are made anew when the audience is frozen."""
    session.execute(text("DELETE FROM language_choice WHERE issue_id = :issue"), {"issue": issue})
