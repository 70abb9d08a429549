"""The settings of a relay: the SMTP server that accepts our mail for delivery."""

from dataclasses import dataclass, field
from enum import StrEnum

from mailer.domain.relay_routes import host_and_port


class Tls(StrEnum):
    """How the connection is encrypted.

    With ``STARTTLS`` and ``IMPLICIT`` the certificate is verified, and a relay without TLS is not used.
    """

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait in each step of a session.

    The values from ``greeting`` to ``final`` are those of RFC 5321 4.5.3.2. ``session`` applies to each reply to
    EHLO, STARTTLS and AUTH and to the TLS handshake, ``block`` to each chunk of a body.
    """

    connect: float = 30
    session: float = 60
    greeting: float = 300
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    final: float = 600
    quit: float = 5

    @property
    def transfer(self) -> float:
        """The longest that a transfer may take, with the wait for a connection and for the final dot before its own."""
        opening = self.connect + self.greeting + self.session
        return opening + self.final + self.mail + self.rcpt + self.data + self.block + self.final


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay and how to connect to it.

    A process keeps ``min_connections`` to ``max_connections`` open, as many as bring more throughput; each is replaced
    after ``max_messages_per_connection``, and closed after ``max_idle_seconds`` without a message. Without TLS the
    password is sent in clear text. ``pipelining`` False disables PIPELINING even if the relay offers it. ``window`` is
    how many messages may be in flight on a connection if the relay offers PIPELINING and CHUNKING.
    """

    name: str
    host: str
    port: int = 25
    tls: Tls = Tls.NONE
    username: str = ""
    password: str = field(default="", repr=False)
    min_connections: int = 4
    max_connections: int = 32
    max_messages_per_connection: int = 10_000
    max_idle_seconds: float = 30
    ehlo_name: str = "localhost"
    pipelining: bool = True
    window: int = 1
    timeouts: Timeouts = field(default_factory=Timeouts)

    @property
    def address(self) -> str:
        """``host:port``, for people."""
        return host_and_port(self.host, self.port)
