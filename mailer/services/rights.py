"""Rights: everything held about a person, printed; and all of it let go, but for a keyed hash."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.suppressions import ERASED
from mailer.store import batches, deliveries, people, readers
from mailer.store.database import Database, Session

Held = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table → rows → column → value."""
_LONGEST_WAIT = 10.0
"""Seconds."""


class OnItsWay(RuntimeError):
    """A mail to this person is being sent right now. Please try again in a minute."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was let go; ``known`` is False when there was nothing."""

    known: bool
    subscriptions: int
    requests: int


def export(database: Database, address_hash: bytes) -> Held:
    """All that is held about whoever has the address with this keyed hash."""
    with database.transaction() as session:
        reader = readers.by_hash(session, address_hash)
        return people.held(session, reader.id if reader else None, address_hash)


def export_of(database: Database, subscriber: int) -> Held | None:
    with database.transaction() as session:
        reader = readers.by_id(session, subscriber)
        return people.held(session, reader.id, reader.address_hash) if reader else None


def erase(database: Database, address_hash: bytes, now: datetime) -> Erased:
    """Let a person go, at their wish. Counts stay and lead to nobody; the keyed hash stays, so that no list
    brings the address back. Raises OnItsWay."""
    with database.transaction() as session:
        reader = readers.by_hash(session, address_hash)
        subscriber = reader.id if reader else None
    if subscriber is not None:
        _end_all(database, subscriber, now)
    with database.transaction() as session:
        subscriptions = 0
        if subscriber is not None:
            subscriptions = len(readers.subscriptions(session, subscriber))
            _none_in_flight(session, subscriber)
            people.erase(session, subscriber, now)
        requests = people.erase_requests(session, address_hash)
        known = bool(subscriptions or requests or readers.suppression(session, address_hash))
        if known or subscriber is not None:
            people.leave_hash(session, address_hash, ERASED)
        return Erased(known or subscriber is not None, subscriptions, requests)


def erase_subscriber(database: Database, subscriber: int, now: datetime) -> bool:
    """The same for whom a link belongs to; False when there is no such subscriber. Raises OnItsWay."""
    with database.transaction() as session:
        reader = readers.by_id(session, subscriber)
        address_hash = reader.address_hash if reader else None
    return address_hash is not None and erase(database, address_hash, now).known


def _end_all(database: Database, subscriber: int, now: datetime) -> None:
    """End every subscription, and wait for messages that are with the relay at this moment."""
    with database.transaction() as session:
        ties = list(readers.subscriptions(session, subscriber))
        for newsletter in ties:
            readers.end(session, newsletter, None, subscriber, "erased", now)
    until = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < until:
        with database.transaction() as session:
            for newsletter in ties:
                for issue in batches.open_for(session, newsletter, subscriber):
                    batches.hold_for(session, issue, subscriber)
            if not any(deliveries.being_sent(session, subscriber, newsletter) for newsletter in ties):
                return
        time.sleep(0.05)
    raise OnItsWay(OnItsWay.__doc__)


def _none_in_flight(session: Session, subscriber: int) -> None:
    for newsletter in readers.subscriptions(session, subscriber):
        for issue in batches.open_for(session, newsletter, subscriber):
            batches.hold_for(session, issue, subscriber)
        if deliveries.being_sent(session, subscriber, newsletter):
            raise OnItsWay(OnItsWay.__doc__)


_LATEST = 5
"""Issues that are named of all that somebody got or did not get."""


def in_short(held: Held) -> list[str]:
    """How somebody stands to each newsletter, in sentences for whoever answers them; empty for nobody."""
    say = []
    for reader in held["subscriber"]:
        named = f"{reader['name']} <{reader['address']}>" if reader["name"] else reader["address"]
        text_only = ", as text only" if reader["text_only"] else ""
        say.append(f"{named} reads {', '.join(reader['languages'])}{text_only}, in {reader['time_zone']}.")
    for tie in held["subscriptions"]:
        slug = tie["newsletter"]
        if tie["state"] != "active":
            say.append(f"{slug}: {tie['state']} since {_day(tie['changed_at'])}.")
            continue
        follows = [*tie["sections"], *(["those to come"] if tie["new_sections"] else [])]
        often = "once a month" if tie["frequency"] == "monthly" else "each issue"
        say.append(f"{slug}: subscribed, {often}. Sections: {', '.join(follows) or 'those for everybody'}.")
        if tie["paused_until"]:
            say.append(f"{slug}: paused until {_day(tie['paused_until'])}.")
        if tie["tracking"]:
            say.append(f"{slug}: agreed to be counted as a person.")
    for consent in held["consents"]:
        verb = "given" if consent["given"] else "withdrawn"
        words = f": “{consent['wording']}”" if consent["wording"] else ""
        said = f"{consent['newsletter']}: consent ({consent['kind']}) {verb} on {_day(consent['at'])}"
        say.append(f"{said} by way of “{consent['source']}”{words}.")
    for row in held["deliveries"][-_LATEST:]:
        when = f" on {_day(row['finished_at'])}" if row["finished_at"] else ""
        why = f", {row['reason'].replace('_', ' ')}" if row["reason"] else ""
        say.append(f"{row['newsletter']} {row['issue']}: {row['state']}{when}{why}.")
    for row in held["sign-ups"]:
        if row["confirmed_at"] is None:
            say.append(f"{row['newsletter']}: asked for it on {_day(row['created_at'])}, not confirmed.")
    for row in held["suppression"]:
        say.append(f"Nothing is sent to this address since {_day(row['created_at'])}: {row['reason']}.")
    return say


def _day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def as_json(held: Held) -> str:
    """Everything held about a person, for a machine to read."""
    rows = {table: [dict(row) for row in found] for table, found in held.items()}
    return json.dumps(rows, ensure_ascii=False, indent=2, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
