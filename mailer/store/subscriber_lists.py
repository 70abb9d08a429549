"""Lists of a newsletter's subscribers, of any length."""

from dataclasses import dataclass, fields
from datetime import datetime

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
    """Part of the address or name, in any case."""
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
    WHERE s.newsletter_id = :newsletter AND s.subscriber_id > :after
) listed
WHERE (cast(:state AS text) IS NULL OR state = :state)
  AND (cast(:language AS text) IS NULL OR EXISTS (
      SELECT FROM unnest(languages) tag WHERE starts_with(lower(tag) || '-', lower(:language) || '-')))
  AND (cast(:sections AS bigint) IS NULL OR sections & :sections = :sections)
  AND (cast(:time_zone AS text) IS NULL OR time_zone = :time_zone)
  AND (cast(:frequency AS text) IS NULL OR frequency::text = :frequency)
  AND (cast(:text AS text) IS NULL OR position(lower(:text) IN lower(address || ' ' || name)) > 0)
ORDER BY id LIMIT :limit
"""


def page(
    session: Session, newsletter: int, only: SubscriberFilter, now: datetime, limit: int
) -> list[ListedSubscriber]:
    """Return the first subscribers in the order in which they came, ``limit`` at most."""
    values = {field.name: getattr(only, field.name) for field in fields(only)}
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
        for address, name, languages, sections, zone, state, channel, note, at, id, _ in session.execute(
            text(_LIST), values | {"newsletter": newsletter, "now": now, "limit": limit}
        )
    ]
