"""Subscribers, subscriptions, consents and suppressions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.states import SubscriptionState
from mailer.domain.subscribers import NewReader
from mailer.domain.ties import Tie
from mailer.models import (
    Consent,
    Delivery,
    Edition,
    Feedback,
    Issue,
    Newsletter,
    Subscriber,
    Subscription,
    Suppression,
)


def by_hash(session: Session, address_hash: bytes) -> Subscriber | None:
    return session.scalar(select(Subscriber).where(Subscriber.address_hash == address_hash))


def by_id(session: Session, subscriber: int) -> Subscriber | None:
    return session.get(Subscriber, subscriber)


def subscription(session: Session, newsletter: int, subscriber: int) -> Subscription | None:
    return session.get(Subscription, (newsletter, subscriber))


@dataclass(frozen=True, slots=True)
class Tied:
    """What a link of a mail leads to."""

    newsletter: Newsletter
    reader: Subscriber
    subscription: Subscription


def tied(session: Session, tie: Tie) -> Tied | None:
    """None when there is no such reader, or newsletter, or tie between them any more."""
    newsletter = tie.newsletter
    if tie.issue:
        newsletter = session.scalar(select(Issue.newsletter_id).where(Issue.id == tie.issue)) or 0
    found = subscription(session, newsletter, tie.subscriber)
    reader = by_id(session, tie.subscriber)
    if found is None or reader is None:
        return None
    return Tied(session.get_one(Newsletter, newsletter), reader, found)


def subscriptions(session: Session, subscriber: int) -> dict[int, Subscription]:
    """By newsletter."""
    query = select(Subscription).where(Subscription.subscriber_id == subscriber)
    return {row.newsletter_id: row for row in session.scalars(query)}


def sections_got(session: Session, issue: int, subscriber: int) -> int:
    """Mask of the sections in a reader's edition of an issue; 0 for none."""
    query = (
        select(Edition.sections)
        .join(Delivery, Delivery.edition_id == Edition.id)
        .where(Delivery.issue_id == issue, Delivery.subscriber_id == subscriber)
    )
    return session.scalar(query) or 0


def end(
    session: Session, newsletter: int, issue: int | None, subscriber: int, how: str, now: datetime
) -> bool:
    """End a subscription with the evidence of it: the feedback and the consent that is withdrawn.

    True when this changed something.
    """
    if not set_state(session, newsletter, subscriber, SubscriptionState.unsubscribed, now):
        return False
    session.add(
        Feedback(
            kind="unsubscribe",
            at=now,
            newsletter_id=newsletter,
            issue_id=issue,
            subscriber_id=subscriber,
            detail={"how": how},
        )
    )
    session.add(
        Consent(
            subscriber_id=subscriber,
            newsletter_id=newsletter,
            kind="subscribe",
            given=False,
            source=how,
            at=now,
        )
    )
    return True


def remember(subscription: Subscription, former: dict[str, Any] | None, now: datetime) -> None:
    """Keep what a change replaced; None forgets it."""
    subscription.former, subscription.former_at = former, now if former else None


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


def lift_suppression(session: Session, address_hash: bytes) -> None:
    session.execute(delete(Suppression).where(Suppression.address_hash == address_hash))


def add_consent(session: Session, consent: Consent) -> None:
    session.add(consent)


def consents(session: Session, subscriber: int) -> list[Consent]:
    return list(
        session.scalars(select(Consent).where(Consent.subscriber_id == subscriber).order_by(Consent.id))
    )


_STAGE = """
CREATE TEMPORARY TABLE staged (
    address text, address_key text, name text, languages text[], sections bigint,
    time_zone text, source text, at timestamptz
) ON COMMIT DROP
"""

_COPY = "COPY staged FROM STDIN"

# HMAC-SHA256 cut to 16 bytes, as Tokens.address_hash has it. Looking up one by one keeps the plan the same
# however large the tables are, and however old what the planner knows of them.
_INCOMING = """
CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
SELECT s.*, r.id AS subscriber_id
FROM (
    SELECT *,
        substr(sha256(:outer || sha256(:inner || convert_to(address_key, 'UTF8'))), 1, 16) AS address_hash
    FROM staged OFFSET 0
) s
LEFT JOIN LATERAL (SELECT id FROM subscriber WHERE address_hash = s.address_hash LIMIT 1) r ON true
WHERE NOT EXISTS (SELECT FROM suppression x WHERE x.address_hash = s.address_hash OFFSET 0)
"""

_SUBSCRIBERS = """
WITH made AS (
    INSERT INTO subscriber (address, address_hash, name, languages, time_zone)
    SELECT address, address_hash, name, languages, time_zone FROM incoming WHERE subscriber_id IS NULL
    ON CONFLICT (address_hash) DO NOTHING
    RETURNING id, address_hash
)
UPDATE incoming i SET subscriber_id = m.id FROM made m WHERE i.address_hash = m.address_hash
"""

# Whom someone else added between the two statements above.
_OVERTAKEN = """
UPDATE incoming i SET subscriber_id = (SELECT id FROM subscriber r WHERE r.address_hash = i.address_hash)
WHERE subscriber_id IS NULL
"""

_SUBSCRIPTIONS = """
WITH added AS (
    INSERT INTO subscription (newsletter_id, subscriber_id, state, sections)
    SELECT :newsletter, subscriber_id, 'active', sections FROM incoming
    ON CONFLICT (newsletter_id, subscriber_id) DO NOTHING
    RETURNING subscriber_id
)
INSERT INTO consent (subscriber_id, newsletter_id, kind, given, source, language, at)
SELECT subscriber_id, :newsletter, 'subscribe', true, source, coalesce(languages[1], ''), at
FROM added JOIN incoming USING (subscriber_id)
"""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of the rows of one transaction; together they are all of them."""

    added: int
    known: int
    suppressed: int


def _escaped(value: str) -> str:
    """Text in the form that COPY reads; it has no line breaks or tabs."""
    return value.replace("\\", "\\\\") if "\\" in value else value


def take_in(
    session: Session, newsletter: int, readers: Sequence[NewReader], pads: tuple[bytes, bytes]
) -> TakenIn:
    """Turn readers, each address once, into subscribers, subscriptions and consents.

    Who is known already keeps what they chose, whatever a file says; who is suppressed leaves no trace.
    ``pads`` are those of the keyed hash of addresses.
    """
    session.execute(text(_STAGE))
    lists: dict[tuple[str, ...], str] = {}
    with session.connection().connection.cursor().copy(_COPY) as copy:
        lines = []
        for reader in readers:
            _, address, key, name, languages, sections, zone, source, at = reader
            array = lists.get(languages) or lists.setdefault(languages, "{" + ",".join(languages) + "}")
            lines.append(
                f"{_escaped(address)}\t{_escaped(key)}\t{_escaped(name)}\t{array}\t{sections}"
                f"\t{zone}\t{_escaped(source)}\t{at.isoformat()}\n"
            )
        copy.write("".join(lines))
    connection = session.connection()
    connection.execute(text(_INCOMING), {"inner": pads[0], "outer": pads[1]})
    wanted = connection.scalar(text("SELECT count(*) FROM incoming")) or 0
    connection.execute(text(_SUBSCRIBERS))
    connection.execute(text(_OVERTAKEN))
    added = connection.execute(text(_SUBSCRIPTIONS), {"newsletter": newsletter}).rowcount
    return TakenIn(added=added, known=wanted - added, suppressed=len(readers) - wanted)


def analyze(session: Session) -> None:
    """Tell the planner about many new readers at once; its own look at the tables can be a minute away."""
    session.execute(text("ANALYZE subscriber, subscription, consent"))
