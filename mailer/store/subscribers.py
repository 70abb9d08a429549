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

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.feedback import FeedbackKind
from mailer.domain.preferences import FIELDS, PreferenceField, Preferences
from mailer.domain.states import SubscriptionState
from mailer.domain.subscriber_csv import CsvSubscribers, RowChoices
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import (
    Consent,
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


def get_or_create(session: Session, address: str, address_hash: bytes, languages: Sequence[str]) -> Subscriber:
    """Somebody new, or whoever came in by this address at this very moment."""
    values = {"address": address, "address_hash": address_hash, "languages": list(languages)}
    session.execute(insert(Subscriber).values(values).on_conflict_do_nothing())
    return session.scalars(select(Subscriber).where(Subscriber.address_hash == address_hash)).one()


def lock(session: Session, subscriber: int) -> None:
    """Keep a reader from being erased until the transaction ends. Whatever makes a subscription has to: no
    foreign key does it, since that takes longer than all else that a subscription needs. Raises NoResultFound.
    """
    query = select(Subscriber.id).where(Subscriber.id == subscriber)
    session.execute(query.with_for_update(read=True, key_share=True)).one()


def subscribe(session: Session, newsletter: int, subscriber: int, sections: int) -> Subscription:
    """A new active subscription, or the one that came to be at this very moment."""
    lock(session, subscriber)
    values = {"newsletter_id": newsletter, "subscriber_id": subscriber, "sections": sections}
    query = insert(Subscription).values(values | {"state": SubscriptionState.active})
    session.execute(query.on_conflict_do_nothing())
    return session.get_one(Subscription, (newsletter, subscriber))


@dataclass(frozen=True, slots=True)
class SubscriptionContext:
    """What a link of a mail leads to."""

    newsletter: Newsletter
    subscriber: Subscriber
    subscription: Subscription


def resolve(session: Session, ref: SubscriptionRef) -> SubscriptionContext | None:
    """None when there is no such reader, or newsletter, or tie between them any more."""
    newsletter = ref.newsletter
    if ref.issue:
        newsletter = session.scalar(select(Issue.newsletter_id).where(Issue.id == ref.issue)) or 0
    found = subscription(session, newsletter, ref.subscriber)
    reader = by_id(session, ref.subscriber)
    if found is None or reader is None:
        return None
    return SubscriptionContext(session.get_one(Newsletter, newsletter), reader, found)


def subscriptions(session: Session, subscriber: int) -> dict[int, Subscription]:
    """By newsletter."""
    query = select(Subscription).where(Subscription.subscriber_id == subscriber)
    return {row.newsletter_id: row for row in session.scalars(query)}


def preferences(context: SubscriptionContext) -> Preferences:
    """Return what a subscriber has chosen of a newsletter."""
    values = {field.name: getattr(_row_of(context, field), field.name) for field in FIELDS}
    values |= {
        "languages": tuple(context.subscriber.languages),
        "frequency": context.subscription.frequency,
    }
    return Preferences(**values)


def lock_preferences(session: Session, context: SubscriptionContext) -> Preferences:
    """The same, held against other changes until the transaction ends."""
    session.refresh(context.subscription, with_for_update=True)
    session.refresh(context.subscriber)
    return preferences(context)


def set_preferences(context: SubscriptionContext, wanted: Preferences) -> None:
    for field in FIELDS:
        value = getattr(wanted, field.name)
        setattr(_row_of(context, field), field.name, list(value) if isinstance(value, tuple) else value)


def _row_of(context: SubscriptionContext, field: PreferenceField) -> Subscriber | Subscription:
    return context.subscription if field.per_newsletter else context.subscriber


def unsubscribe(
    session: Session,
    newsletter: int,
    issue: int | None,
    subscriber: int,
    channel: ConsentChannel,
    now: datetime,
) -> bool:
    """End a subscription with the evidence of it: the feedback and the consent that is withdrawn.

    True when this changed something.
    """
    if not set_state(session, newsletter, subscriber, SubscriptionState.unsubscribed, now):
        return False
    session.add(
        Feedback(
            kind=FeedbackKind.unsubscribe,
            at=now,
            newsletter_id=newsletter,
            issue_id=issue,
            subscriber_id=subscriber,
            detail={"channel": channel},
        )
    )
    session.add(
        Consent(
            subscriber_id=subscriber,
            newsletter_id=newsletter,
            kind=ConsentKind.subscribe,
            given=False,
            channel=channel,
            at=now,
        )
    )
    return True


def last_unsubscribe_channel(session: Session, newsletter: int, subscriber: int) -> ConsentChannel | None:
    """How a subscription was ended the last time; None when there is no evidence of it."""
    query = select(Consent.channel).where(
        Consent.subscriber_id == subscriber,
        Consent.newsletter_id == newsletter,
        Consent.kind == ConsentKind.subscribe,
        Consent.given.is_(False),
    )
    return session.scalar(query.order_by(Consent.at.desc(), Consent.id.desc()).limit(1))


def save_previous(subscription: Subscription, previous_preferences: dict[str, Any] | None, now: datetime) -> None:
    """Keep what a change replaced; None forgets it."""
    subscription.previous_preferences, subscription.previous_at = (
        previous_preferences,
        now if previous_preferences else None,
    )


def can_undo(subscription: Subscription, link_kind: LinkKind, now: datetime) -> bool:
    """Return whether a kind of link may undo the last change now."""
    previous, at = subscription.previous_preferences, subscription.previous_at
    return bool(
        previous
        and at
        and now - at <= UNDO_WINDOW
        and (link_kind is LinkKind.magic or previous["link_kind"] == LinkKind.mail)
    )


def set_state(session: Session, newsletter: int, subscriber: int, state: SubscriptionState, now: datetime) -> bool:
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


def suppress(
    session: Session,
    address_hash: bytes,
    reason: SuppressionReason,
    source: SuppressionSource,
    note: str = "",
) -> bool:
    """Suppress an address; return whether it was not before.

    The first reason stays, but what staff decide stands over what was not decided by staff.
    """
    values = {"reason": reason, "source": source, "note": note}
    query = insert(Suppression).values(address_hash=address_hash, **values).on_conflict_do_nothing()
    # Of an INSERT, SQLAlchemy keeps no row count.
    added = session.scalar(query.returning(Suppression.address_hash)) is not None
    if not added and source is SuppressionSource.staff:
        session.execute(
            update(Suppression)
            .where(Suppression.address_hash == address_hash, Suppression.source != source)
            .values(values)
        )
    return added


def lift_suppression(session: Session, address_hash: bytes) -> bool:
    """True when there was one."""
    query = delete(Suppression).where(Suppression.address_hash == address_hash)
    return session.connection().execute(query).rowcount > 0


def add_consent(session: Session, consent: Consent) -> None:
    session.add(consent)


CONSENTS = """
SELECT newsletter_id, kind, given, channel, note, wording, language, requested_at, at, id
FROM consent WHERE subscriber_id = :subscriber
UNION ALL
SELECT newsletter_id, 'subscribe', true, 'csv_import', consent_source, '', consent_language, NULL, consent_at, 0
FROM subscription WHERE subscriber_id = :subscriber AND consent_at IS NOT NULL
"""
"""All that one reader agreed to or withdrew: with a subscription that came in from a file, its own evidence."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """That somebody agreed to something, or withdrew it: see models.Consent."""

    newsletter_id: int
    kind: ConsentKind
    given: bool
    channel: ConsentChannel
    note: str
    wording: str
    language: str
    requested_at: datetime | None
    at: datetime


def consents(session: Session, subscriber: int) -> list[ConsentRecord]:
    """In the order in which they were given and withdrawn."""
    query = f"SELECT * FROM ({CONSENTS}) c ORDER BY at, id"
    return [
        ConsentRecord(newsletter, ConsentKind(kind), given, ConsentChannel(channel), *rest)
        for newsletter, kind, given, channel, *rest, _ in session.execute(text(query), {"subscriber": subscriber})
    ]


# Of a row of hashes those that are suppressed, and those that are known. The planner does not see how many they
# are, and goes by the index however large the tables are, and however old what it knows of them.
_IN_HASHES = """
= ANY (ARRAY(SELECT substr(%(hashes)s, 16 * n + 1, 16) FROM generate_series(0, %(count)s - 1) n))
"""
_SUPPRESSED = f"SELECT address_hash FROM suppression WHERE address_hash {_IN_HASHES}"
_KNOWN = f"""
SELECT r.address_hash, r.id, t.subscriber_id IS NOT NULL
FROM subscriber r LEFT JOIN subscription t ON t.newsletter_id = %(newsletter)s AND t.subscriber_id = r.id
WHERE r.address_hash {_IN_HASHES}
"""
_LOCK_SUBSCRIBERS = "SELECT id FROM subscriber WHERE id = ANY(%(ids)s) ORDER BY id FOR KEY SHARE"
# As one row: thousands of small objects would make Python look for garbage.
_ALLOCATE_IDS = "SELECT array_agg(nextval('subscriber_id_seq')) FROM generate_series(1, %(count)s)"


class ConcurrentChange(RuntimeError):
    """Readers came or went whom nobody expected to: roll back, and take them in again."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of the rows of one transaction; together they are all of them."""

    added: int
    known: int
    suppressed: int


def bulk_insert(
    session: Session,
    newsletter: int,
    new_subscribers: CsvSubscribers,
    hmac_pads: tuple[bytes, bytes],
    *,
    all_new: bool = False,
) -> BulkResult:
    """Turn readers, each address once, into subscribers and subscriptions, with ids in their order.

    Who is known already keeps what they chose, whatever a file says; who is suppressed leaves no trace.
    ``all_new`` expects nobody to be known, and is quicker by not looking. ``pads`` are those of the keyed hash
    of addresses. Raises Overtaken and DatabaseDown.
    """
    cursor = session.connection().connection.cursor()
    try:
        return _bulk_insert(cursor, newsletter, new_subscribers, _hashes(new_subscribers, hmac_pads), all_new)
    except (UniqueViolation, DeadlockDetected):
        raise ConcurrentChange(ConcurrentChange.__doc__) from None
    except OperationalError as error:
        raise DatabaseDown(f"The database took no more readers: {str(error).splitlines()[0]}") from error


def _hashes(new_subscribers: CsvSubscribers, hmac_pads: tuple[bytes, bytes]) -> list[bytes]:
    """HMAC-SHA256 cut to 16 bytes, as Tokens.address_hash has it; from the pads it takes half the time."""
    inner, outer = map(sha256, hmac_pads)
    found = []
    for key in new_subscribers.address_keys:
        within, around = inner.copy(), outer.copy()
        within.update(key.encode())
        around.update(within.digest())
        found.append(around.digest()[:16])
    return found


def _bulk_insert(
    cursor: Any, newsletter: int, new_subscribers: CsvSubscribers, hashes: Sequence[bytes], all_new: bool
) -> BulkResult:
    joined = b"".join(hashes)
    values = {"hashes": joined, "count": len(hashes), "newsletter": newsletter}
    suppressed = {address_hash for (address_hash,) in cursor.execute(_SUPPRESSED, values)}
    known = {} if all_new else {row[0]: row[1:] for row in cursor.execute(_KNOWN, values)}
    passed = known.keys() | suppressed
    tied = {address_hash for address_hash, (_, tie) in known.items() if tie} - suppressed
    untied = known.keys() - tied - suppressed
    if untied:
        held = cursor.execute(_LOCK_SUBSCRIBERS, {"ids": [known[address_hash][0] for address_hash in untied]})
        if len(held.fetchall()) < len(untied):
            raise ConcurrentChange(ConcurrentChange.__doc__)
    ids = iter(cursor.execute(_ALLOCATE_IDS, {"count": len(hashes) - len(passed)}).fetchone()[0] or ())
    subscribers, subscriptions = [], []
    # What many lines of a file have in common is written out once.
    ends: dict[int, tuple[str, str]] = {}
    days: dict[int, str] = {}

    def written(choices: RowChoices) -> tuple[str, str]:
        chosen, source = choices
        language = chosen.languages[0] if chosen.languages else ""
        ends[id(choices)] = both = (
            f"{{{','.join(chosen.languages)}}}\t{chosen.time_zone}\n",
            f"{newsletter}\tactive\t{chosen.sections}\t{_escape_copy(source)}\t{language}\n",
        )
        return both

    for address_hash, hexed, address, name, chosen, at in zip(
        hashes,
        joined.hex(" ", 16).split(),
        new_subscribers.addresses,
        new_subscribers.names,
        new_subscribers.choices,
        new_subscribers.consent_times,
        strict=True,
    ):
        person, tie = ends.get(id(chosen)) or written(chosen)
        day = days.get(id(at)) or days.setdefault(id(at), at.isoformat())
        if address_hash not in passed:
            subscriber = next(ids)
            if "\\" in name or "\\" in address:
                name, address = _escape_copy(name), _escape_copy(address)
            subscribers.append(f"\\\\x{hexed}\t{subscriber}\t{address}\t{name}\t{person}")
        elif address_hash in untied:
            subscriber = known[address_hash][0]
        else:
            continue
        subscriptions.append(f"{subscriber}\t{day}\t{tie}")
    # In the order of hashes, the largest index takes them in half the time.
    subscribers.sort()
    for table, lines in (
        ("subscriber (address_hash, id, address, name, languages, time_zone)", subscribers),
        (
            "subscription (subscriber_id, consent_at, newsletter_id, state, sections, consent_source,"
            " consent_language)",
            subscriptions,
        ),
    ):
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write("".join(lines))
    return BulkResult(added=len(subscriptions), known=len(tied), suppressed=len(suppressed))


def _escape_copy(value: str) -> str:
    """Text in the form that COPY reads; it has no line breaks or tabs."""
    return value.replace("\\", "\\\\")


def analyze(session: Session) -> None:
    """Tell the planner about many new readers at once; its own look at the tables can be a minute away."""
    session.execute(text("ANALYZE subscriber, subscription"))
