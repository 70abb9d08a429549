"""The settings of a relay: the server that takes our mail."""

from dataclasses import dataclass, field
from enum import StrEnum


class Tls(StrEnum):
    """How the connection is protected. Certificates are checked in both cases, and a relay that does
    not offer what is asked for here is not used."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each step. From ``greeting`` on, RFC 5321 4.5.3.2 gives the values; it is
    silent on ``connect``, ``session`` (each reply to EHLO, STARTTLS and AUTH, and the TLS handshake)
    and ``quit``."""

    connect: float = 30
    session: float = 60
    greeting: float = 300
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    final: float = 600
    quit: float = 5


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to hand messages over, and how.

    ``max_connections`` is the most that one process keeps open; each is replaced after
    ``max_messages_per_connection``. A connection that was idle for longer than ``max_idle_seconds`` is not used
    again. The password goes in the clear when ``tls`` is none. ``pipelining`` off means that it is not
    used even where it is offered.
    """

    name: str
    host: str
    port: int = 25
    tls: Tls = Tls.NONE
    username: str = ""
    password: str = field(default="", repr=False)
    max_connections: int = 4
    max_messages_per_connection: int = 10_000
    max_idle_seconds: float = 30
    ehlo_name: str = "localhost"
    pipelining: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
