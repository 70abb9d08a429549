"""Types of settings: rates, hosts, relays, keys and providers, with their limits."""

import re
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

DNS_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
DOMAIN = rf"{DNS_LABEL}(\.{DNS_LABEL})*"


def server_url(value: str) -> SplitResult:
    """Return the parts of a server's URL. Raises ValueError, without the value: it may hold a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "has no valid port. In a user name or password, write / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
        ) from None
    return parts


_UNIT_SECONDS = {"s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "day": 86_400}


def read_rate(text: str) -> float:
    """Return messages a second from ``50/s``, ``600/min``, ``20000/h``, ``100000/day``, or ``50`` (a second).

    0 or an empty text means no limit. Raises ValueError.
    """
    number, slash, unit = text.partition("/")
    try:
        rate = float(number or 0) / (_UNIT_SECONDS[unit.strip()] if slash else 1)
    except (ValueError, KeyError):
        rate = -1.0
    if not 0 <= rate < 1e9:
        raise ValueError(f"“{text}” is not a rate such as 50/s, 600/min, 20000/h or 100000/day")
    return rate


Rate = Annotated[float, BeforeValidator(lambda value: read_rate(value) if isinstance(value, str) else value)]
"""Messages a second; 0 for no limit."""


def without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


Host = Annotated[str, AfterValidator(without_brackets)]
"""A host name or an IP address. IPv6 may be written in brackets."""


def login_problem(host: str, tls: str, username: str, allowed: bool) -> str:
    """Return why a login would send the password in clear text over a network, or an empty string."""
    if not username or tls != "none" or allowed or host == "localhost":
        return ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return "" if loopback else f"without TLS, the password would go to {host} in clear text"


_NAME_SERVER = re.compile(r"\[(?P<v6>[0-9a-fA-F:]+)\](:(?P<port6>\d{1,5}))?|(?P<v4>[0-9.]+)(:(?P<port4>\d{1,5}))?")


def read_name_servers(written: str) -> list[tuple[str, int]]:
    """Return the address and port of each server. Raises ValueError."""
    servers = []
    for server in filter(None, (part.strip() for part in written.split(","))):
        found = _NAME_SERVER.fullmatch(server)
        try:
            port = int(found["port6"] or found["port4"] or 53) if found else 0
            if not found or not 1 <= port <= 65535:
                raise ValueError
            servers.append((str(ip_address(found["v6"] or found["v4"])), port))
        except ValueError:
            raise ValueError("must be comma-separated addresses, such as 192.0.2.1 or [2001:db8::1]:5353") from None
    return servers


TimeoutName = Literal["connect", "session", "greeting", "mail", "rcpt", "data", "block", "final", "quit"]

TimeoutSeconds = Annotated[float, Field(gt=0, le=3600)]


class DkimKeySettings(BaseModel):
    """A DKIM key: the file of its private half, and the DNS name of its public half."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    selector: str
    key_file: Path

    @field_validator("domain", "selector")
    @classmethod
    def _dns_labels(cls, value: str) -> str:
        if len(value) > 200 or not re.fullmatch(DOMAIN, value):
            raise ValueError(
                "must be letters, digits and hyphens, separated by dots; write an international domain in its xn-- form"
            )
        return value


ConnectionCount = Annotated[int, Field(ge=1, le=200)]

WindowSize = Annotated[int, Field(ge=1, le=100)]

MessageCount = Annotated[int, Field(ge=1)]

IdleSeconds = Annotated[float, Field(ge=0, le=3600)]


class WarmUpSettings(BaseModel):
    """Warm-up for a new sending IP: ``first_day_limit`` messages, then ``daily_factor`` times more each day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starts_on: date
    first_day_limit: int = Field(ge=1)
    daily_factor: float = Field(1.5, ge=1, le=10)


class RelaySettings(BaseModel):
    """An SMTP relay. A relay with weight 0 is a spare, used if no other can be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$")
    host: Host
    port: int = Field(25, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str = ""
    password: SecretStr = SecretStr("")
    password_in_clear_text: bool = False
    connections: ConnectionCount = 32
    window: WindowSize = 1
    weight: float = Field(1, ge=0)
    rate: Rate = 0
    warm_up: WarmUpSettings | None = None
    messages_per_connection: MessageCount = 10_000
    idle_seconds: IdleSeconds = 30
    pipelining: bool = True
    timeouts: dict[TimeoutName, TimeoutSeconds] = {}

    @model_validator(mode="after")
    def _safe_login(self) -> "RelaySettings":
        if problem := login_problem(self.host, self.tls, self.username, self.password_in_clear_text):
            raise ValueError(f"{problem}; set “tls”, or “password_in_clear_text”: true")
        return self


class ProviderSettings(BaseModel):
    """A group of receiving domains that share mail servers.

    Domains whose MX host matches a pattern in ``mx`` belong to it too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,40}$")
    domains: list[str] = []
    mx: list[str] = []
    rate: Rate = 0

    @field_validator("domains", "mx")
    @classmethod
    def _domain_patterns(cls, value: list[str]) -> list[str]:
        for domain in value:
            if not re.fullmatch(rf"(\*\.)?{DOMAIN}", domain):
                raise ValueError(f"“{domain}” is not a domain; write an international one in its xn-- form")
        return [domain.lower() for domain in value]
