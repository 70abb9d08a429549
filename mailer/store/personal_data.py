"""Personal data of one person: export, merging of two subscribers, and erasure."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from mailer.domain.personal_data import PersonalDataTable
from mailer.domain.resolution import RETAINED_REPLY_PATTERN
from mailer.domain.subscriber_fields import MAX_LANGUAGES
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import Signup, Subscriber, SubscriberAlias, UnrecognizedMail
from mailer.store.digests import AWAITING
from mailer.store.subscribers import CONSENTS, lock

# Each query selects one person's rows of one table; :hash is the keyed hash of the address.
_EXPORT_QUERIES = {
    PersonalDataTable.subscriber: """
        SELECT r.address, r.name, r.languages, r.time_zone, r.text_only, r.address_changed_at, r.created_at
        FROM subscriber r WHERE r.id = :subscriber
    """,
    PersonalDataTable.subscriptions: """
        SELECT n.slug AS newsletter, s.state, s.changed_at, s.frequency, s.paused_until, s.tracking,
            s.previous_preferences, s.previous_at, s.sections AS mask,
            ARRAY(SELECT c.key FROM section c WHERE c.newsletter_id = n.id AND s.sections >> c.bit & 1 = 1
                  ORDER BY c.position) AS sections,
            s.sections >> 61 & 1 = 1 AS new_sections
        FROM subscription s JOIN newsletter n ON n.id = s.newsletter_id
        WHERE s.subscriber_id = :subscriber ORDER BY n.slug
    """,
    PersonalDataTable.consents: f"""
        SELECT n.slug AS newsletter, c.kind, c.given, c.channel, c.note, c.wording, c.language, c.requested_at, c.at
        FROM ({CONSENTS}) c JOIN newsletter n ON n.id = c.newsletter_id ORDER BY c.at, c.id
    """,
    PersonalDataTable.deliveries: """
        SELECT n.slug AS newsletter, i.number AS issue, d.state, d.skip_reason, d.attempts, d.resends, d.due_at,
            d.finished_at, d.last_reply, d.resolution, d.resolution_source, d.resolved_by,
            d.resolution_note, e.language, e.subject, g.number AS digest
        FROM issue i JOIN delivery d ON d.issue_id = i.id AND d.subscriber_id = :subscriber
        JOIN newsletter n ON n.id = i.newsletter_id LEFT JOIN edition e ON e.id = d.edition_id
        LEFT JOIN issue g ON g.id = d.digest_id
        ORDER BY i.id
    """,
    PersonalDataTable.feedback: """
        SELECT f.kind, f.at, n.slug AS newsletter, i.number AS issue, f.detail
        FROM feedback f LEFT JOIN newsletter n ON n.id = f.newsletter_id LEFT JOIN issue i ON i.id = f.issue_id
        WHERE f.subscriber_id = :subscriber ORDER BY f.id
    """,
    PersonalDataTable.unrecognized_mails: """
        SELECT m.at, n.slug AS newsletter, i.number AS issue, encode(m.beginning, 'escape') AS mail
        FROM unrecognized_mail m JOIN issue i ON i.id = m.issue_id JOIN newsletter n ON n.id = i.newsletter_id
        WHERE m.subscriber_id = :subscriber ORDER BY m.id
    """,
    PersonalDataTable.signups: """
        SELECT n.slug AS newsletter, s.address, s.name, s.languages, s.language, s.wording, s.channel,
            s.created_at, s.confirmed_at, s.sections AS mask
        FROM signup s JOIN newsletter n ON n.id = s.newsletter_id WHERE s.address_hash = :hash ORDER BY s.id
    """,
    PersonalDataTable.address_changes: """
        SELECT a.address, a.old_confirmed_at, a.new_confirmed_at, a.created_at, a.done_at FROM address_change a
        WHERE a.subscriber_id = :subscriber OR a.address_hash = :hash ORDER BY a.id
    """,
    PersonalDataTable.transactional_emails: """
        SELECT n.kind, n.language, n.created_at, n.sent_at, n.given_up_at, n.attempts, n.last_reply
        FROM transactional_email n
        WHERE n.subscriber_id = :subscriber
           OR n.signup_id IN (SELECT id FROM signup WHERE address_hash = :hash)
           OR n.change_id IN (SELECT id FROM address_change WHERE subscriber_id = :subscriber OR address_hash = :hash)
        ORDER BY n.id
    """,
    PersonalDataTable.suppression: """
        SELECT x.reason, x.source, x.note, x.created_at FROM suppression x WHERE x.address_hash = :hash
    """,
}


def export_rows(
    session: Session, subscriber: int | None, address_hash: bytes
) -> dict[PersonalDataTable, list[dict[str, Any]]]:
    """Return table → rows (column → value) of everything stored about a person."""
    values = {"subscriber": subscriber or 0, "hash": address_hash}
    return {
        table: [dict(row) for row in session.execute(text(query), values).mappings()]
        for table, query in _EXPORT_QUERIES.items()
    }


def erase(session: Session, subscriber: int, now: datetime) -> None:
    """Delete a subscriber and everything that identifies them; anonymous counts stay.

    Their pending deliveries are skipped. None of their deliveries may be with a worker when this is called.
    """
    _lock_batches(session, subscriber)
    _skip_pending(session, subscriber, now)
    values = {"subscriber": subscriber}
    # A relay's reply may quote the address, so keep only its codes.
    query = """
        UPDATE delivery SET last_reply = substring(last_reply from :kept), resolved_by = NULL, resolution_note = NULL
        WHERE subscriber_id = :subscriber AND (last_reply IS NOT NULL OR resolution IS NOT NULL)
    """
    session.execute(text(query), values | {"kept": RETAINED_REPLY_PATTERN})
    session.execute(
        text("UPDATE feedback SET subscriber_id = NULL, detail = '{}' WHERE subscriber_id = :subscriber"),
        values,
    )
    # Staff give reasons in their own words, which may name the person.
    session.execute(
        text("UPDATE audit_event SET detail = '{}' WHERE object_kind = 'subscriber' AND object_id = :subscriber"),
        values,
    )
    session.execute(delete(UnrecognizedMail).where(UnrecognizedMail.subscriber_id == subscriber))
    session.execute(delete(Subscriber).where(Subscriber.id == subscriber))


def erase_requests(session: Session, address_hash: bytes) -> int:
    """Delete sign-ups, address changes, tests, requests for texts and rate-limit counters of an address.

    Return how many sign-ups.
    """
    values = {"hash": address_hash, "tail": address_hash}
    # What they wrote belongs to the issue, and stays without their name.
    session.execute(
        text(
            """
            UPDATE text_version v SET actor = '' FROM text_request r
            WHERE r.address_hash = :hash AND v.issue_id = r.issue_id AND v.kind = 'contributed' AND v.actor = r.name
            """
        ),
        values,
    )
    session.execute(text("DELETE FROM text_request WHERE address_hash = :hash"), values)
    session.execute(text("DELETE FROM issue_test WHERE address_hash = :hash"), values)
    session.execute(text("DELETE FROM address_change WHERE address_hash = :hash"), values)
    session.execute(
        text("DELETE FROM rate_limit_window WHERE right(encode(subject_hash, 'hex'), 32) = encode(:tail, 'hex')"),
        values,
    )
    return erase_signups(session, address_hash)


def erase_signups(session: Session, address_hash: bytes) -> int:
    """Delete the sign-ups of an address; return how many."""
    return session.connection().execute(delete(Signup).where(Signup.address_hash == address_hash)).rowcount


def suppress_hash(session: Session, address_hash: bytes, reason: SuppressionReason, source: SuppressionSource) -> None:
    """Suppress an address by its hash. An earlier suppression keeps its reason but loses its note."""
    query = """
        INSERT INTO suppression (address_hash, reason, source) VALUES (:hash, :reason, :source)
        ON CONFLICT (address_hash) DO UPDATE SET note = ''
    """
    session.execute(text(query), {"hash": address_hash, "reason": reason, "source": source})


_IS_PENDING = f"(state = 'pending' OR {AWAITING})"
"""What a subscriber has yet to get, by itself or in a digest."""

# A subscriber outside every batch of the issue gets a batch of their own. A planned batch is left out, since its
# expansion will create their delivery.
_MOVE_PENDING = f"""
WITH moved AS (
    UPDATE delivery d SET subscriber_id = :into
    WHERE d.subscriber_id = :other AND {_IS_PENDING}
      AND NOT EXISTS (SELECT FROM delivery o WHERE o.issue_id = d.issue_id AND o.subscriber_id = :into)
      AND NOT EXISTS (
        SELECT FROM batch b
        WHERE b.issue_id = d.issue_id AND b.state = 'planned'
          AND :into BETWEEN b.first_subscriber_id AND b.last_subscriber_id
      )
    RETURNING d.issue_id, d.due_at, d.state = 'skipped' AS skipped
), counted AS (
    UPDATE batch b
    SET candidates = b.candidates + (:into BETWEEN b.first_subscriber_id AND b.last_subscriber_id)::int
            - (:other BETWEEN b.first_subscriber_id AND b.last_subscriber_id)::int,
        skipped = b.skipped + CASE WHEN m.skipped
            THEN (:into BETWEEN b.first_subscriber_id AND b.last_subscriber_id)::int
                - (:other BETWEEN b.first_subscriber_id AND b.last_subscriber_id)::int ELSE 0 END,
        state = CASE WHEN b.state = 'done' AND NOT m.skipped THEN 'ready'::batch_state ELSE b.state END,
        due_at = CASE WHEN m.skipped THEN b.due_at ELSE least(b.due_at, m.due_at) END
    FROM moved m
    WHERE b.issue_id = m.issue_id
      AND (:into BETWEEN b.first_subscriber_id AND b.last_subscriber_id
           OR :other BETWEEN b.first_subscriber_id AND b.last_subscriber_id)
)
INSERT INTO batch (
    issue_id, first_subscriber_id, last_subscriber_id, state, due_at, candidates, epoch, worker, is_retry,
    sent, failed, skipped, uncertain
)
SELECT m.issue_id, :into, :into, (CASE WHEN m.skipped THEN 'done' ELSE 'ready' END)::batch_state, m.due_at,
    1, 0, '', false, 0, 0, m.skipped::int, 0
FROM moved m
WHERE NOT EXISTS (
    SELECT FROM batch b
    WHERE b.issue_id = m.issue_id AND :into BETWEEN b.first_subscriber_id AND b.last_subscriber_id
)
"""


def merge(session: Session, absorbed: int, kept: int, now: datetime) -> None:
    """Move one subscriber's rows to another and erase the first; where both have a row, ``kept`` keeps its own.

    ``kept`` takes over the name and the time zone if it has none, and the languages that it lacks, at the end.
    """
    values = {"other": absorbed, "into": kept}
    _lock_batches(session, absorbed, kept)
    lock(session, kept)
    into, other = session.get_one(Subscriber, kept), session.get_one(Subscriber, absorbed)
    into.name = into.name or other.name
    into.languages = list(dict.fromkeys([*into.languages, *other.languages]))[:MAX_LANGUAGES]
    into.time_zone = other.time_zone if into.time_zone == "UTC" else into.time_zone
    session.flush()
    session.execute(
        text(
            """
            UPDATE subscription s SET subscriber_id = :into WHERE subscriber_id = :other AND NOT EXISTS
                (SELECT FROM subscription o WHERE o.subscriber_id = :into AND o.newsletter_id = s.newsletter_id)
            """
        ),
        values,
    )
    # Where both are subscribed, the absorbed subscription goes, but its evidence of consent stays.
    session.execute(
        text(
            """
            INSERT INTO consent (subscriber_id, newsletter_id, kind, given, channel, note, language, at)
            SELECT :into, newsletter_id, 'subscribe', true, 'csv_import', consent_source, consent_language, consent_at
            FROM subscription WHERE subscriber_id = :other AND consent_at IS NOT NULL
            """
        ),
        values,
    )
    for table in ("consent", "feedback"):
        session.execute(text(f"UPDATE {table} SET subscriber_id = :into WHERE subscriber_id = :other"), values)
    session.execute(text(_MOVE_PENDING), values)
    # Links in mail to the absorbed subscriber must keep working, above all the one to unsubscribe.
    session.execute(text("UPDATE subscriber_alias SET subscriber_id = :into WHERE subscriber_id = :other"), values)
    session.execute(text("INSERT INTO subscriber_alias (id, subscriber_id) VALUES (:other, :into)"), values)
    erase(session, absorbed, now)


def resolve_alias(session: Session, subscriber: int) -> int:
    """Return the id of the subscriber that replaced this one in a merge, or the same id."""
    query = select(SubscriberAlias.subscriber_id).where(SubscriberAlias.id == subscriber)
    return session.scalar(query) or subscriber


def _lock_batches(session: Session, subscriber: int, kept: int | None = None) -> None:
    """Lock the batches that contain the subscriber or ``kept`` and are planned or have a pending delivery to move.

    Workers also lock batches before deliveries, so the order prevents deadlocks. Planned batches are locked because
    no subscriber may disappear while an expansion counts its candidates.
    """
    query = f"""
        SELECT FROM batch b
        WHERE (b.state = 'planned' OR b.issue_id IN
            (SELECT issue_id FROM delivery WHERE subscriber_id = :subscriber AND {_IS_PENDING}))
          AND (:subscriber BETWEEN b.first_subscriber_id AND b.last_subscriber_id
               OR :into BETWEEN b.first_subscriber_id AND b.last_subscriber_id)
        ORDER BY b.issue_id, b.id FOR UPDATE OF b
    """
    session.execute(text(query), {"subscriber": subscriber, "into": kept or subscriber})


def _skip_pending(session: Session, subscriber: int, now: datetime) -> None:
    query = """
        WITH skipped AS (
            UPDATE delivery SET state = 'skipped', skip_reason = 'unsubscribed', finished_at = :now
            WHERE subscriber_id = :subscriber AND state = 'pending' RETURNING issue_id
        )
        UPDATE batch b SET skipped = skipped + 1
        FROM skipped s
        WHERE b.issue_id = s.issue_id AND :subscriber BETWEEN b.first_subscriber_id AND b.last_subscriber_id
    """
    session.execute(text(query), {"subscriber": subscriber, "now": now})
