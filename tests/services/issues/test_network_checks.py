"""Looking up an issue's links and its sender's records: ordered by a row, carried out once, shared by all issues."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from mailer.adapters.dkim import Key, new_private_key
from mailer.adapters.dns import DnsResolver
from mailer.bootstrap import Container
from mailer.domain.composition import IssueSource
from mailer.domain.dkim import KeyKind
from mailer.domain.issue_links import web_links
from mailer.domain.network_checks import LookupKind, LookupOutcome, LookupResult
from mailer.domain.sender_records import DkimKey
from mailer.domain.staff_texts import StaffText
from mailer.models import Issue
from mailer.services.issues import compile, edit, network_checks
from mailer.services.issues.network_checks import NetworkTools, TooSoon
from mailer.settings_values import DkimKeySettings
from mailer.store import issues
from tests.support.clock import StoppedClock, clock_of
from tests.support.name_server import NameServer, txt

DOMAIN = "example.org"


@pytest.fixture
def app(make_app: Callable[..., Container]) -> Container:
    return make_app({}, clock=StoppedClock())


@pytest.fixture
def source(app: Container, import_issue: Callable[..., int]) -> IssueSource:
    return compile.load_issue(app.database, app.urls, import_issue("en"))


class Links:
    """Finds every link as it should be, but for one, and keeps which ones it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def look_up(self, urls: Iterable[str], save: Callable[[str, LookupResult], None]) -> None:
        self.asked = list(urls)
        for at, url in enumerate(self.asked):
            await asyncio.sleep(0)
            save(url, LookupResult(LookupOutcome.works if at else LookupOutcome.broken, "" if at else "gone"))


def tools(name_server: NameServer, links: Links, *keys: DkimKey) -> NetworkTools:
    return NetworkTools(links.look_up, DnsResolver([name_server.address]).txt, keys)


def run(app: Container, source: IssueSource, used: NetworkTools) -> bool:
    return network_checks.look_up(app.database, source, f"bounces.{DOMAIN}", used, app.clock)


def test_order_is_carried_out_once_and_results_are_shared(
    app: Container, source: IssueSource, name_server: NameServer
) -> None:
    name_server.zones = {
        source.sender_domain: {"TXT": [txt("v=spf1 -all")]},
        f"_dmarc.{source.sender_domain}": {"TXT": [txt("v=DMARC1; p=none")]},
    }
    links = Links()
    assert not run(app, source, tools(name_server, links)), "nobody asked"
    assert network_checks.next_waiting(app.database, app.clock.now()) is None
    network_checks.request(app.database, source.issue, app.clock.now())
    assert network_checks.next_waiting(app.database, app.clock.now()) == source.issue
    before = network_checks.load(app.database, source, DOMAIN)
    assert before.running and before.done == 0 and before.looked_at is None

    assert run(app, source, tools(name_server, links))
    assert links.asked == list(web_links(source)) and links.asked
    assert network_checks.next_waiting(app.database, app.clock.now()) is None
    found = network_checks.load(app.database, source, f"bounces.{DOMAIN}")
    assert not found.running and found.done == len(found.targets) == len(links.asked) + 3
    assert found.looked_at == app.clock.now()
    assert found.count(LookupKind.link) == {LookupOutcome.broken: 1, LookupOutcome.works: len(links.asked) - 1}
    assert found.record(LookupKind.spf)[0] == f"bounces.{DOMAIN}"
    spf = found.results[LookupKind.spf, f"bounces.{DOMAIN}"].result
    assert spf.outcome is LookupOutcome.broken and isinstance(spf.reason, StaffText), "it can be translated"
    assert not run(app, source, tools(name_server, links)), "it is finished"


def test_fresh_results_are_not_looked_up_again_and_orders_are_limited(
    app: Container, source: IssueSource, name_server: NameServer
) -> None:
    links, second = Links(), Links()
    network_checks.request(app.database, source.issue, app.clock.now())
    assert run(app, source, tools(name_server, links))
    first = len(name_server.queries)
    with pytest.raises(TooSoon):
        network_checks.request(app.database, source.issue, app.clock.now())
    clock_of(app).advance(minutes=3)
    network_checks.request(app.database, source.issue, app.clock.now())
    assert run(app, source, tools(name_server, second))
    assert second.asked == [] and len(name_server.queries) == first, "all are fresh"
    found = network_checks.load(app.database, source, f"bounces.{DOMAIN}")
    assert found.done == len(found.targets)
    clock_of(app).advance(minutes=11)
    network_checks.request(app.database, source.issue, app.clock.now())
    assert run(app, source, tools(name_server, links))
    assert len(name_server.queries) > first and links.asked == list(web_links(source))


def test_order_of_a_lost_worker_is_taken_over(app: Container, source: IssueSource, name_server: NameServer) -> None:
    class Killed(Links):
        async def look_up(self, urls: Iterable[str], save: Callable[[str, LookupResult], None]) -> None:
            raise KeyboardInterrupt

    network_checks.request(app.database, source.issue, app.clock.now())
    with pytest.raises(KeyboardInterrupt):
        run(app, source, tools(name_server, Killed()))
    assert network_checks.next_waiting(app.database, app.clock.now()) is None
    assert not run(app, source, tools(name_server, Links())), "another worker seems to have it"
    clock_of(app).advance(minutes=3)
    with pytest.raises(TooSoon):  # the worker is not lost yet
        network_checks.request(app.database, source.issue, app.clock.now())
    assert not run(app, source, tools(name_server, Links()))
    clock_of(app).advance(minutes=11)
    assert network_checks.next_waiting(app.database, app.clock.now()) == source.issue
    assert run(app, source, tools(name_server, Links()))


def test_lookups_of_one_issue_wait_for_those_of_another(
    app: Container, source: IssueSource, name_server: NameServer
) -> None:
    with app.database.transaction() as session:
        row = issues.by_id(session, source.issue)
        another = Issue(newsletter_id=row.newsletter_id, number="2026/9", issue_date=row.issue_date)
        session.add(another)
        session.flush()
        other = another.id
    network_checks.request(app.database, source.issue, app.clock.now())
    clock_of(app).advance(seconds=1)
    network_checks.request(app.database, other, app.clock.now())
    assert network_checks.next_waiting(app.database, app.clock.now()) == source.issue
    during: list[int | None] = []

    class Watching(Links):
        async def look_up(self, urls: Iterable[str], save: Callable[[str, LookupResult], None]) -> None:
            during.append(network_checks.next_waiting(app.database, app.clock.now()))

    assert run(app, source, tools(name_server, Watching()))
    assert during == [None]
    assert network_checks.next_waiting(app.database, app.clock.now()) == other


def test_without_dns_records_are_not_checked(app: Container, source: IssueSource) -> None:
    async def deaf(_: str) -> list[str]:
        raise OSError("DNS did not answer")

    network_checks.request(app.database, source.issue, app.clock.now())
    assert run(app, source, NetworkTools(Links().look_up, deaf, [DkimKey(DOMAIN, "s1")]))
    found = network_checks.load(app.database, source, f"bounces.{DOMAIN}")
    outcomes = found.count(LookupKind.spf, LookupKind.dkim, LookupKind.dmarc)
    assert outcomes == {LookupOutcome.not_checked: 3}


def test_order_goes_with_its_draft_and_results_with_time(
    app: Container, source: IssueSource, name_server: NameServer
) -> None:
    network_checks.request(app.database, source.issue, app.clock.now())
    assert run(app, source, tools(name_server, Links()))
    network_checks.delete_old(app.database, app.clock.now() + network_checks.KEPT)
    assert network_checks.load(app.database, source, DOMAIN).results
    network_checks.delete_old(app.database, app.clock.now() + network_checks.KEPT + timedelta(seconds=1))
    assert not network_checks.load(app.database, source, DOMAIN).results
    edit.delete_draft(app.database, source.issue, "tests")
    assert network_checks.load(app.database, source, DOMAIN).requested_at is None


def test_tools_of_the_service_ask_the_name_servers_of_its_settings(
    make_app: Callable[..., Container], app: Container, source: IssueSource, name_server: NameServer, tmp_path: Path
) -> None:
    """With our key: the record that `mailer dkim key` prints is found to be ours."""
    pem, domain = new_private_key(KeyKind.ed25519), source.sender_domain
    (tmp_path / "key.pem").write_bytes(pem)
    name_server.zones = {
        f"s1._domainkey.{domain}": {"TXT": [txt(Key(domain, "s1", pem).txt_record)]},
        f"_dmarc.{domain}": {"TXT": [txt("v=DMARC1; p=reject")]},
        domain: {"TXT": [txt("v=spf1 -all")]},
    }
    key = DkimKeySettings(domain=domain, selector="s1", key_file=tmp_path / "key.pem")
    server = ":".join(map(str, name_server.address))
    with make_app({"dns_servers": server, "dkim": [key]}, clock=app.clock) as other:
        network_checks.request(app.database, source.issue, app.clock.now())
        assert network_checks.look_up(other.database, source, domain, other.network_tools, other.clock)
    found = network_checks.load(app.database, source, domain)
    assert found.count(LookupKind.spf, LookupKind.dkim, LookupKind.dmarc) == {LookupOutcome.works: 3}
    assert found.count(LookupKind.link) == {LookupOutcome.broken: len(web_links(source))}
    reasons = {stored.result.reason for (kind, _), stored in found.results.items() if kind is LookupKind.link}
    assert all(reason.endswith("does not exist") for reason in reasons)
