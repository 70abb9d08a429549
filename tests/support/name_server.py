"""A name server on this machine, over UDP."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Sequence[str]]
"""Type → values: ``{"A": ["127.0.0.1"]}``."""


@dataclass(slots=True)
class NameServer:
    port: int
    zones: dict[str, Records] = field(default_factory=dict)
    """Records by name; a name that is not among them does not exist."""
    successors: dict[str, Records] = field(default_factory=dict)
    """Records that a name has as soon as it was asked for once, as an attacker's server would have it."""
    queries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


def txt(text: str) -> str:
    """Return a TXT record, in strings of at most 255 octets."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


@contextmanager
def running_name_server() -> Iterator[NameServer]:
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
            name, kind = str(question.name).rstrip("."), dns.rdatatype.to_text(question.rdtype)
            server.queries.append((name, kind))
            records = server.zones.get(name)
            if records is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif found := records.get(kind):
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
                if name in server.successors:
                    server.zones[name] = server.successors[name]
            listener.sendto(reply.to_wire(), client)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", server.address)
        thread.join(5)
        listener.close()
