"""Subscribers, subscriptions, consents and suppressions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from psycopg import OperationalError
from psycopg.errors import DeadlockDetected, UniqueViolation
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
from mailer.store.database import DatabaseDown


def by_hash(session: Session, address_hash: bytes) -> Subscriber | None:
    return session.scalar(select(Subscriber).where(Subscriber.address_hash == address_hash))


def by_id(session: Session, subscriber: int) -> Subscriber | None:
    return session.get(Subscriber, subscriber)


def subscription(session: Session, newsletter: int, subscriber: int) -> Subscription | None:
    return session.get(Subscription, (newsletter, subscriber))


def add(session: Session, address: str, address_hash: bytes, languages: Sequence[str]) -> Subscriber:
    """Somebody new, or whoever came in by this address at this very moment."""
    values = {"address": address, "address_hash": address_hash, "languages": list(languages)}
    session.execute(insert(Subscriber).values(values).on_conflict_do_nothing())
    return session.scalars(select(Subscriber).where(Subscriber.address_hash == address_hash)).one()


def hold(session: Session, subscriber: int) -> None:
    """Keep a reader from being erased until the transaction ends. Whatever makes a subscription has to: no
    foreign key does it, since that takes longer than all else that a subscription needs. Raises NoResultFound.
    """
    query = select(Subscriber.id).where(Subscriber.id == subscriber)
    session.execute(query.with_for_update(read=True, key_share=True)).one()


def tie(session: Session, newsletter: int, subscriber: int, sections: int) -> Subscription:
    """A new active subscription, or the one that came to be at this very moment."""
    hold(session, subscriber)
    values = {"newsletter_id": newsletter, "subscriber_id": subscriber, "sections": sections}
    query = insert(Subscription).values(values | {"state": SubscriptionState.active})
    session.execute(query.on_conflict_do_nothing())
    return session.get_one(Subscription, (newsletter, subscriber))


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
    done = session.scalar(query.on_conflict_do_nothing().returning(Suppression.address_hash))
    return done is not None  # of an INSERT, SQLAlchemy keeps no row count


def lift_suppression(session: Session, address_hash: bytes) -> bool:
    """True when there was one."""
    query = delete(Suppression).where(Suppression.address_hash == address_hash)
    return session.connection().execute(query).rowcount > 0


def add_consent(session: Session, consent: Consent) -> None:
    session.add(consent)


CONSENTS = """
SELECT newsletter_id, kind, given, source, wording, language, asked_at, at, id
FROM consent WHERE subscriber_id = :subscriber
UNION ALL
SELECT newsletter_id, 'subscribe', true, consent_source, '', consent_language, NULL, consent_at, 0
FROM subscription WHERE subscriber_id = :subscriber AND consent_at IS NOT NULL
"""
"""All that one reader agreed to or withdrew: with a subscription that came in from a file, its own evidence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """That somebody agreed to something, or withdrew it: see models.Consent."""

    newsletter_id: int
    kind: str
    given: bool
    source: str
    wording: str
    language: str
    asked_at: datetime | None
    at: datetime


def consents(session: Session, subscriber: int) -> list[Evidence]:
    """In the order in which they were given and withdrawn."""
    query = f"SELECT * FROM ({CONSENTS}) c ORDER BY at, id"
    return [Evidence(*row[:-1]) for row in session.execute(text(query), {"subscriber": subscriber})]


# Of a row of hashes those that are suppressed or known. Looking up one by one (LIMIT) keeps the plan the same
# however large the tables are, and however old what the planner knows of them.
_FOUND = """
SELECT place.n, x.suppressed, r.id, t.tied
FROM generate_series(0, :count - 1) place (n)
CROSS JOIN LATERAL (SELECT substr(:hashes, 16 * place.n + 1, 16) AS address_hash) h
LEFT JOIN LATERAL (
    SELECT true AS suppressed FROM suppression WHERE address_hash = h.address_hash LIMIT 1
) x ON true
LEFT JOIN LATERAL (SELECT id FROM subscriber WHERE address_hash = h.address_hash LIMIT 1) r ON true
LEFT JOIN LATERAL (
    SELECT true AS tied FROM subscription WHERE newsletter_id = :newsletter AND subscriber_id = r.id LIMIT 1
) t ON true
WHERE x.suppressed OR r.id IS NOT NULL
"""

_HELD = "SELECT id FROM subscriber WHERE id = ANY(%(ids)s) ORDER BY id FOR KEY SHARE"

# As one row: thousands of small objects would make Python look for garbage.
_IDS = "SELECT array_agg(nextval('subscriber_id_seq')) FROM generate_series(1, :count)"


class Overtaken(RuntimeError):
    """Someone else added or removed one of the readers at this very moment: roll back and take them in again."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of the rows of one transaction; together they are all of them."""

    added: int
    known: int
    suppressed: int


def _escaped(value: str) -> str:
    """Text in the form that COPY reads; it has no line breaks or tabs."""
    return value.replace("\\", "\\\\") if "\\" in value else value


def _hashes(readers: Sequence[NewReader], pads: tuple[bytes, bytes]) -> list[bytes]:
    """HMAC-SHA256 cut to 16 bytes, as Tokens.address_hash has it; from the pads it takes half the time."""
    inner, outer = map(sha256, pads)
    found = []
    for reader in readers:
        within, around = inner.copy(), outer.copy()
        within.update(reader.key.encode())
        around.update(within.digest())
        found.append(around.digest()[:16])
    return found


def take_in(
    session: Session, newsletter: int, readers: Sequence[NewReader], pads: tuple[bytes, bytes]
) -> TakenIn:
    """Turn readers, each address once, into subscribers and subscriptions with the evidence of their consent.

    Who is known already keeps what they chose, whatever a file says; who is suppressed leaves no trace.
    ``pads`` are those of the keyed hash of addresses. Raises Overtaken and DatabaseDown.
    """
    hashes = _hashes(readers, pads)
    values = {"hashes": b"".join(hashes), "count": len(hashes), "newsletter": newsletter}
    found = {row.n: row for row in session.execute(text(_FOUND), values)}
    suppressed = sum(row.suppressed is True for row in found.values())
    known = sum(row.tied is True and row.suppressed is None for row in found.values())
    fresh = iter(session.scalar(text(_IDS), {"count": len(hashes) - len(found)}) or ())
    subscribers, subscriptions, ties = [], [], []
    # A file has many readers and few lists of languages and days.
    lists = {languages: "{" + ",".join(languages) + "}" for languages in {r.languages for r in readers}}
    days = {at: at.isoformat() for at in {r.at for r in readers}}
    for n, reader in enumerate(readers):
        _, address, _, name, languages, sections, zone, source, at = reader
        row = found.get(n)
        if row is None:
            id = next(fresh)
            subscribers.append(
                f"{id}\t{_escaped(address)}\t\\\\x{hashes[n].hex()}\t{_escaped(name)}"
                f"\t{lists[languages]}\t{zone}\n"
            )
        elif row.suppressed or row.tied:
            continue
        else:
            id = row.id
            ties.append(id)
        language = languages[0] if languages else ""
        subscriptions.append(
            f"{newsletter}\t{id}\tactive\t{sections}\t{_escaped(source)}\t{language}\t{days[at]}\n"
        )
    cursor = session.connection().connection.cursor()
    try:
        if ties and len(cursor.execute(_HELD, {"ids": ties}).fetchall()) < len(ties):
            raise Overtaken(Overtaken.__doc__)
        for table, lines in (
            ("subscriber (id, address, address_hash, name, languages, time_zone)", subscribers),
            (
                "subscription (newsletter_id, subscriber_id, state, sections, consent_source, consent_language,"
                " consent_at)",
                subscriptions,
            ),
        ):
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write("".join(lines))
    except (UniqueViolation, DeadlockDetected):
        raise Overtaken(Overtaken.__doc__) from None
    except OperationalError as error:
        raise DatabaseDown(f"The database took no more readers: {str(error).splitlines()[0]}") from error
    return TakenIn(added=len(subscriptions), known=known, suppressed=suppressed)


def analyze(session: Session) -> None:
    """Tell the planner about many new readers at once; its own look at the tables can be a minute away."""
    session.execute(text("ANALYZE subscriber, subscription"))
