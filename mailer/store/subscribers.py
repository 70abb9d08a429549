"""Subscribers, subscriptions, consents and suppressions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from psycopg import OperationalError
from psycopg.errors import DeadlockDetected, UniqueViolation
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.feedback import FeedbackKind
from mailer.domain.preferences import FIELDS, PreferenceField, Preferences
from mailer.domain.states import Frequency, ListedState, SubscriptionState
from mailer.domain.subscriber_csv import CsvSubscribers, RowChoices
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.domain.suppressions import BOUNCE_REASONS, SuppressionReason, SuppressionSource
from mailer.models import (
    Consent,
    Feedback,
    Issue,
    Newsletter,
    Subscriber,
    Subscription,
    Suppression,
)
from mailer.store.database import DatabaseDown, execute_driver_sql


def by_hash(session: Session, address_hash: bytes) -> Subscriber | None:
    return session.scalar(select(Subscriber).where(Subscriber.address_hash == address_hash))


def by_id(session: Session, subscriber: int) -> Subscriber | None:
    return session.get(Subscriber, subscriber)


def subscription(session: Session, newsletter: int, subscriber: int) -> Subscription | None:
    return session.get(Subscription, (newsletter, subscriber))


def get_or_create(session: Session, address: str, address_hash: bytes, languages: Sequence[str]) -> Subscriber:
    """Create a subscriber, or return the one with this address that another transaction has just created."""
    values = {"address": address, "address_hash": address_hash, "languages": list(languages)}
    session.execute(insert(Subscriber).values(values).on_conflict_do_nothing())
    return session.scalars(select(Subscriber).where(Subscriber.address_hash == address_hash)).one()


def lock(session: Session, subscriber: int) -> None:
    """Keep a subscriber from being erased until the transaction ends. Raises NoResultFound.

    Call this before inserting a subscription, which has no foreign key: checking one would take more time than the
    rest of the insert.
    """
    query = select(Subscriber.id).where(Subscriber.id == subscriber)
    session.execute(query.with_for_update(read=True, key_share=True)).one()


def count_by_sections(session: Session, newsletter: int) -> dict[int, int]:
    """Return mask of followed sections → number of active subscribers."""
    query = select(Subscription.sections, func.count().label("number")).where(
        Subscription.newsletter_id == newsletter, Subscription.state == SubscriptionState.active
    )
    return {row.sections: row.number for row in session.execute(query.group_by(Subscription.sections))}


def subscribe(session: Session, newsletter: int, subscriber: int, sections: int) -> Subscription:
    """Create an active subscription, or return the one that another transaction has just created."""
    lock(session, subscriber)
    values = {"newsletter_id": newsletter, "subscriber_id": subscriber, "sections": sections}
    query = insert(Subscription).values(values | {"state": SubscriptionState.active})
    session.execute(query.on_conflict_do_nothing())
    return session.get_one(Subscription, (newsletter, subscriber))


@dataclass(frozen=True, slots=True)
class SubscriptionContext:
    """The rows that a link in a mail refers to."""

    newsletter: Newsletter
    subscriber: Subscriber
    subscription: Subscription


def resolve(session: Session, ref: SubscriptionRef) -> SubscriptionContext | None:
    """Return the rows a link refers to, or None if the subscriber or their subscription no longer exists."""
    newsletter = ref.newsletter
    if ref.issue:
        newsletter = session.scalar(select(Issue.newsletter_id).where(Issue.id == ref.issue)) or 0
    current = subscription(session, newsletter, ref.subscriber)
    subscriber = by_id(session, ref.subscriber)
    if current is None or subscriber is None:
        return None
    return SubscriptionContext(session.get_one(Newsletter, newsletter), subscriber, current)


def subscriptions(session: Session, subscriber: int) -> dict[int, Subscription]:
    """Return newsletter → subscription."""
    query = select(Subscription).where(Subscription.subscriber_id == subscriber)
    return {row.newsletter_id: row for row in session.scalars(query)}


def time_zones(session: Session, newsletter: int, among: Sequence[str]) -> list[str]:
    """Return those of some time zones in which a newsletter has active subscribers, sorted."""
    query = (
        select(Subscriber.time_zone)
        .join(Subscription, Subscription.subscriber_id == Subscriber.id)
        .where(Subscription.newsletter_id == newsletter, Subscription.state == SubscriptionState.active)
        .where(Subscriber.time_zone.in_(among))
    )
    return list(session.scalars(query.distinct().order_by(Subscriber.time_zone))) if among else []


def preferences(context: SubscriptionContext) -> Preferences:
    """Return a subscriber's preferences for a newsletter."""
    values = {field.name: getattr(_row_of(context, field), field.name) for field in FIELDS}
    values |= {
        "languages": tuple(context.subscriber.languages),
        "frequency": context.subscription.frequency,
    }
    return Preferences(**values)


def lock_preferences(session: Session, context: SubscriptionContext) -> Preferences:
    """Lock a subscriber's preferences against other changes until the transaction ends; return them."""
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
    """End a subscription, and record the feedback and the withdrawn consent. Return whether this changed anything."""
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
    """Return the channel of the latest unsubscribe, or None if there is no record of one."""
    query = select(Consent.channel).where(
        Consent.subscriber_id == subscriber,
        Consent.newsletter_id == newsletter,
        Consent.kind == ConsentKind.subscribe,
        Consent.given.is_(False),
    )
    return session.scalar(query.order_by(Consent.at.desc(), Consent.id.desc()).limit(1))


def save_previous(subscription: Subscription, previous_preferences: dict[str, Any] | None, now: datetime) -> None:
    """Save the preferences that a change replaced, for undo; None clears them."""
    subscription.previous_preferences, subscription.previous_at = (
        previous_preferences,
        now if previous_preferences else None,
    )


def can_undo(subscription: Subscription, link_kind: LinkKind, now: datetime) -> bool:
    """Return whether this kind of link may undo the last change now."""
    previous, at = subscription.previous_preferences, subscription.previous_at
    return bool(
        previous
        and at
        and now - at <= UNDO_WINDOW
        and (link_kind is LinkKind.magic or previous["link_kind"] == LinkKind.mail)
    )


def set_state(session: Session, newsletter: int, subscriber: int, state: SubscriptionState, now: datetime) -> bool:
    """Set the state of a subscription; return whether this changed anything."""
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


def bounced_at(session: Session, address_hash: bytes) -> datetime | None:
    """Return when an address was suppressed because an email bounced, or None if it is not."""
    row = suppression(session, address_hash)
    if row is None or row.source is not SuppressionSource.system or row.reason not in BOUNCE_REASONS:
        return None
    return row.created_at.astimezone(UTC)


def suppress(
    session: Session,
    address_hash: bytes,
    reason: SuppressionReason,
    source: SuppressionSource,
    note: str = "",
) -> bool:
    """Suppress an address; return whether it was not suppressed before.

    An existing suppression keeps its reason, unless staff now replace one that was not set by staff.
    """
    values = {"reason": reason, "source": source, "note": note}
    query = insert(Suppression).values(address_hash=address_hash, **values).on_conflict_do_nothing()
    # SQLAlchemy gives no row count for an INSERT.
    added = session.scalar(query.returning(Suppression.address_hash)) is not None
    if not added and source is SuppressionSource.staff:
        session.execute(
            update(Suppression)
            .where(Suppression.address_hash == address_hash, Suppression.source != source)
            .values(values)
        )
    return added


def lift_suppression(session: Session, address_hash: bytes) -> bool:
    """Delete the suppression of an address; return whether there was one."""
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
"""Every consent that a subscriber gave or withdrew, including the evidence kept in imported subscriptions."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A consent given or withdrawn: see models.Consent."""

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
    """Return a subscriber's consents and withdrawals in chronological order."""
    query = f"SELECT * FROM ({CONSENTS}) c ORDER BY at, id"
    return [
        ConsentRecord(newsletter, ConsentKind(kind), given, ConsentChannel(channel), *rest)
        for newsletter, kind, given, channel, *rest, _ in session.execute(text(query), {"subscriber": subscriber})
    ]


# Hashes are passed as one concatenated value. The planner cannot see how many there are, so it always uses the index,
# however large the tables and however old their statistics.
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
# One row with an array: thousands of small objects would trigger Python's garbage collector.
_ALLOCATE_IDS = "SELECT array_agg(nextval('subscriber_id_seq')) FROM generate_series(1, %(count)s)"


@dataclass(frozen=True, slots=True)
class KnownSubscriber:
    """What is stored about an address that a file names."""

    name: str
    languages: tuple[str, ...]
    time_zone: str
    sections: int | None
    """None without a subscription to the newsletter."""


def known_subscribers(session: Session, newsletter: int, hashes: Sequence[bytes]) -> dict[bytes, KnownSubscriber]:
    """Return hash → subscriber, of those who have not left the newsletter and are not suppressed."""
    values = {"hashes": b"".join(hashes), "count": len(hashes), "newsletter": newsletter}
    return {
        address_hash: KnownSubscriber(name, tuple(languages), zone, sections)
        for address_hash, name, languages, zone, sections in execute_driver_sql(session, _KNOWN_PREFERENCES, values)
    }


_KNOWN_PREFERENCES = f"""
SELECT r.address_hash, r.name, r.languages, r.time_zone, t.sections
FROM subscriber r LEFT JOIN subscription t ON t.newsletter_id = %(newsletter)s AND t.subscriber_id = r.id
WHERE r.address_hash {_IN_HASHES} AND coalesce(t.state, 'active') = 'active'
  AND NOT EXISTS (SELECT FROM suppression x WHERE x.address_hash = r.address_hash)
"""


class ConcurrentChange(RuntimeError):
    """Another transaction added or removed some of the same subscribers. Roll back and import the rows again."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """How many rows of one transaction were added, known or suppressed; each row counts once."""

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
    """Insert subscribers and subscriptions, with ids in the order of the rows. Each address may occur only once.

    Existing subscriptions keep their preferences, and suppressed addresses are not stored. ``all_new`` saves time by
    not looking for existing subscribers. ``hmac_pads`` are those of the keyed hash of addresses.
    Raises ConcurrentChange and DatabaseDown.
    """
    cursor = session.connection().connection.cursor()
    try:
        return _bulk_insert(cursor, newsletter, new_subscribers, hash_keys(new_subscribers, hmac_pads), all_new)
    except (UniqueViolation, DeadlockDetected):
        raise ConcurrentChange(ConcurrentChange.__doc__) from None
    except OperationalError as error:
        raise DatabaseDown(f"The database stopped accepting subscribers: {str(error).splitlines()[0]}") from error


def hash_keys(new_subscribers: CsvSubscribers, hmac_pads: tuple[bytes, bytes]) -> list[bytes]:
    """Return HMAC-SHA256 cut to 16 bytes, like Tokens.address_hash. Precomputed pads halve the time."""
    inner_pad, outer_pad = map(sha256, hmac_pads)
    hashes = []
    for key in new_subscribers.address_keys:
        inner, outer = inner_pad.copy(), outer_pad.copy()
        inner.update(key.encode())
        outer.update(inner.digest())
        hashes.append(outer.digest()[:16])
    return hashes


def _bulk_insert(
    cursor: Any, newsletter: int, new_subscribers: CsvSubscribers, hashes: Sequence[bytes], all_new: bool
) -> BulkResult:
    joined = b"".join(hashes)
    values = {"hashes": joined, "count": len(hashes), "newsletter": newsletter}
    suppressed = {address_hash for (address_hash,) in cursor.execute(_SUPPRESSED, values)}
    known = {} if all_new else {row[0]: row[1:] for row in cursor.execute(_KNOWN, values)}
    known_or_suppressed = known.keys() | suppressed
    subscribed = {address_hash for address_hash, (_, is_subscribed) in known.items() if is_subscribed} - suppressed
    without_subscription = known.keys() - subscribed - suppressed
    if without_subscription:
        locked = cursor.execute(
            _LOCK_SUBSCRIBERS, {"ids": [known[address_hash][0] for address_hash in without_subscription]}
        )
        if len(locked.fetchall()) < len(without_subscription):
            raise ConcurrentChange(ConcurrentChange.__doc__)
    ids = iter(cursor.execute(_ALLOCATE_IDS, {"count": len(hashes) - len(known_or_suppressed)}).fetchone()[0] or ())
    subscribers, subscriptions = [], []
    # Many rows of a file share these objects, so each is formatted once.
    line_ends: dict[int, tuple[str, str]] = {}
    formatted_times: dict[int, str] = {}

    def format_choices(row_choices: RowChoices) -> tuple[str, str]:
        preferences, source, _ = row_choices
        language = preferences.languages[0] if preferences.languages else ""
        line_ends[id(row_choices)] = formatted = (
            f"{{{','.join(preferences.languages)}}}\t{preferences.time_zone}\n",
            f"{newsletter}\tactive\t{preferences.sections}\t{_escape_copy(source)}\t{language}\n",
        )
        return formatted

    for address_hash, hex_hash, address, name, choices, consent_time in zip(
        hashes,
        joined.hex(" ", 16).split(),
        new_subscribers.addresses,
        new_subscribers.names,
        new_subscribers.choices,
        new_subscribers.consent_times,
        strict=True,
    ):
        subscriber_end, subscription_end = line_ends.get(id(choices)) or format_choices(choices)
        formatted_time = formatted_times.get(id(consent_time)) or formatted_times.setdefault(
            id(consent_time), consent_time.isoformat()
        )
        if address_hash not in known_or_suppressed:
            subscriber = next(ids)
            if "\\" in name or "\\" in address:
                name, address = _escape_copy(name), _escape_copy(address)
            subscribers.append(f"\\\\x{hex_hash}\t{subscriber}\t{address}\t{name}\t{subscriber_end}")
        elif address_hash in without_subscription:
            subscriber = known[address_hash][0]
        else:
            continue
        subscriptions.append(f"{subscriber}\t{formatted_time}\t{subscription_end}")
    # Sorted by hash, they are inserted into the largest index in half the time.
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
    return BulkResult(added=len(subscriptions), known=len(subscribed), suppressed=len(suppressed))


def _escape_copy(value: str) -> str:
    """Escape text without line breaks and tabs for COPY."""
    return value.replace("\\", "\\\\")


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
ORDER BY id
"""


def stream(
    session: Session, newsletter: int, only: SubscriberFilter, now: datetime, block_rows: int = 2000
) -> Iterator[ListedSubscriber]:
    """Yield subscribers in the order in which they came, through a cursor of the server."""
    values = {field.name: getattr(only, field.name) for field in fields(only)}
    query = text(_LIST).execution_options(stream_results=True, yield_per=block_rows)
    for row in session.execute(query, values | {"newsletter": newsletter, "now": now}):
        address, name, languages, sections, zone, state, channel, note, at, id, _ = row
        yield ListedSubscriber(
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


def analyze(session: Session) -> None:
    """Update the planner's statistics after a large import; autovacuum can take a minute to do so."""
    session.execute(text("ANALYZE subscriber, subscription"))
