"""Subscribers, subscriptions, consents and suppressions."""

from datetime import datetime

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.states import SubscriptionState
from mailer.models import Consent, Subscriber, Subscription, Suppression


def by_hash(session: Session, address_hash: bytes) -> Subscriber | None:
    return session.scalar(select(Subscriber).where(Subscriber.address_hash == address_hash))


def by_id(session: Session, subscriber: int) -> Subscriber | None:
    return session.get(Subscriber, subscriber)


def subscription(session: Session, newsletter: int, subscriber: int) -> Subscription | None:
    return session.get(Subscription, (newsletter, subscriber))


def set_state(
    session: Session, newsletter: int, subscriber: int, state: SubscriptionState, now: datetime
) -> bool:
    """True when this changed something."""
    query = (
        update(Subscription)
        .where(
            Subscription.newsletter_id == newsletter,
            Subscription.subscriber_id == subscriber,
            Subscription.state != state,
        )
        .values(state=state, changed_at=now)
    )
    return session.connection().execute(query).rowcount > 0


def suppression(session: Session, address_hash: bytes) -> Suppression | None:
    return session.get(Suppression, address_hash)


def suppress(session: Session, address_hash: bytes, reason: str, detail: str) -> bool:
    """True when the address was not suppressed before; the first reason stays."""
    query = insert(Suppression).values(address_hash=address_hash, reason=reason, detail=detail)
    return session.connection().execute(query.on_conflict_do_nothing()).rowcount > 0


def add_consent(session: Session, consent: Consent) -> None:
    session.add(consent)


def consents(session: Session, subscriber: int) -> list[Consent]:
    return list(
        session.scalars(select(Consent).where(Consent.subscriber_id == subscriber).order_by(Consent.id))
    )


_STAGE = """
CREATE TEMPORARY TABLE staged (
    line bigint, address text, address_key text, name text, languages text[], sections bigint,
    time_zone text, source text, at timestamptz
) ON COMMIT DROP
"""

_HASHED = "substr(sha256(:outer || sha256(:inner || convert_to(address_key, 'UTF8'))), 1, 16)"

_NEW_SUBSCRIBERS = f"""
INSERT INTO subscriber (address, address_hash, name, languages, time_zone)
SELECT DISTINCT ON (h) address, h, name, languages, time_zone
FROM (SELECT *, {_HASHED} AS h FROM staged) s
ORDER BY h, line
ON CONFLICT (address_hash) DO NOTHING
"""

_NEW_SUBSCRIPTIONS = f"""
WITH added AS (
    INSERT INTO subscription (newsletter_id, subscriber_id, state, sections)
    SELECT DISTINCT ON (r.id) :newsletter, r.id, 'active', s.sections
    FROM (SELECT *, {_HASHED} AS h FROM staged) s
    JOIN subscriber r ON r.address_hash = s.h
    WHERE NOT EXISTS (SELECT FROM suppression x WHERE x.address_hash = s.h)
    ORDER BY r.id, s.line
    ON CONFLICT (newsletter_id, subscriber_id) DO NOTHING
    RETURNING subscriber_id
)
INSERT INTO consent (subscriber_id, newsletter_id, kind, given, source, language, at)
SELECT DISTINCT ON (r.id) r.id, :newsletter, 'subscribe', true, s.source, coalesce(s.languages[1], ''), s.at
FROM (SELECT *, {_HASHED} AS h FROM staged) s
JOIN subscriber r ON r.address_hash = s.h
JOIN added a ON a.subscriber_id = r.id
ORDER BY r.id, s.line
"""

_SUPPRESSED = f"""
SELECT s.line FROM (SELECT line, {_HASHED} AS h FROM staged) s
JOIN suppression x ON x.address_hash = s.h ORDER BY s.line
"""

StagedRow = tuple[int, str, str, str, list[str], int, str, str, datetime]
"""line, address, address key, name, languages, sections, time zone, consent source, consent date"""


def stage(session: Session, rows: list[StagedRow]) -> None:
    """Put rows of an import into a table of this transaction, by COPY."""
    session.execute(text(_STAGE))
    raw = session.connection().connection.cursor()
    with raw.copy("COPY staged FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def take_in_staged(
    session: Session, newsletter: int, pads: tuple[bytes, bytes]
) -> tuple[int, int, list[int]]:
    """Turn what is staged into subscribers, subscriptions and consents.

    Who is known already keeps what they chose, whatever a file says. Returns how many subscribers and how many
    subscriptions are new, and the lines whose address is suppressed.
    """
    keys = {"inner": pads[0], "outer": pads[1]}
    suppressed = list(session.scalars(text(_SUPPRESSED), keys))
    if suppressed:
        session.execute(text("DELETE FROM staged WHERE line = ANY(:lines)"), {"lines": suppressed})
    connection = session.connection()
    people = connection.execute(text(_NEW_SUBSCRIBERS), keys).rowcount
    ties = connection.execute(text(_NEW_SUBSCRIPTIONS), {**keys, "newsletter": newsletter}).rowcount
    return people, ties, suppressed
