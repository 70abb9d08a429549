"""Looks up what an issue links to, and the DNS records of its sender, when somebody asks for it.

Web and command line order it by a row, a worker carries it out. Results are shared by all issues.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.composition import IssueSource
from mailer.domain.errors import UserError
from mailer.domain.issue_links import web_links
from mailer.domain.network_checks import (
    FRESH,
    LookupKind,
    LookupOutcome,
    LookupResult,
    NetworkChecks,
    Target,
)
from mailer.domain.ports import Clock
from mailer.domain.sender_records import DkimKey, TxtLookup, check_dkim, check_dmarc, check_spf
from mailer.domain.staff_texts import gettext
from mailer.store import network_lookups
from mailer.store.database import Database

MIN_INTERVAL = timedelta(minutes=2)
"""Between two orders for one issue."""
MAX_LINKS = 400
"""In one run. Those whose results are oldest come first."""
MAX_TARGET_BYTES = 2000
KEPT = timedelta(days=90)
_CLAIM = timedelta(minutes=10)
"""After this time the worker is lost. A run takes five minutes at most."""


class TooSoon(UserError, ValueError):
    """It was looked up a moment ago. Try again in two minutes."""


@dataclass(frozen=True, slots=True)
class NetworkTools:
    """What looks something up in the network."""

    look_up_links: Callable[[Iterable[str], Callable[[str, LookupResult], None]], Awaitable[None]]
    """Saves the result of each link as it becomes known."""
    txt: TxtLookup
    dkim_keys: Sequence[DkimKey]


def request(database: Database, issue: int, now: datetime) -> None:
    """Order the lookups of an issue. Raises TooSoon."""
    with database.transaction() as session:
        if not network_lookups.request(session, issue, now, now - MIN_INTERVAL, now - _CLAIM):
            raise TooSoon(TooSoon.__doc__)


def is_running(database: Database, issue: int) -> bool:
    """Return whether an order waits for a worker or is being carried out."""
    with database.transaction() as session:
        order = network_lookups.order_of(session, issue)
        return order is not None and order.finished_at is None


def next_waiting(database: Database, now: datetime) -> int | None:
    """Return the issue whose lookups come next, or None while a worker is at those of any issue."""
    with database.transaction() as session:
        return network_lookups.next_waiting(session, now - _CLAIM)


def load(database: Database, source: IssueSource, return_path: str) -> NetworkChecks:
    """Return what is known of an issue's links and its sender's domain. ``return_path`` is the domain of bounces."""
    targets = _targets(source, return_path)
    with database.transaction() as session:
        order = network_lookups.order_of(session, source.issue)
        return NetworkChecks(
            targets,
            network_lookups.load(session, targets),
            order.requested_at if order else None,
            order.claimed_at if order else None,
            order.finished_at if order else None,
        )


def look_up(database: Database, source: IssueSource, return_path: str, tools: NetworkTools, clock: Clock) -> bool:
    """Carry out an order. Return whether there was one that no other worker has."""
    with database.transaction() as session:
        if not network_lookups.claim(session, source.issue, clock.now(), clock.now() - _CLAIM):
            return False
        targets = _targets(source, return_path)
        known = network_lookups.load(session, targets)
    old = [target for target in targets if target not in known or known[target].looked_at < clock.now() - FRESH]
    old.sort(key=lambda target: known[target].looked_at.timestamp() if target in known else 0)

    def save(kind: LookupKind, name: str, result: LookupResult) -> None:
        with database.transaction() as session:
            network_lookups.save(session, kind, name, result, clock.now())

    asyncio.run(_look_up(old, source.sender_domain, return_path, tools, save))
    with database.transaction() as session:
        network_lookups.finish(session, source.issue, clock.now())
    return True


def delete_old(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        network_lookups.delete_before(session, now - KEPT)


async def _look_up(
    targets: Sequence[Target],
    domain: str,
    return_path: str,
    tools: NetworkTools,
    save: Callable[[LookupKind, str, LookupResult], None],
) -> None:
    checks = {
        LookupKind.spf: lambda: check_spf(return_path, tools.txt),
        LookupKind.dkim: lambda: check_dkim(tools.dkim_keys, tools.txt),
        LookupKind.dmarc: lambda: check_dmarc(domain, return_path, tools.dkim_keys, tools.txt),
    }
    for kind, name in targets:
        if kind in checks:
            try:
                result = await checks[kind]()
            except OSError:
                text = gettext(
                    "%(record)s of %(domain)s was not checked: DNS did not answer.", record=kind.upper(), domain=name
                )
                result = LookupResult(LookupOutcome.not_checked, text)
            save(kind, name, result)
    links = [name for kind, name in targets if kind is LookupKind.link][:MAX_LINKS]
    await tools.look_up_links(links, lambda link, result: save(LookupKind.link, link, result))


def _targets(source: IssueSource, return_path: str) -> list[Target]:
    domain = source.sender_domain
    links = [link for link in web_links(source) if len(link.encode()) <= MAX_TARGET_BYTES]
    return [
        (LookupKind.spf, return_path),
        (LookupKind.dkim, domain),
        (LookupKind.dmarc, domain),
        *((LookupKind.link, link) for link in links),
    ]
