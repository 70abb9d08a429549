"""Lists of a newsletter's readers, of any length, and their export."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import TextIO

from mailer.domain.consents import ConsentChannel
from mailer.domain.labels import describe_consent_channel
from mailer.domain.subscriber_csv import COLUMNS, SectionParser, escape_formula
from mailer.store import newsletters, subscribers
from mailer.store.database import Database
from mailer.store.subscribers import ListedSubscriber, SubscriberFilter

__all__ = ["ListedSubscriber", "SubscriberFilter", "list_subscribers", "write_csv"]


def list_subscribers(
    database: Database, slug: str, only: SubscriberFilter, now: datetime
) -> Iterator[ListedSubscriber]:
    """Yield a newsletter's subscribers in the order in which they came. Raises NewsletterNotFound."""
    with database.transaction() as session:
        yield from subscribers.stream(session, newsletters.get(session, slug).id, only, now)


def write_csv(listed: Iterator[ListedSubscriber], sections: SectionParser, file: TextIO) -> int:
    """Write subscribers as a file that can be imported; return their number."""
    writer, count = csv.writer(file), 0
    writer.writerow(COLUMNS)
    for row in listed:
        count += 1
        source = row.consent_note
        if row.consent_channel and row.consent_channel is not ConsentChannel.csv_import:
            source = describe_consent_channel(row.consent_channel, row.consent_note)
        cells = (
            row.address,
            row.name,
            " ".join(row.languages),
            sections.write(row.sections),
            row.time_zone,
            source,
            row.consented_at.isoformat() if row.consented_at else "",
        )
        writer.writerow(map(escape_formula, cells))
    return count
