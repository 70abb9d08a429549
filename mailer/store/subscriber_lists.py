"""Lists of a newsletter's subscribers, of any length."""

import re
import sys
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.consents import ConsentChannel
from mailer.domain.states import Frequency, ListedState


@dataclass(frozen=True, slots=True)
class SubscriberFilter:
    """Which subscribers of a newsletter to list. All conditions must hold; None is none."""

    state: ListedState | None = None
    language: str | None = None
    """A tag; ``pt`` includes ``pt-BR``."""
    sections: int | None = None
    """A mask of sections, all of which they follow."""
    time_zone: str | None = None
    frequency: Frequency | None = None
    text: str | None = None
    """The beginning of the address, its domain or words of the name; in any case."""
    after: int = 0
    """Only subscribers with a higher id."""


@dataclass(frozen=True, slots=True)
class ListedSubscriber:
    """A subscriber of one newsletter in a list, with the latest consent."""

    id: int
    address: str
    name: str
    languages: tuple[str, ...]
    sections: int
    time_zone: str
    state: ListedState
    consent_channel: ConsentChannel | None
    consent_detail: str
    consented_at: datetime | None


# ``after`` is given for both sides of the join: PostgreSQL would read one of them from its beginning for every page.
# An imported subscription keeps its consent in its own row; a later one is in the other table.
_LIST = """
SELECT * FROM (
    SELECT r.address, r.name, r.languages, s.sections, r.time_zone,
        CASE WHEN x.address_hash IS NOT NULL THEN 'suppressed'
             WHEN s.state <> 'active' THEN s.state::text
             WHEN s.paused_until > :now THEN 'paused' ELSE 'active' END AS state,
        coalesce(c.channel::text, CASE WHEN s.consent_at IS NOT NULL THEN 'csv_import' END) AS channel,
        coalesce(c.note, s.consent_source, '') AS note, coalesce(c.at, s.consent_at) AS consented_at,
        r.id, s.frequency
    FROM subscription s JOIN subscriber r ON r.id = s.subscriber_id
    LEFT JOIN suppression x ON x.address_hash = r.address_hash
    LEFT JOIN LATERAL (
        SELECT c.channel, c.note, c.at FROM consent c
        WHERE c.subscriber_id = r.id AND c.newsletter_id = s.newsletter_id AND c.kind = 'subscribe' AND c.given
          AND (s.consent_at IS NULL OR c.at > s.consent_at)
        ORDER BY c.at DESC LIMIT 1
    ) c ON true
    WHERE s.newsletter_id = :newsletter AND s.subscriber_id > :after AND r.id > :after AND {matching}
) listed
WHERE (cast(:state AS text) IS NULL OR state = :state)
  AND (cast(:language AS text) IS NULL OR EXISTS (
      SELECT FROM unnest(languages) tag WHERE starts_with(lower(tag) || '-', lower(:language) || '-')))
  AND (cast(:sections AS bigint) IS NULL OR sections & :sections = :sections)
  AND (cast(:time_zone AS text) IS NULL OR time_zone = :time_zone)
  AND (cast(:frequency AS text) IS NULL OR frequency::text = :frequency)
ORDER BY id LIMIT :limit
"""

_ADDRESS = "lower({r}address) ~>=~ :low AND lower({r}address) ~<~ :high"
_DOMAIN = "lower(split_part({r}address, '@', 2)) ~>=~ :low AND lower(split_part({r}address, '@', 2)) ~<~ :high"
_NAME = "name <> '' AND to_tsvector('simple', name) @@ to_tsquery('simple', :words)"
# The same without an index: ten times as quick for a row that is at hand.
_NAME_AT_HAND = "r.name <> '' AND r.name ~* ALL(CAST(:beginnings AS text[]))"
# MATERIALIZED: each part is planned as if all it finds were needed, which makes the planner use the index.
_FIND = f"""
WITH by_address AS MATERIALIZED (SELECT id FROM subscriber WHERE {_ADDRESS.format(r="")}),
    by_domain AS MATERIALIZED (SELECT id FROM subscriber WHERE {_DOMAIN.format(r="")}),
    by_name AS MATERIALIZED (SELECT id FROM subscriber WHERE {_NAME}),
    found AS MATERIALIZED (
        SELECT id FROM (
            SELECT id FROM by_address UNION ALL SELECT id FROM by_domain UNION ALL SELECT id FROM by_name
        ) parts LIMIT :most + 1
    ),
    counted AS MATERIALIZED (SELECT count(*) > :most AS too_many FROM found)
SELECT DISTINCT id, too_many FROM found, counted WHERE too_many OR id > :after ORDER BY id LIMIT :limit
"""
_MAX_FOUND = 15_000
_IDS_AT_ONCE = 1_000
_MIN_INDEXED_CHARS = 3


def _matching(session: Session, searched: str | None, after: int) -> tuple[str, dict[str, object], int | None]:
    """Return an SQL condition for a search, with its parameters, for the subscribers up to an id; None for all.

    Few subscribers are found by the indexes first. If there are many, the list meets them soon enough by itself.
    """
    if not searched:
        return "true", {}, None
    folded = searched.lower().removeprefix("@")
    words = re.findall(r"[^\W_]+", folded)
    values: dict[str, object] = {"low": folded, "high": folded + chr(sys.maxunicode)}
    if len(folded) >= _MIN_INDEXED_CHARS:
        limits = {"after": after, "most": _MAX_FOUND, "limit": _IDS_AT_ONCE}
        query = " & ".join(f"'{word}':*" for word in words)
        found = session.execute(text(_FIND), values | limits | {"words": query}).all()
        if not found or not found[0].too_many:
            ids = [row.id for row in found]
            up_to = ids[-1] if len(ids) == _IDS_AT_ONCE else None
            return "s.subscriber_id = ANY(CAST(:found AS bigint[]))", {"found": ids}, up_to
    conditions = [_ADDRESS.format(r="r."), _DOMAIN.format(r="r."), *([_NAME_AT_HAND] if words else [])]
    return f"({' OR '.join(conditions)})", values | {"beginnings": [rf"\m{word}" for word in words]}, None


def page(
    session: Session, newsletter: int, only: SubscriberFilter, now: datetime, limit: int
) -> list[ListedSubscriber]:
    """Return the first subscribers in the order in which they came, ``limit`` at most."""
    values = {field.name: getattr(only, field.name) for field in fields(only) if field.name != "text"}
    values |= {"newsletter": newsletter, "now": now}
    rows: list[Any] = []
    after: int | None = only.after
    while after is not None and len(rows) < limit:
        condition, matched, up_to = _matching(session, only.text, after)
        query = text(_LIST.format(matching=condition))
        rows += session.execute(query, values | matched | {"after": after, "limit": limit - len(rows)})
        after = up_to
    return [
        ListedSubscriber(
            id,
            address,
            name,
            tuple(languages),
            sections,
            zone,
            ListedState(state),
            ConsentChannel(channel) if channel else None,
            note,
            at,
        )
        for address, name, languages, sections, zone, state, channel, note, at, id, _ in rows
    ]
