"""Rights: everything held about a person, printed; and all of it let go, but for a keyed hash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.consents import ConsentChannel
from mailer.domain.labels import (
    FREQUENCY_LABELS,
    SKIP_REASON_LABELS,
    describe_consent_channel,
    describe_suppression,
)
from mailer.domain.states import Frequency, SkipReason
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.subscribers.in_flight import has_mail_in_flight, wait_for_mail_in_flight
from mailer.store import personal_data, subscribers
from mailer.store.database import Database

PersonalData = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table → rows → column → value."""


class MailInTransit(RuntimeError):
    """A mail to this person is being sent right now. Please try again in a minute."""


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What was let go; ``known`` is False when there was nothing."""

    known: bool
    subscriptions: int
    requests: int


def export(database: Database, address_hash: bytes) -> PersonalData:
    """All that is held about whoever has the address with this keyed hash."""
    with database.transaction() as session:
        reader = subscribers.by_hash(session, address_hash)
        return personal_data.export_rows(session, reader.id if reader else None, address_hash)


def export_subscriber(database: Database, subscriber: int) -> PersonalData | None:
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        return personal_data.export_rows(session, reader.id, reader.address_hash) if reader else None


def erase(database: Database, address_hash: bytes, now: datetime) -> ErasureResult:
    """Let a person go, at their wish. Counts stay and lead to nobody; the keyed hash stays, so that no list
    brings the address back. Raises OnItsWay."""
    with database.transaction() as session:
        reader = subscribers.by_hash(session, address_hash)
        subscriber = reader.id if reader else None
    if subscriber is not None:
        _unsubscribe_all(database, subscriber, now)
    with database.transaction() as session:
        subscriptions = 0
        if subscriber is not None:
            newsletters = subscribers.subscriptions(session, subscriber)
            subscriptions = len(newsletters)
            if has_mail_in_flight(session, newsletters, subscriber):
                raise MailInTransit(MailInTransit.__doc__)
            personal_data.erase(session, subscriber, now)
        requests = personal_data.erase_requests(session, address_hash)
        known = bool(subscriptions or requests or subscribers.suppression(session, address_hash))
        if known or subscriber is not None:
            personal_data.suppress_hash(session, address_hash, SuppressionReason.erased, SuppressionSource.subscriber)
        return ErasureResult(known or subscriber is not None, subscriptions, requests)


def erase_subscriber(database: Database, subscriber: int, now: datetime) -> bool:
    """The same for whom a link belongs to; False when there is no such subscriber. Raises OnItsWay."""
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        address_hash = reader.address_hash if reader else None
    return address_hash is not None and erase(database, address_hash, now).known


def _unsubscribe_all(database: Database, subscriber: int, now: datetime) -> None:
    """End every subscription, and wait for messages that are with the relay at this moment."""
    with database.transaction() as session:
        ties = list(subscribers.subscriptions(session, subscriber))
        for newsletter in ties:
            subscribers.unsubscribe(session, newsletter, None, subscriber, ConsentChannel.erasure, now)
    if not wait_for_mail_in_flight(database, ties, subscriber):
        raise MailInTransit(MailInTransit.__doc__)


_MAX_DELIVERIES = 5
"""Issues that are named of all that somebody got or did not get."""


def summarize(data: PersonalData) -> list[str]:
    """How somebody stands to each newsletter, in sentences for whoever answers them; empty for nobody."""
    say = []
    for reader in data["subscriber"]:
        named = f"{reader['name']} <{reader['address']}>" if reader["name"] else reader["address"]
        text_only = ", as text only" if reader["text_only"] else ""
        say.append(f"{named} reads {', '.join(reader['languages'])}{text_only}, in {reader['time_zone']}.")
    for tie in data["subscriptions"]:
        slug = tie["newsletter"]
        if tie["state"] != "active":
            say.append(f"{slug}: {tie['state']} since {_format_day(tie['changed_at'])}.")
            continue
        follows = [*tie["sections"], *(["those to come"] if tie["new_sections"] else [])]
        often = FREQUENCY_LABELS[Frequency(tie["frequency"])]
        say.append(f"{slug}: subscribed, {often}. Sections: {', '.join(follows) or 'those for everybody'}.")
        if tie["paused_until"]:
            say.append(f"{slug}: paused until {_format_day(tie['paused_until'])}.")
        if tie["tracking"]:
            say.append(f"{slug}: agreed to be counted as a person.")
    for consent in data["consents"]:
        verb = "given" if consent["given"] else "withdrawn"
        where = describe_consent_channel(ConsentChannel(consent["channel"]), consent["note"])
        words = f": “{consent['wording']}”" if consent["wording"] else ""
        said = f"{consent['newsletter']}: consent ({consent['kind']}) {verb} on {_format_day(consent['at'])}"
        say.append(f"{said} by way of {where}{words}.")
    for row in data["deliveries"][-_MAX_DELIVERIES:]:
        when = f" on {_format_day(row['finished_at'])}" if row["finished_at"] else ""
        why = f", {SKIP_REASON_LABELS[SkipReason(row['skip_reason'])]}" if row["skip_reason"] else ""
        say.append(f"{row['newsletter']} {row['issue']}: {row['state']}{when}{why}.")
    for row in data["sign-ups"]:
        if row["confirmed_at"] is None:
            say.append(f"{row['newsletter']}: asked for it on {_format_day(row['created_at'])}, not confirmed.")
    for row in data["suppression"]:
        reason = describe_suppression(SuppressionReason(row["reason"]), row["note"])
        say.append(f"Nothing is sent to this address since {_format_day(row['created_at'])}: {reason}.")
    return say


def _format_day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def to_json(data: PersonalData) -> str:
    """Everything held about a person, for a machine to read."""
    rows = {table: [dict(row) for row in found] for table, found in data.items()}
    return json.dumps(rows, ensure_ascii=False, indent=2, default=_json_default)


def _json_default(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
