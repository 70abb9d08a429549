"""Asking a name server that really answers, on this machine."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from mailer.adapters.dns import LookupFailed, MxResolver


@dataclass(slots=True)
class NameServer:
    port: int
    zones: dict[str, list[str]] = field(default_factory=dict)
    """MX records by domain; a domain that is not here does not exist, one without records has none."""


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    server = NameServer(listener.getsockname()[1])

    def answer() -> None:
        while True:
            data, client = listener.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA
            question = query.question[0]
            records = server.zones.get(str(question.name).rstrip("."))
            if records is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif records:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "MX", *records))
            listener.sendto(reply.to_wire(), client)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield server
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", server.port))
    thread.join(5)
    listener.close()


def test_the_preferred_mail_server_is_the_one_with_the_lowest_number(name_server: NameServer) -> None:
    name_server.zones = {
        "example.org": ["20 b.example.net.", "5 A.Example.net.", "30 c.example.net."],
        "none.example": [],
    }
    servers = MxResolver("127.0.0.1", name_server.port)
    assert servers.preferred_host("example.org") == "a.example.net"
    assert servers.preferred_host("none.example") == ""
    assert servers.preferred_host("nobody.example") == ""
    assert servers.preferred_host("a..b") == ""


def test_timeout_raises_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(LookupFailed, match=r"example\.org"):
            MxResolver("127.0.0.1", deaf.getsockname()[1]).preferred_host("example.org")
