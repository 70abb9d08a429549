"""Freezing an audience: ranges of subscribers become batches, batches become delivery rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

# Each row changes twice. With half of its page free it stays there, and no index has to learn of it.
_PARTITION = """
CREATE TABLE IF NOT EXISTS delivery_{issue} (LIKE delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
WITH (fillfactor = 50)
"""

_BATCHES = """
WITH RECURSIVE cut (first, last, candidates) AS (
    SELECT CAST(NULL AS bigint), CAST(0 AS bigint), CAST(0 AS bigint)
    UNION ALL
    SELECT next.* FROM cut CROSS JOIN LATERAL (
        SELECT min(subscriber_id), max(subscriber_id), count(*)
        FROM (
            SELECT subscriber_id FROM subscription
            WHERE newsletter_id = :newsletter AND subscriber_id > cut.last
                AND (frequency = 'monthly' OR NOT :digest)
            ORDER BY subscriber_id LIMIT :size
        ) run
    ) next (first, last, candidates)
    WHERE next.candidates > 0
)
INSERT INTO batch (issue_id, first, last, state, candidates, epoch, worker, retry, sent, failed, skipped, uncertain)
-- Each reaches to the next one: who subscribes before it is expanded belongs to one batch, not between two.
SELECT :issue, first, coalesce(lead(first) OVER (ORDER BY first) - 1, last), 'planned', candidates,
    0, '', false, 0, 0, 0, 0
FROM cut WHERE first IS NOT NULL ORDER BY first
"""


def freeze(session: Session, issue: int, newsletter: int, size: int, *, digest: bool) -> int:
    """Make the issue's part of the ledger and cut its candidates into batches; returns how many batches.

    The partition is made apart and attached, which locks out nobody who is sending another issue.
    """
    session.execute(text(_PARTITION.format(issue=int(issue))))
    attached = session.scalar(
        text("SELECT count(*) FROM pg_inherits WHERE inhrelid = CAST(:name AS regclass)"),
        {"name": f"delivery_{int(issue)}"},
    )
    if not attached:
        session.execute(
            text(f"ALTER TABLE delivery ATTACH PARTITION delivery_{int(issue)} FOR VALUES IN ({int(issue)})")
        )
    made = session.connection().execute(
        text(_BATCHES), {"issue": issue, "newsletter": newsletter, "size": size, "digest": digest}
    )
    return made.rowcount


@dataclass(frozen=True, slots=True)
class Planned:
    """Neighbouring batches without delivery rows."""

    batches: Sequence[int]
    firsts: Sequence[int]
    """The first subscriber of each."""
    last: int
    """The last subscriber of them all."""


def claim_planned(session: Session, issue: int, limit: int) -> Planned | None:
    """Some batches to expand, held until this transaction ends. None when none is left to take."""
    query = """
        SELECT id, first, last FROM batch WHERE issue_id = :issue AND state = 'planned'
        ORDER BY first LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    rows = session.execute(text(query), {"issue": issue, "limit": limit}).all()
    # Other workers may hold some in between: ids follow one another as ranges do.
    run = [row for place, row in enumerate(rows) if row.id == rows[0].id + place]
    if not run:
        return None
    return Planned([row.id for row in run], [row.first for row in run], run[-1].last)


def all_language_lists(session: Session, newsletter: int) -> list[list[str]]:
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
_DUE_NOW = "SELECT CAST(:now AS timestamptz) AS due_at"
DUE_LOCAL = """
SELECT CASE
    WHEN (CASE WHEN q.since < q.until THEN t.clock::time >= q.since AND t.clock::time < q.until
          ELSE t.clock::time >= q.since OR t.clock::time < q.until END)
    THEN (date_trunc('day', t.clock) + CAST(q.until AS interval)
          + CASE WHEN t.clock::time >= q.until THEN interval '1 day' ELSE interval '0' END) AT TIME ZONE z.name
    ELSE d.at END AS due_at
FROM (SELECT coalesce((SELECT name FROM zones WHERE name = r.time_zone), 'UTC') AS name) z,
    LATERAL (SELECT greatest(CAST(:now AS timestamptz), CAST(:local_time AS timestamp) AT TIME ZONE z.name) AS at) d,
    LATERAL (SELECT d.at AT TIME ZONE z.name AS clock) t,
    (SELECT CAST(:quiet_since AS time) AS since, CAST(:quiet_until AS time) AS until) q
"""

# The candidates in a range of subscribers, each with what they get or the reason why not. The range is said of
# both tables, so that only that much of either is read; OFFSET has each expression computed once. Both tables
# are read in the order of readers and all else is looked up for each, so that rows come in that order unsorted.
_CANDIDATES = """
(
    SELECT
        s.subscriber_id,
        r.languages,
        c.issue_id IS NULL AS unchosen,
        c.language,
        (s.sections | :always) & c.sections AS mask,
        CASE
            WHEN s.state = 'unsubscribed' THEN 'unsubscribed'
            WHEN s.state = 'pending' THEN 'unconfirmed'
            WHEN EXISTS (SELECT FROM suppression x WHERE x.address_hash = r.address_hash) THEN 'suppressed'
            WHEN s.paused_until > :now THEN 'paused'
            WHEN s.frequency = 'monthly' AND NOT :digest THEN 'monthly'
            WHEN c.language IS NULL THEN 'no_language'
            WHEN (s.sections | :always) & c.sections = 0 THEN 'nothing_in_sections'
        END::skip_reason AS reason,
        due.due_at
    FROM subscription s
    JOIN subscriber r ON r.id = s.subscriber_id AND r.id BETWEEN :first AND :last
    LEFT JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
    CROSS JOIN LATERAL ({due}) due
    WHERE s.newsletter_id = :newsletter AND s.subscriber_id BETWEEN :first AND :last
        AND (s.frequency = 'monthly' OR NOT :digest)
    OFFSET 0
) a
LEFT JOIN edition e ON e.issue_id = :issue AND e.language = a.language AND e.sections = a.mask
WHERE {undelivered}
"""

_UNDELIVERED = """NOT EXISTS (
    SELECT FROM delivery_{issue} d
    WHERE d.subscriber_id = a.subscriber_id AND d.subscriber_id BETWEEN :first AND :last
)"""

_DELIVER = """
WITH zones AS MATERIALIZED (SELECT name FROM pg_timezone_names WHERE {zoned})
INSERT INTO delivery_{issue} (issue_id, subscriber_id, due_at, finished_at, edition_id, state, reason)
SELECT
    :issue, a.subscriber_id, a.due_at, CASE WHEN a.reason IS NOT NULL THEN CAST(:now AS timestamptz) END,
    CASE WHEN a.reason IS NULL THEN e.id END,
    CASE WHEN a.reason IS NULL THEN 'pending'::delivery_state ELSE 'skipped'::delivery_state END, a.reason
FROM {candidates} AND NOT a.unchosen AND (a.reason IS NOT NULL OR e.id IS NOT NULL)
"""

_CHOSEN = "SELECT EXISTS (SELECT FROM language_choice WHERE issue_id = :issue)"

# Nobody who goes can make up for somebody who is missing: whoever erases a reader holds their batch (store.people),
# and so do we.
_COUNT = """
SELECT count(*) FROM subscription WHERE newsletter_id = :newsletter AND subscriber_id BETWEEN :first AND :last
"""

# Who would rather have each issue again is no candidate for a digest any more, and nobody holds anything for it.
_MISSING = """
SELECT EXISTS (
    SELECT FROM subscription a
    WHERE a.newsletter_id = :newsletter AND a.subscriber_id BETWEEN :first AND :last
        AND a.frequency = 'monthly' AND {undelivered}
)
"""

_MADE = "SELECT count(*) FROM delivery_{issue} WHERE subscriber_id BETWEEN :first AND :last"

_SETTINGS = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'
"""

_UNCHOSEN = "SELECT DISTINCT a.languages FROM {candidates} AND a.unchosen"

_EDITIONS = """
INSERT INTO edition (issue_id, language, sections, revision, subject, stories, fallbacks, html, message, slots)
SELECT DISTINCT CAST(:issue AS int), a.language, a.mask, 0, '', 0, 0, '', ''::bytea, '[]'::jsonb
FROM {candidates} AND a.reason IS NULL AND e.id IS NULL
ORDER BY a.language, a.mask
ON CONFLICT DO NOTHING  -- another worker has just made it
"""

_READY = """
UPDATE batch b
SET candidates = coalesce(c.candidates, 0),
    skipped = coalesce(c.skipped, 0),
    due_at = coalesce(c.due_at, :now),
    state = (CASE WHEN coalesce(c.candidates - c.skipped, 0) = 0 THEN 'done' ELSE 'ready' END)::batch_state
FROM unnest(CAST(:batches AS bigint[])) WITH ORDINALITY picked (id, n)
LEFT JOIN (
    SELECT width_bucket(subscriber_id, CAST(:firsts AS bigint[])) AS n,
        count(*) AS candidates, count(reason) AS skipped, min(due_at) FILTER (WHERE reason IS NULL) AS due_at
    FROM delivery_{issue} WHERE subscriber_id BETWEEN :first AND :last
    GROUP BY 1
) c ON c.n = picked.n
WHERE b.id = picked.id
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """When deliveries are due. Without local time and quiet hours: at once."""

    now: datetime
    local_time: datetime | None = None
    """On each reader's own clock; no time zone."""
    quiet: tuple[time, time] | None = None
    """Since and until, on each reader's own clock."""


class Expansion:
    """Gives every candidate of some batches a delivery row: with an edition, or with the reason why not."""

    def __init__(
        self,
        session: Session,
        issue: int,
        newsletter: int,
        always: int,
        planned: Planned,
        timing: Timing,
        *,
        digest: bool,
    ) -> None:
        """``digest``: only readers who get one mail a month are candidates."""
        self._session = session
        self._made = 0
        self._digest = digest
        self._local = timing.local_time is not None or timing.quiet is not None
        since, until = timing.quiet or (None, None)
        self._issue = int(issue)
        self._values = {
            "issue": issue,
            "newsletter": newsletter,
            "always": always,
            "batches": planned.batches,
            "firsts": planned.firsts,
            "first": planned.firsts[0],
            "last": planned.last,
            "now": timing.now,
            "digest": digest,
            "local_time": timing.local_time,
            "quiet_since": since,
            "quiet_until": until,
        }
        # A plan for any range would take every range for a small one, and editions that were made a moment ago
        # are no reason to go through them all for each reader.
        session.execute(text(_SETTINGS))
        self._made = self._run(_MADE).scalar_one()

    def deliver(self) -> bool:
        """Rows for all whose language is chosen and whose edition is there; True when that is everybody.

        Otherwise make the choices and editions that are missing, and deliver again.
        """
        if self._run(_CHOSEN).scalar_one():  # not so for the first batches of an issue
            self._made += self._run(_DELIVER, local=self._local).rowcount
        if self._digest:
            return not self._run(_MISSING).scalar_one()
        wanted: int = self._run(_COUNT).scalar_one()
        return self._made >= wanted

    def unchosen(self) -> list[list[str]]:
        """Preference lists for which the issue has no language choice yet; in order, so that two who write the
        same choices down wait for each other in one direction only."""
        return sorted(list(languages) for languages in self._run(_UNCHOSEN).scalars())

    def add_editions(self) -> None:
        self._run(_EDITIONS)

    def finish(self) -> None:
        """Once everybody has a row: the batches are ready."""
        self._run(_READY)

    def _run(self, query: str, local: bool = False) -> CursorResult[Any]:
        due = DUE_LOCAL if local else _DUE_NOW
        undelivered = _UNDELIVERED.format(issue=self._issue) if self._made else "true"
        candidates = _CANDIDATES.format(due=due, undelivered=undelivered)
        zoned = "true" if local else "false"
        whole = query.format(issue=self._issue, candidates=candidates, undelivered=undelivered, zoned=zoned)
        return self._session.connection().execute(text(whole), self._values)


def settle(session: Session, issue: int, now: datetime) -> bool:
    """True when every batch is expanded and every edition rendered: from then on mail goes out.

    Editions are made by ``Expansion`` alone, for readers who get them.
    """
    query = """
        UPDATE issue i SET composed_at = :now
        WHERE id = :issue AND composed_at IS NULL
          AND NOT EXISTS (SELECT FROM batch WHERE issue_id = i.id AND state = 'planned')
          AND NOT EXISTS (SELECT FROM edition WHERE issue_id = i.id AND revision <> i.revision)
    """
    return session.connection().execute(text(query), {"issue": issue, "now": now}).rowcount > 0


_PREVIEW = """
SELECT c.language, (s.sections | :always) & c.sections AS mask,
    CASE
        WHEN s.state = 'unsubscribed' THEN 'unsubscribed'
        WHEN s.state = 'pending' THEN 'unconfirmed'
        WHEN x.address_hash IS NOT NULL THEN 'suppressed'
        WHEN s.paused_until > now() THEN 'paused'
        WHEN s.frequency = 'monthly' AND NOT :digest THEN 'monthly'
        WHEN c.language IS NULL THEN 'no_language'
        WHEN (s.sections | :always) & c.sections = 0 THEN 'nothing_in_sections'
    END AS reason,
    count(*) AS readers
FROM subscription s
JOIN subscriber r ON r.id = s.subscriber_id
JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
LEFT JOIN suppression x ON x.address_hash = r.address_hash
WHERE s.newsletter_id = :newsletter AND (s.frequency = 'monthly' OR NOT :digest)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def preview(
    session: Session, issue: int, newsletter: int, always: int, *, digest: bool
) -> list[tuple[str | None, int, str | None, int]]:
    """Who would get what now: (language, mask, reason why not, readers), before anything is frozen."""
    values = {"issue": issue, "newsletter": newsletter, "always": always, "digest": digest}
    rows = session.execute(text(_PREVIEW), values)
    return [(row.language, row.mask or 0, row.reason, row.readers) for row in rows]


def forget_language_choices(session: Session, issue: int) -> None:
    """The choices depend on the issue's translations: they are made anew when the audience is frozen."""
    session.execute(text("DELETE FROM language_choice WHERE issue_id = :issue"), {"issue": issue})
