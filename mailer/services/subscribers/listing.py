"""Lists of a newsletter's readers, of any length, and their export."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TextIO

from mailer.domain.consents import ConsentChannel
from mailer.domain.labels import describe_consent_channel
from mailer.domain.section_parser import SectionParser
from mailer.domain.subscriber_csv import COLUMNS, escape_formula
from mailer.store import newsletters, subscriber_lists, subscribers
from mailer.store.database import Database
from mailer.store.subscriber_lists import ListedSubscriber, SubscriberFilter

__all__ = ["ListedSubscriber", "SubscriberFilter", "list_subscribers", "write_csv"]


def list_subscribers(
    database: Database, slug: str, only: SubscriberFilter, now: datetime, page_rows: int = 2000
) -> Iterator[ListedSubscriber]:
    """Yield a newsletter's subscribers in the order in which they came. Raises NewsletterNotFound.

    Each page is read in a transaction of its own, so that none is open while a slow client takes what it got.
    """
    while True:
        with database.transaction() as session:
            rows = subscriber_lists.page(session, newsletters.get(session, slug).id, only, now, page_rows)
        yield from rows
        if len(rows) < page_rows:
            return
        only = replace(only, after=rows[-1].id)


def first_page(
    database: Database, slug: str, only: SubscriberFilter, now: datetime, limit: int
) -> list[ListedSubscriber]:
    """Return the first subscribers of a list. Raises NewsletterNotFound."""
    with database.public_transaction() as session:
        return subscriber_lists.page(session, newsletters.get(session, slug).id, only, now, limit)


def find_subscriber(database: Database, slug: str, address_hash: bytes) -> int | None:
    """Return who has this keyed hash of the address, if they are or were subscribed. Raises NewsletterNotFound."""
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug).id
        found = subscribers.by_hash(session, address_hash)
        return found.id if found and subscribers.subscription(session, newsletter, found.id) else None


def find_of_any_newsletter(database: Database, address_hash: bytes) -> int | None:
    """Return who has this keyed hash of the address."""
    with database.transaction() as session:
        found = subscribers.by_hash(session, address_hash)
        return found.id if found else None


def write_csv(listed: Iterator[ListedSubscriber], sections: SectionParser, file: TextIO) -> int:
    """Write subscribers as a file that can be imported; return their number."""
    count = -1  # without the header
    for line in csv_lines(listed, sections):
        file.write(line)
        count += 1
    return count


def csv_lines(listed: Iterator[ListedSubscriber], sections: SectionParser) -> Iterator[str]:
    """Yield the header and a line for each subscriber, in the format of an import."""
    line = io.StringIO()
    writer = csv.writer(line)

    def written(cells: Iterable[str]) -> str:
        line.seek(0)
        line.truncate()
        writer.writerow(cells)
        return line.getvalue()

    yield written(COLUMNS)
    for row in listed:
        source = row.consent_detail
        if row.consent_channel and row.consent_channel is not ConsentChannel.csv_import:
            source = describe_consent_channel(row.consent_channel, row.consent_detail)
        cells = (
            row.address,
            row.name,
            " ".join(row.languages),
            sections.write(row.sections),
            row.time_zone,
            source,
            row.consented_at.isoformat() if row.consented_at else "",
        )
        yield written(map(escape_formula, cells))
