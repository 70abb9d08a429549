"""The settings, read once from environment variables and validated.

A variable's name is ``MAILER_`` and the field's name in capitals. docs/settings.md lists them all; a test
compares it with this module.
"""

import json
import re
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from mailer.settings_values import (
    DNS_LABEL,
    DOMAIN,
    ConnectionCount,
    DkimKeySettings,
    Host,
    IdleSeconds,
    MessageCount,
    ProviderSettings,
    Rate,
    RelaySettings,
    TimeoutName,
    TimeoutSeconds,
    WindowSize,
    login_problem,
    read_name_servers,
    server_url,
    without_brackets,
)

ROOT = Path(__file__).resolve().parent.parent


PICTURE_STORE = re.compile(r"file:///[^?#]+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")
"""Where pictures can be kept outside the database."""


class SettingsError(ValueError):
    """An invalid MAILER_ variable. The message names it."""


class Settings(BaseSettings):
    """The settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="MAILER_", env_ignore_empty=True, extra="ignore", frozen=True, enable_decoding=False
    )

    database_url: str = Field(
        "",
        description="PostgreSQL, `postgresql://user:password@host/name`. "
        "Empty: an embedded server in the state folder.",
    )
    redis_url: str = Field(
        "",
        description="Redis or Valkey, `redis://host:6379/0`. Empty: an embedded server in the state folder.",
    )
    state_dir: Path = Field(
        Path(".local"),
        description="Folder for embedded servers and the workers' journals. Give each host a persistent one.",
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Key of the links in emails, 32 bytes or more. Empty: one is made in the state folder, for the"
        " embedded database only.",
    )
    previous_secret_keys: list[SecretStr] = Field(
        [], description="Earlier keys, as a JSON list, the newest first: links made with them still work."
    )
    public_url: str = Field(
        "http://127.0.0.1:8025",
        description="Where readers reach the web pages; links and pictures in emails start with it.",
    )
    bounce_domain: str = Field(
        "", description="Domain of the return path. Empty: the domain of the newsletter's sender."
    )
    smtp_host: Host = Field("127.0.0.1", description="Host name of the relay.")
    smtp_port: int = Field(1025, ge=1, le=65535, description="The relay's port.")
    smtp_tls: Literal["none", "starttls", "implicit"] = Field(
        "none", description="Encryption towards the relay; certificates are checked."
    )
    smtp_username: str = Field("", description="User name at the relay; empty for none.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password at the relay.")
    smtp_password_in_clear_text: bool = Field(
        False, description="Whether a login without TLS is allowed at a relay that is not on this host."
    )
    smtp_connections: ConnectionCount = Field(
        32,
        description="The most connections per worker process: as many are open as bring more throughput.",
    )
    smtp_window: WindowSize = Field(
        1,
        description="Messages in flight on a connection where the relay offers PIPELINING and CHUNKING. "
        "As many may become uncertain when it is lost.",
    )
    smtp_ehlo_name: str = Field(
        "",
        description="Name given in EHLO. Empty: the host's own name if it has a dot, or else the host of "
        "`MAILER_PUBLIC_URL`.",
    )
    smtp_messages_per_connection: MessageCount = Field(
        10_000, description="Messages after which a connection is replaced by another."
    )
    smtp_idle_seconds: IdleSeconds = Field(
        30, description="Seconds without a message after which a connection is closed."
    )
    smtp_pipelining: bool = Field(
        True, description="Whether to write several commands at once where the relay offers PIPELINING."
    )
    smtp_timeouts: dict[TimeoutName, TimeoutSeconds] = Field(
        {},
        description='Seconds to wait in steps of a session, as a JSON object such as `{"connect": 10, "final": 300}`. '
        "The others keep those of RFC 5321.",
    )
    smtp_rate: Rate = Field(0.0, description="Rate limit of the relay, such as `50/s` or `20000/h`. Empty: no limit.")
    relays: list[RelaySettings] = Field(
        [],
        description="Several relays, as a JSON list; they replace `MAILER_SMTP_*`, except for the EHLO name. "
        "See [the relay](operations.md#the-relay).",
    )
    providers: list[ProviderSettings] = Field(
        [
            ProviderSettings(
                name="Gmail", domains=["gmail.com", "googlemail.com"], mx=["*.google.com", "*.googlemail.com"]
            ),
            ProviderSettings(
                name="Microsoft",
                domains=["outlook.com", "hotmail.com", "live.com", "msn.com"],
                mx=["*.protection.outlook.com"],
            ),
            ProviderSettings(name="Yahoo", domains=["yahoo.com", "ymail.com", "aol.com"], mx=["*.yahoodns.net"]),
        ],
        description="Groups of receiving domains, as a JSON list of `name`, `domains`, `mx` and `rate`.",
    )
    domain_rate: Rate = Field(
        0.0, description="Rate limit of each other receiving domain, such as `10/s`. Empty: no limit."
    )
    dkim: list[DkimKeySettings] = Field(
        [],
        description="Keys that sign the mail, as a JSON list of `domain`, `selector` and `key_file`. "
        "Empty: the relay signs.",
    )
    batch_size: int = Field(1000, ge=1, le=20_000, description="Readers per batch, the unit that a worker claims.")
    lease_seconds: int = Field(
        120,
        ge=5,
        le=3600,
        description="How long a claim on a batch lasts unless the worker renews it.",
    )
    host_grace_seconds: int = Field(
        300,
        ge=0,
        le=86_400,
        description=(
            "After the lease of a batch ended, how long only its own host may take it over. Only that host has the "
            "journal, which tells what was sent; another host makes everything that was in flight uncertain."
        ),
    )
    min_backoff_seconds: int = Field(
        120,
        ge=1,
        le=14400,
        description="Wait before a deferred delivery is retried; doubled after each attempt, up to 4 hours.",
    )
    queue_lifetime_hours: float = Field(
        108,
        gt=0,
        le=240,
        description="Total wait between attempts after which a deferred delivery fails (RFC 5321, 4.5.4.1).",
    )
    network_checks: bool = Field(
        True,
        description="Let workers look up the links of an issue and the DNS records of its sender, when somebody asks "
        "for it in the check. Set it to false on hosts without network access.",
    )
    dns_servers: str = Field(
        "",
        description="Name servers to ask, as comma-separated addresses, each with its port if that is not 53: "
        "`192.0.2.1,[2001:db8::1]:5353`. Empty: those of the host.",
    )
    web_host: Host = Field("127.0.0.1", description="Address that the web server listens on.")
    web_port: int = Field(8025, ge=0, le=65535, description="Port that the web server listens on.")
    web_trusted_proxies: str = Field(
        "127.0.0.1",
        description="Proxies in front of the web server, as comma-separated addresses or networks: their "
        "`X-Forwarded-For` is trusted, and rate limits use the address in it.",
    )
    web_staff: bool = Field(
        True, description="Serve the pages for staff too, not only those for readers: the desk and the control room."
    )
    web_components: bool = Field(
        False, description="Serve `/desk/components`, which shows every component of the pages for staff to designers."
    )
    openid_issuer: str = Field(
        "",
        description="Provider of OpenID Connect where staff can sign in: its issuer, an `https` URL. "
        "See [signing in with OpenID Connect](operations.md#signing-in-with-openid-connect). Empty: passwords only.",
    )
    openid_client_id: str = Field("", description="What the provider calls this service.")
    openid_client_secret: SecretStr = Field(
        SecretStr(""), description="This service's password at the provider. Empty: a public client."
    )
    openid_name: str = Field(
        "",
        max_length=40,
        description="The provider's name, for the link “Sign in with …”. Empty: the host of `MAILER_OPENID_ISSUER`.",
    )
    subscribe_pow_bits: int = Field(
        0,
        ge=0,
        le=24,
        description="Proof of work that a browser computes for the sign-up form, in bits (each doubles the "
        "work; 16 take a second or two). It makes sign-ups in bulk cost computing time, and proves no person. "
        "0: none.",
    )
    retention_requests_days: int = Field(
        7,
        ge=7,
        le=365,
        description="Days after which an unconfirmed sign-up or change of address is deleted.",
    )
    retention_transactional_days: int = Field(
        30, ge=1, le=3650, description="Days after which the record of a transactional email is deleted."
    )
    retention_feedback_days: int = Field(
        730,
        ge=0,
        le=36500,
        description="Days after which feedback is no longer linked to a reader; it still counts. 0: never.",
    )
    retention_deliveries_days: int = Field(
        730,
        ge=0,
        le=36500,
        description="Days after which a finished delivery keeps only the codes of the relay's reply. 0: never.",
    )
    retention_inactive_days: int = Field(
        1095,
        ge=0,
        le=36500,
        description="Days after which a reader without subscriptions is erased. 0: never.",
    )
    max_picture_bytes: int = Field(
        30_000_000, ge=10_000, description="Size of the largest picture file that can be imported. It is scaled down."
    )

    picture_store: str = Field(
        "",
        description="Where the bytes of pictures are kept: `file:///folder`, or `s3://bucket/prefix` with the usual "
        "`AWS_…` variables. Empty: in the database. See [operations.md](operations.md#where-pictures-are-kept).",
    )

    @field_validator("previous_secret_keys", "dkim", "relays", "providers", "smtp_timeouts", mode="before")
    @classmethod
    def _parse_json(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        kind, empty = ("object", "{}") if info.field_name == "smtp_timeouts" else ("list", "[]")
        try:
            return json.loads(value or empty)
        except json.JSONDecodeError as error:
            raise ValueError(f"must be a JSON {kind} ({error})") from None

    @field_validator("bounce_domain", "smtp_ehlo_name")
    @classmethod
    def _dns_name(cls, value: str) -> str:
        if value and not re.fullmatch(DOMAIN, value):
            raise ValueError("must be a name such as mail.example.org; write an international one in its xn-- form")
        return value

    @field_validator("picture_store")
    @classmethod
    def _picture_store(cls, value: str) -> str:
        if value and not PICTURE_STORE.fullmatch(value):
            raise ValueError("must be file:///folder or s3://bucket/prefix")
        return value.rstrip("/")

    @field_validator("dns_servers")
    @classmethod
    def _valid_name_servers(cls, value: str) -> str:
        read_name_servers(value)
        return value

    @property
    def name_servers(self) -> list[tuple[str, int]]:
        """The addresses and ports of ``dns_servers``."""
        return read_name_servers(self.dns_servers)

    @field_validator("web_trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        names = [without_brackets(name.strip()) for name in value.split(",") if name.strip()]
        try:
            return ",".join(str(ip_network(name)).removesuffix("/32").removesuffix("/128") for name in names)
        except ValueError:
            raise ValueError("must be comma-separated addresses or networks, such as 127.0.0.1 or 10.0.0.0/8") from None

    @field_validator("previous_secret_keys")
    @classmethod
    def _min_key_lengths(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(key.get_secret_value().encode()) < 32 for key in value):
            raise ValueError("each key must be 32 bytes or more")
        return value

    @field_validator("public_url")
    @classmethod
    def _absolute_url(cls, value: str) -> str:
        url = urlsplit(value)
        valid = re.fullmatch(
            rf"({DNS_LABEL}(\.{DNS_LABEL})*|\[[0-9a-fA-F:]+\])(:\d{{1,5}})?(/[A-Za-z0-9._~/-]*)?",
            url.netloc + url.path,
        )
        if url.scheme not in ("http", "https") or not valid or url.query or url.fragment or url.port == 0:
            raise ValueError("must be an absolute http or https URL, such as https://news.example.org")
        return value.rstrip("/")

    @field_validator("openid_issuer")
    @classmethod
    def _secure_issuer(cls, value: str) -> str:
        url = urlsplit(value)
        secure = url.scheme == "https" or (url.scheme, url.hostname) in (("http", "localhost"), ("http", "127.0.0.1"))
        if value and not (secure and url.hostname and not url.query and not url.fragment):
            raise ValueError("must be an https URL, spelled as the provider spells it")
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: str) -> str:
        if value and server_url(value).scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError("must begin with postgresql://")
        return value.replace("postgres://", "postgresql://", 1) if value.startswith("postgres://") else value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and server_url(value).scheme not in ("redis", "rediss", "redis+socket", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("secret_key")
    @classmethod
    def _min_key_length(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must be 32 bytes or more")
        return value

    @model_validator(mode="after")
    def _safe_login(self) -> "Settings":
        problem = login_problem(
            self.smtp_host, self.smtp_tls, self.smtp_username, self.smtp_password_in_clear_text or bool(self.relays)
        )
        if problem:
            raise ValueError(f"MAILER_SMTP_TLS: {problem}; set it, or MAILER_SMTP_PASSWORD_IN_CLEAR_TEXT=true")
        return self

    @model_validator(mode="after")
    def _known_client(self) -> "Settings":
        if self.openid_issuer and not self.openid_client_id:
            raise ValueError("MAILER_OPENID_CLIENT_ID: must be set together with MAILER_OPENID_ISSUER")
        return self

    @model_validator(mode="after")
    def _unique_names(self) -> "Settings":
        for variable, names in (
            ("MAILER_RELAYS", [relay.name for relay in self.relays]),
            ("MAILER_PROVIDERS", [provider.name.lower() for provider in self.providers]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{variable}: two have the same name")
        if self.relays and not any(relay.weight for relay in self.relays):
            raise ValueError("MAILER_RELAYS: at least one must have a weight above 0")
        return self

    @property
    def all_relays(self) -> list[RelaySettings]:
        """The relays of ``MAILER_RELAYS``, or the one of ``MAILER_SMTP_*`` if there are none."""
        return self.relays or [
            RelaySettings(
                name="relay",
                host=self.smtp_host,
                port=self.smtp_port,
                tls=self.smtp_tls,
                username=self.smtp_username,
                password=self.smtp_password,
                password_in_clear_text=self.smtp_password_in_clear_text,
                connections=self.smtp_connections,
                window=self.smtp_window,
                messages_per_connection=self.smtp_messages_per_connection,
                idle_seconds=self.smtp_idle_seconds,
                pipelining=self.smtp_pipelining,
                timeouts=self.smtp_timeouts,
                rate=self.smtp_rate,
            )
        ]

    @property
    def openid_label(self) -> str:
        """The name of the provider of OpenID Connect; empty if there is none."""
        return self.openid_name or urlsplit(self.openid_issuer).hostname or ""

    def ehlo_name(self, host_name: str) -> str:
        """Return the name to give in EHLO: a full one, since relays refuse the bare name of a container.

        Without a full name it is the host's address literal (RFC 5321 4.1.3).
        """
        if self.smtp_ehlo_name:
            return self.smtp_ehlo_name
        public_host = urlsplit(self.public_url).hostname or ""
        for name in (host_name, public_host):
            if "." in name and re.fullmatch(DOMAIN, name) and not name.rpartition(".")[2].isdigit():
                return name
        try:
            address = ip_address(public_host)
        except ValueError:  # such as localhost
            return "[127.0.0.1]"
        return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"

    def environment(self) -> dict[str, str]:
        """Return environment variables with these settings for another process. Contains secrets."""

        def plain(value: object) -> object:
            return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

        return {
            f"MAILER_{name.upper()}": json.dumps(value, default=plain)
            if isinstance(value, list | dict)
            else str(plain(value))
            for name, value in self.model_dump().items()
        }


def read_valid_settings() -> tuple[Settings, list[str]]:
    """Read the settings from the environment, with the default in place of each invalid one.

    Return them and the problems, each of which names its variable.
    """
    defaults: dict[str, Any] = {}
    problems: list[str] = []
    while True:
        try:
            return Settings(**defaults), problems
        except ValidationError as error:
            for item in error.errors(include_input=False, include_url=False):
                path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in item["loc"][1:])
                message = item["msg"].removeprefix("Value error, ")
                # A problem of several variables together, whose message names them, has no place.
                problems.append(f"MAILER_{str(item['loc'][0]).upper()}{path}: {message}" if item["loc"] else message)
                for name in item["loc"][:1] or ("relays", "providers", "smtp_username", "openid_issuer"):
                    defaults[str(name)] = Settings.model_fields[str(name)].default


def read_settings() -> Settings:
    """Read the settings from the environment. Raises SettingsError, which names each invalid variable."""
    settings, problems = read_valid_settings()
    if problems:
        raise SettingsError("; ".join(problems))
    return settings
