"""Asking a name server that really answers, on this machine."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from mailer.adapters.dns import DnsResolver, LookupFailed, MxResolver
from tests.support.name_server import NameServer, txt


def test_the_preferred_mail_server_is_the_one_with_the_lowest_number(name_server: NameServer) -> None:
    name_server.zones = {
        "example.org": {"MX": ["20 b.example.net.", "5 A.Example.net.", "30 c.example.net."]},
        "none.example": {},
    }
    servers = MxResolver([name_server.address])
    assert servers.preferred_host("example.org") == "a.example.net"
    assert servers.preferred_host("none.example") == ""
    assert servers.preferred_host("nobody.example") == ""
    assert servers.preferred_host("a..b") == ""


def test_timeout_raises_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(LookupFailed, match=r"example\.org"):
            MxResolver([deaf.getsockname()], 0.2).preferred_host("example.org")
        with pytest.raises(LookupFailed, match=r"example\.org"):
            asyncio.run(DnsResolver([deaf.getsockname()], 0.2).txt("example.org"))


def test_all_addresses_of_a_host_are_found(name_server: NameServer) -> None:
    name_server.zones = {"example.org": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]}, "none.example": {}}
    resolver = DnsResolver([name_server.address])
    found = asyncio.run(resolver.addresses("example.org"))
    assert set(found) == {ip_address(one) for one in ("192.0.2.1", "192.0.2.2", "2001:db8::1")}
    assert asyncio.run(resolver.addresses("none.example")) == []
    assert asyncio.run(resolver.addresses("nobody.example")) == []
    assert asyncio.run(resolver.addresses("a..b")) == []
    assert asyncio.run(resolver.addresses("a" * 64 + ".example")) == []


def test_strings_of_a_txt_record_are_joined(name_server: NameServer) -> None:
    name_server.zones = {"example.org": {"TXT": [txt("x" * 300), txt("second")]}}
    assert sorted(asyncio.run(DnsResolver([name_server.address]).txt("example.org"))) == ["second", "x" * 300]
