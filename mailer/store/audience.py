"""Freezing an audience: ranges of subscribers become batches, batches become delivery rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

from sqlalchemy import text
from sqlalchemy.orm import Session

_PARTITION = """
CREATE TABLE IF NOT EXISTS delivery_{issue} (LIKE delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
WITH (fillfactor = 80)
"""

_BATCHES = """
INSERT INTO batch (issue_id, first, last, state, candidates, epoch, worker, retry, sent, failed, skipped, uncertain)
SELECT :issue, min(subscriber_id), max(subscriber_id), 'planned', count(*), 0, '', false, 0, 0, 0, 0
FROM (
    SELECT subscriber_id, (row_number() OVER (ORDER BY subscriber_id) - 1) / :size AS n
    FROM subscription WHERE newsletter_id = :newsletter AND (frequency = 'monthly' OR NOT :digest)
) numbered
GROUP BY n ORDER BY n
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


def claim_planned(session: Session, issue: int, limit: int) -> list[int]:
    """Some batches without delivery rows, held until this transaction ends."""
    query = """
        SELECT id FROM batch WHERE issue_id = :issue AND state = 'planned'
        ORDER BY first LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    return list(session.scalars(text(query), {"issue": issue, "limit": limit}))


def unknown_language_lists(session: Session, issue: int, batches: Sequence[int]) -> list[list[str]]:
    """Preference lists among these batches for which the issue has no language choice yet."""
    query = """
        SELECT DISTINCT r.languages
        FROM batch b
        JOIN issue i ON i.id = b.issue_id
        JOIN subscription s ON s.newsletter_id = i.newsletter_id AND s.subscriber_id BETWEEN b.first AND b.last
        JOIN subscriber r ON r.id = s.subscriber_id
        LEFT JOIN language_choice c ON c.issue_id = b.issue_id AND c.languages = r.languages
        WHERE b.id = ANY(:batches) AND c.issue_id IS NULL
    """
    return [list(row) for row in session.scalars(text(query), {"batches": list(batches)})]


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
_DUE_LOCAL = """
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

_EXPAND = """
WITH zones AS MATERIALIZED (SELECT name FROM pg_timezone_names WHERE {zoned}),
audience AS MATERIALIZED (
    SELECT
        b.id AS batch_id,
        s.subscriber_id,
        c.language,
        (s.sections | :always) & c.sections AS mask,
        CASE
            WHEN s.state = 'unsubscribed' THEN 'unsubscribed'
            WHEN s.state = 'pending' THEN 'unconfirmed'
            WHEN x.address_hash IS NOT NULL THEN 'suppressed'
            WHEN s.paused_until > :now THEN 'paused'
            WHEN s.frequency = 'monthly' AND NOT :digest THEN 'monthly'
            WHEN c.language IS NULL THEN 'no_language'
            WHEN (s.sections | :always) & c.sections = 0 THEN 'nothing_in_sections'
        END::skip_reason AS reason,
        c.issue_id IS NULL AS unchosen,
        due.due_at
    FROM batch b
    JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id BETWEEN b.first AND b.last
    JOIN subscriber r ON r.id = s.subscriber_id
    LEFT JOIN language_choice c ON c.issue_id = :issue AND c.languages = r.languages
    LEFT JOIN suppression x ON x.address_hash = r.address_hash
    CROSS JOIN LATERAL ({due}) due
    WHERE b.id = ANY(:batches) AND (s.frequency = 'monthly' OR NOT :digest)
), editions AS (
    INSERT INTO edition (issue_id, language, sections, revision, subject, stories, fallbacks, html, message, slots)
    SELECT DISTINCT CAST(:issue AS int), language, mask, 0, '', 0, 0, '', ''::bytea, '[]'::jsonb
    FROM audience WHERE reason IS NULL ORDER BY language, mask
    -- The empty update makes RETURNING give the row when another worker has made it.
    ON CONFLICT (issue_id, language, sections) DO UPDATE SET issue_id = edition.issue_id
    RETURNING id, language, sections
), rows AS (
    INSERT INTO delivery (issue_id, subscriber_id, due_at, finished_at, edition_id, state, reason)
    SELECT
        :issue, a.subscriber_id, a.due_at, CASE WHEN a.reason IS NOT NULL THEN CAST(:now AS timestamptz) END, e.id,
        (CASE WHEN a.reason IS NULL THEN 'pending' ELSE 'skipped' END)::delivery_state, a.reason
    FROM audience a
    LEFT JOIN editions e ON a.reason IS NULL AND e.language = a.language AND e.sections = a.mask
    ON CONFLICT DO NOTHING
), counts AS (
    SELECT batch_id, count(*) AS candidates, count(*) FILTER (WHERE reason IS NOT NULL) AS skipped,
        bool_or(unchosen) AS unchosen, min(due_at) FILTER (WHERE reason IS NULL) AS due_at
    FROM audience GROUP BY batch_id
)
UPDATE batch b
SET candidates = coalesce(c.candidates, 0),
    skipped = coalesce(c.skipped, 0),
    due_at = coalesce(c.due_at, :now),
    state = (CASE WHEN coalesce(c.candidates - c.skipped, 0) = 0 THEN 'done' ELSE 'ready' END)::batch_state
FROM (SELECT unnest(CAST(:batches AS bigint[])) AS id) picked LEFT JOIN counts c ON c.batch_id = picked.id
WHERE b.id = picked.id
RETURNING b.candidates, coalesce(c.unchosen, false) AS unchosen
"""


class Overtaken(RuntimeError):
    """A reader changed their languages after the choices were made: make them again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When deliveries are due. Without local time and quiet hours: at once."""

    now: datetime
    local_time: datetime | None = None
    """On each reader's own clock; no time zone."""
    quiet: tuple[time, time] | None = None
    """Since and until, on each reader's own clock."""


def expand(
    session: Session,
    issue: int,
    newsletter: int,
    always: int,
    batches: Sequence[int],
    timing: Timing,
    *,
    digest: bool,
) -> int:
    """Give every candidate of these batches a delivery row: with an edition, or with the reason why not.

    Returns how many rows. The batches' state changes in the same statement, so it happens once.
    ``digest``: only readers who get one mail a month are candidates. Raises Overtaken, and then the
    transaction must not be committed.
    """
    local = timing.local_time is not None or timing.quiet is not None
    since, until = timing.quiet or (None, None)
    values = {
        "issue": issue,
        "newsletter": newsletter,
        "always": always,
        "batches": list(batches),
        "now": timing.now,
        "digest": digest,
    }
    if local:
        values |= {"local_time": timing.local_time, "quiet_since": since, "quiet_until": until}
    query = _EXPAND.format(due=_DUE_LOCAL if local else _DUE_NOW, zoned="true" if local else "false")
    rows = session.execute(text(query), values).all()
    if any(row.unchosen for row in rows):
        raise Overtaken(Overtaken.__doc__)
    return sum(row.candidates for row in rows)


def settle(session: Session, issue: int, now: datetime) -> bool:
    """True when every batch is expanded and every edition rendered: from then on mail goes out.

    Editions are made by ``expand`` alone, so they are exactly those that some reader gets.
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
