"""What SPF, DKIM and DMARC records are found to say, asked of a name server on this machine."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from mailer.adapters.dns import DnsResolver
from mailer.domain.network_checks import LookupOutcome, LookupResult
from mailer.domain.sender_records import DkimKey, TxtLookup, check_dkim, check_dmarc, check_spf
from tests.support.name_server import NameServer, txt


@pytest.fixture
def lookup(name_server: NameServer) -> TxtLookup:
    return DnsResolver([name_server.address]).txt


def publish(name_server: NameServer, records: Mapping[str, str | Sequence[str]]) -> None:
    name_server.zones = {
        name: {"TXT": [txt(record) for record in ([found] if isinstance(found, str) else found)]}
        for name, found in records.items()
    }


def outcome(result: LookupResult) -> tuple[LookupOutcome, str]:
    return result.outcome, result.reason


WORKS = (LookupOutcome.works, "")


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ({"example.org": ["v=spf1 mx -all", "google-site-verification=x"]}, ""),
        ({"example.org": "v=spf1 include:esp.example ~all", "esp.example": "v=spf1 ip4:192.0.2.0/24 -all"}, ""),
        ({"example.org": "v=spf1 redirect=esp.example", "esp.example": "v=spf1 a/24 -all"}, ""),
        ({"example.org": "v=spf1 include:%{d}.esp.example -all"}, ""),
        ({"example.org": "v=spf1 include:example.org -all"}, ""),
        ({"example.org": "v=spf10 -all"}, "has no SPF record"),
        ({}, "has no SPF record"),
        ({"example.org": ["v=spf1 -all", "V=SPF1 mx -all"]}, "has 2 SPF records"),
        ({"example.org": "v=spf1 include:esp.example -all"}, "includes esp.example, which has none"),
        ({"example.org": "v=spf1 +all"}, "lets every host send for it"),
        ({"example.org": "v=spf1 all"}, "lets every host send for it"),
        ({"example.org": "v=spf1 " + " ".join(f"a:h{n}.example" for n in range(10)) + " -all"}, ""),
        ({"example.org": "v=spf1 " + " ".join(f"a:h{n}.example" for n in range(11)) + " -all"}, "more than 10 DNS"),
        (
            {"example.org": "v=spf1 include:s0.example"}
            | {f"s{n}.example": f"v=spf1 include:s{n + 1}.example -all" for n in range(40)},
            "more than 10 DNS",
        ),
    ],
)  # fmt: skip
def test_spf(
    name_server: NameServer, lookup: TxtLookup, records: Mapping[str, str | Sequence[str]], problem: str
) -> None:
    publish(name_server, records)
    result = asyncio.run(check_spf("example.org", lookup))
    assert problem in result.reason if problem else outcome(result) == WORKS
    assert result.outcome is (LookupOutcome.broken if problem else LookupOutcome.works)


OURS = DkimKey("example.org", "s1", "v=DKIM1; k=ed25519; p=AAAA")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("v=DKIM1; k=ed25519; p=AA AA", ""),
        (["v=DKIM1; p=BBBB", "p=AAAA"], ""),
        ("v=DKIM1; p=BBBB", "is of another key than ours"),
        ("v=DKIM1; p=", "is revoked"),
        ("v=spf1 -all", "there is no DKIM record at s1._domainkey.example.org"),
        ([], "there is no DKIM record"),
    ],
)
def test_dkim(name_server: NameServer, lookup: TxtLookup, record: str | Sequence[str], problem: str) -> None:
    publish(name_server, {"s1._domainkey.example.org": record})
    result = asyncio.run(check_dkim([OURS], lookup))
    assert problem in result.reason if problem else outcome(result) == WORKS
    assert result.outcome is (LookupOutcome.broken if problem else LookupOutcome.works)


def test_key_that_this_host_does_not_have_is_only_looked_for(name_server: NameServer, lookup: TxtLookup) -> None:
    publish(name_server, {"s1._domainkey.example.org": "v=DKIM1; p=BBBB"})
    assert outcome(asyncio.run(check_dkim([DkimKey("example.org", "s1")], lookup))) == WORKS
    assert asyncio.run(check_dkim([], lookup)).outcome is LookupOutcome.unclear


@pytest.mark.parametrize(
    ("domain", "return_path", "keys", "records", "problem"),
    [
        ("example.org", "example.org", [], {"example.org": "v=DMARC1; p=none"}, ""),
        ("example.org", "bounces.example.org", [], {"example.org": "v=DMARC1; p=reject"}, ""),
        ("news.example.org", "bounces.example.org", [], {"example.org": "v=DMARC1; p=reject"}, ""),
        ("example.org", "esp.example", ["example.org"], {"example.org": "v=DMARC1; adkim=s"}, ""),
        ("example.org", "bounces.example.org", ["x.org"], {"example.org": "v=DMARC1; aspf=s"}, "nor a DKIM"),
        ("example.org", "esp.example", ["esp.example"], {"example.org": "v=DMARC1; p=none"}, "nor a DKIM key of ours"),
        ("news.example.org", "b.example.org", ["example.org"], {"news.example.org": "v=DMARC1;adkim=s"}, "nor a DKIM"),
        ("example.org", "esp.example", [], {"example.org": "v=DMARC1; p=none"}, "only if the relay signs"),
        ("example.org", "other.org", ["other.org"], {"org": "v=DMARC1; psd=y"}, "nor a DKIM key of ours"),
        ("example.org", "example.org", [], {"example.org": ["v=DMARC1", "v=DMARC1; p=none"]}, "has 2 DMARC records"),
        ("example.org", "example.org", [], {"example.org": "v=DMARC12"}, "has no DMARC record"),
        ("example.org", "example.org", [], {}, "has no DMARC record"),
    ],
)  # fmt: skip
def test_dmarc(
    name_server: NameServer,
    lookup: TxtLookup,
    domain: str,
    return_path: str,
    keys: Sequence[str],
    records: Mapping[str, str | Sequence[str]],
    problem: str,
) -> None:
    publish(name_server, {f"_dmarc.{owner}": found for owner, found in records.items()})
    ours = [DkimKey(key, "s1") for key in keys]
    result = asyncio.run(check_dmarc(domain, return_path, ours, lookup))
    assert problem in result.reason if problem else outcome(result) == WORKS
    without_key = LookupOutcome.unclear if problem == "only if the relay signs" else LookupOutcome.broken
    assert result.outcome is (without_key if problem else LookupOutcome.works)


def test_dmarc_of_a_long_name_is_looked_for_at_most_eight_times(name_server: NameServer, lookup: TxtLookup) -> None:
    publish(name_server, {})
    name_server.queries.clear()
    domain = ".".join(f"l{n}" for n in range(30)) + ".example.org"
    assert asyncio.run(check_dmarc(domain, domain, [], lookup)).outcome is LookupOutcome.broken
    assert len(name_server.queries) == 8 and name_server.queries[-1][0] == "_dmarc.org"
