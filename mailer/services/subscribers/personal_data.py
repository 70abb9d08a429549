"""Export, summary and erasure of a person's data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.consents import ConsentChannel
from mailer.domain.errors import UserError
from mailer.domain.labels import (
    FREQUENCY_LABELS,
    SKIP_REASON_LABELS,
    describe_consent_channel,
    describe_suppression,
)
from mailer.domain.personal_data import PersonalDataTable
from mailer.domain.states import Frequency, SkipReason
from mailer.domain.subscription_ref import LinkKind
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.subscribers.in_flight import has_mail_in_flight, wait_for_mail_in_flight
from mailer.store import personal_data, subscribers
from mailer.store.database import Database

PersonalData = Mapping[PersonalDataTable, Sequence[Mapping[str, Any]]]
"""Table → rows → column → value."""


class MailInTransit(UserError, RuntimeError):
    """An email to this person is being sent right now. Please try again in a minute."""


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """The counts of erased rows. ``known`` is False if there was nothing to erase."""

    known: bool
    subscriptions: int
    requests: int


def export(database: Database, address_hash: bytes) -> PersonalData:
    """Return all data about the address with this keyed hash."""
    with database.transaction() as session:
        reader = subscribers.by_hash(session, address_hash)
        return personal_data.export_rows(session, reader.id if reader else None, address_hash)


def export_subscriber(database: Database, subscriber: int) -> PersonalData | None:
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        return personal_data.export_rows(session, reader.id, reader.address_hash) if reader else None


def erase(database: Database, address_hash: bytes, now: datetime) -> ErasureResult:
    """Erase a person's data on request.

    Anonymous counts are kept. The keyed hash of the address is kept too, so that no import adds it again. Raises
    MailInTransit.
    """
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
    """Erase a subscriber's data. Return False if there is no such subscriber. Raises MailInTransit."""
    with database.transaction() as session:
        reader = subscribers.by_id(session, subscriber)
        address_hash = reader.address_hash if reader else None
    return address_hash is not None and erase(database, address_hash, now).known


def _unsubscribe_all(database: Database, subscriber: int, now: datetime) -> None:
    """End all subscriptions, then wait for mail in flight."""
    with database.transaction() as session:
        newsletters = list(subscribers.subscriptions(session, subscriber))
        for newsletter in newsletters:
            subscribers.unsubscribe(session, newsletter, None, subscriber, ConsentChannel.erasure, now)
    if not wait_for_mail_in_flight(database, newsletters, subscriber):
        raise MailInTransit(MailInTransit.__doc__)


_MAX_DELIVERIES = 5
"""The number of latest issues in the summary."""


def summarize(data: PersonalData) -> list[str]:
    """Return sentences for staff about a person's subscriptions, consents and latest issues; empty if unknown."""
    sentences = []
    for reader in data[PersonalDataTable.subscriber]:
        named = f"{reader['name']} <{reader['address']}>" if reader["name"] else reader["address"]
        text_only = ", as text only" if reader["text_only"] else ""
        sentences.append(f"{named} reads {', '.join(reader['languages'])}{text_only}, in {reader['time_zone']}.")
    for subscription in data[PersonalDataTable.subscriptions]:
        slug = subscription["newsletter"]
        if subscription["state"] != "active":
            sentences.append(f"{slug}: {subscription['state']} since {_format_day(subscription['changed_at'])}.")
            continue
        sections = [*subscription["sections"], *(["those to come"] if subscription["new_sections"] else [])]
        frequency = FREQUENCY_LABELS[Frequency(subscription["frequency"])]
        sentences.append(f"{slug}: subscribed, {frequency}. Sections: {', '.join(sections) or 'those for everybody'}.")
        if subscription["paused_until"]:
            sentences.append(f"{slug}: paused until {_format_day(subscription['paused_until'])}.")
        if (previous := subscription["previous_preferences"]) and previous["link_kind"] == LinkKind.staff:
            sentences.append(f"{slug}: preferences changed by staff on {_format_day(subscription['previous_at'])}.")
        if subscription["tracking"]:
            sentences.append(f"{slug}: agreed to tracking.")
    for consent in data[PersonalDataTable.consents]:
        verb = "given" if consent["given"] else "withdrawn"
        where = describe_consent_channel(ConsentChannel(consent["channel"]), consent["note"])
        words = f": “{consent['wording']}”" if consent["wording"] else ""
        sentence = f"{consent['newsletter']}: consent ({consent['kind']}) {verb} on {_format_day(consent['at'])}"
        sentences.append(f"{sentence} by way of {where}{words}.")
    for row in data[PersonalDataTable.deliveries][-_MAX_DELIVERIES:]:
        when = f" on {_format_day(row['finished_at'])}" if row["finished_at"] else ""
        why = f", {SKIP_REASON_LABELS[SkipReason(row['skip_reason'])]}" if row["skip_reason"] else ""
        sentences.append(f"{row['newsletter']} {row['issue']}: {row['state']}{when}{why}.")
    for row in data[PersonalDataTable.signups]:
        if row["confirmed_at"] is None:
            sentences.append(f"{row['newsletter']}: signed up on {_format_day(row['created_at'])}, not confirmed.")
    for row in data[PersonalDataTable.suppression]:
        reason = describe_suppression(SuppressionReason(row["reason"]), row["note"])
        sentences.append(f"No email is sent to this address since {_format_day(row['created_at'])}: {reason}.")
    return sentences


def _format_day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def to_json(data: PersonalData) -> str:
    """Return all of a person's data as JSON."""
    rows = {table: [dict(row) for row in table_rows] for table, table_rows in data.items()}
    return json.dumps(rows, ensure_ascii=False, indent=2, default=_json_default)


def _json_default(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
