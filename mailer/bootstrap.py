"""Puts the service together: settings in, everything that works with them out. Nothing connects here."""

import functools
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from mailer.adapters.catalogues import Catalogues
from mailer.adapters.dkim import BadKey, Key, Signer
from mailer.adapters.dns import MailServers
from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.journal import Journals
from mailer.adapters.limiter import Limiter
from mailer.adapters.links import WebLinks
from mailer.adapters.mjml import Renderer
from mailer.adapters.notes import NoteRenderer
from mailer.adapters.outbox import Outbox
from mailer.adapters.pictures import Fit, fit
from mailer.adapters.smtp import Relay, Tls
from mailer.adapters.telemetry import Telemetry
from mailer.adapters.tokens import Tokens
from mailer.domain.destinations import Destinations, Group
from mailer.domain.routes import Route
from mailer.domain.warmup import WarmUp
from mailer.migrations import upgrade
from mailer.services.retention import Keep
from mailer.services.send import Gate, Sender
from mailer.settings import ROOT, RelayChoice, Settings, SettingsError, read_settings
from mailer.store.database import Database

TEMPLATES = ROOT / "templates"

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property(functools.cached_property):
        """Made once, whichever threads ask first: from Python 3.12 on the standard one does not see to that."""

        _making = threading.RLock()

        def __get__(self, instance, owner=None):
            with self._making:
                return super().__get__(instance, owner)


class Mailer:
    """The service's parts, each made when it is first asked for. Close it to stop what it started."""

    def __init__(
        self, settings: Settings | None = None, *, application: str = "mailer", pool: int = 5
    ) -> None:
        self.settings = settings or read_settings()
        self._application = application
        self._pool = pool
        self._embedded: list[Postgres | Valkey] = []

    @cached_property
    def database_url(self) -> str:
        """The database that is set, or an embedded one in the state folder, up to date."""
        if self.settings.database_url:
            return self.settings.database_url
        server = Postgres(self.settings.state_dir / "postgres")
        self._embedded.append(server)
        url = server.url()
        upgrade(url)
        return url

    @cached_property
    def redis_url(self) -> str:
        if self.settings.redis_url:
            return self.settings.redis_url
        server = Valkey(self.settings.state_dir / "valkey")
        self._embedded.append(server)
        return server.url

    @cached_property
    def database(self) -> Database:
        return Database(self.database_url, pool=self._pool, application=self._application)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens([self.secret_key, *(old.get_secret_value() for old in self.settings.old_secret_keys)])

    @property
    def secret_key(self) -> str:
        """The key that is set. With embedded servers, one kept in the state folder."""
        if given := self.settings.secret_key.get_secret_value():
            return given
        if self.settings.database_url:
            raise SettingsError(
                "MAILER_SECRET_KEY: must be set beside MAILER_DATABASE_URL, the same on every host. "
                "Make one with: openssl rand -base64 48"
            )
        path = self.settings.state_dir / "secret.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text()

    @cached_property
    def links(self) -> WebLinks:
        return WebLinks(self.settings.public_url, self.tokens)

    @cached_property
    def catalogues(self) -> Catalogues:
        return Catalogues(TEMPLATES / "locales")

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(TEMPLATES)

    @cached_property
    def note_renderer(self) -> NoteRenderer:
        return NoteRenderer(TEMPLATES)

    @property
    def keep(self) -> Keep:
        """How long what is kept."""
        settings = self.settings
        return Keep(
            requests=settings.keep_requests_days,
            notes=settings.keep_notes_days,
            feedback=settings.keep_feedback_days,
            deliveries=settings.keep_deliveries_days,
            left=settings.keep_left_days,
        )

    @cached_property
    def journals(self) -> Journals:
        return Journals(self.settings.state_dir.resolve())

    @cached_property
    def relays(self) -> list[RelayChoice]:
        """The relays that are set; the one of ``MAILER_SMTP_*`` without any."""
        settings = self.settings
        return settings.relays or [
            RelayChoice(
                name="relay",
                host=settings.smtp_host,
                port=settings.smtp_port,
                tls=settings.smtp_tls,
                username=settings.smtp_username,
                password=settings.smtp_password,
                connections=settings.smtp_connections,
                rate=settings.smtp_rate,
            )
        ]

    @cached_property
    def routes(self) -> list[Route]:
        return [
            Route(
                one.name,
                one.weight,
                one.rate,
                WarmUp(**one.warm_up.model_dump()) if one.warm_up else None,
            )
            for one in self.relays
        ]

    @cached_property
    def destinations(self) -> Destinations:
        groups = [Group(one.name, one.domains, one.mx, one.rate) for one in self.settings.destinations]
        return Destinations(groups, self.settings.destination_rate)

    @cached_property
    def mail_servers(self) -> MailServers:
        return MailServers()

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(
            [
                Relay(
                    name=one.name,
                    host=one.host,
                    port=one.port,
                    tls=Tls(one.tls),
                    username=one.username,
                    password=one.password.get_secret_value(),
                    connections=one.connections,
                    local_name=self.settings.smtp_local_name or socket.getfqdn(),
                )
                for one in self.relays
            ]
        )

    @cached_property
    def limiter(self) -> Limiter:
        return Limiter(self.redis_url)

    @cached_property
    def telemetry(self) -> Telemetry:
        return Telemetry(self.redis_url)

    @cached_property
    def gate(self) -> Gate:
        return Gate(self.database, self.limiter, self.telemetry, self.routes, self.destinations)

    @cached_property
    def signer(self) -> Signer:
        """Signs with every key that is set; with none it adds nothing."""
        keys = []
        for number, wanted in enumerate(self.settings.dkim):
            try:
                keys.append(Key(wanted.domain, wanted.selector, wanted.key_file.read_bytes()))
            except (OSError, BadKey) as error:
                said = error.strerror if isinstance(error, OSError) else error
                raise SettingsError(f"MAILER_DKIM[{number}].key_file: {wanted.key_file}: {said}") from None
        return Signer(keys)

    @cached_property
    def sender(self) -> Sender:
        return Sender(
            database=self.database,
            outbox=self.outbox,
            gate=self.gate,
            journals=self.journals,
            links=self.links,
            signer=self.signer,
            bounce_domain=self.settings.bounce_domain,
            lease=timedelta(seconds=self.settings.lease_seconds),
            retry=timedelta(seconds=self.settings.retry_seconds),
            give_up=timedelta(hours=self.settings.give_up_hours),
        )

    def picture_from(self, folder: Path) -> Callable[[str], Fit]:
        """Reads pictures of documents that lie in ``folder``, each once; nothing outside it."""

        @functools.cache
        def read(path: str) -> Fit:
            file = (folder / path).resolve()
            if not file.is_relative_to(folder.resolve()):
                raise PictureMissing(f"The picture {path} is outside the document's folder.")
            if not file.is_file():
                raise PictureMissing(
                    f"The picture {path} is not there; it is looked for beside the document."
                )
            return fit(file.read_bytes(), path, self.settings.max_picture_bytes)

        return read

    def migrate(self) -> None:
        upgrade(self.database_url)

    def reset(self) -> None:
        """Empty the embedded servers. Refuses to touch any that the settings name."""
        if self.settings.database_url or self.settings.redis_url:
            raise SettingsError("MAILER_DATABASE_URL: only embedded servers may be emptied")
        self.database.empty()
        redis.Redis.from_url(self.redis_url).flushall()

    def close(self) -> None:
        for part in ("outbox", "limiter", "telemetry", "database"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()
        while self._embedded:
            self._embedded.pop().close()

    def __enter__(self) -> "Mailer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PictureMissing(ValueError):
    """A document names a picture that cannot be had."""
