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

from mailer.adapters.clock import SystemClock
from mailer.adapters.dkim import InvalidKey, Key, Signer
from mailer.adapters.dns import MxResolver
from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.i18n import Catalogues
from mailer.adapters.journal import Journals
from mailer.adapters.limiter import Limiter
from mailer.adapters.metrics import Metrics
from mailer.adapters.mjml import Renderer
from mailer.adapters.pictures import PreparedPicture, prepare
from mailer.adapters.smtp import Relay, Tls
from mailer.adapters.smtp.pool import SmtpPool
from mailer.adapters.tokens import Tokens
from mailer.adapters.transactional import TransactionalRenderer
from mailer.adapters.urls import Urls
from mailer.domain.ports import Clock
from mailer.domain.providers import Provider, Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.warm_up import WarmUp
from mailer.migrations import upgrade
from mailer.services.delivery.send import SendContext, SendLimits, SendWorker
from mailer.services.delivery.traffic import TrafficLimits, TrafficShaper
from mailer.services.delivery.transactional import TransactionalLimits, TransactionalSender
from mailer.services.maintenance.retention import RetentionPolicy
from mailer.settings import ROOT, RelaySettings, Settings, SettingsError, read_settings
from mailer.store.database import Database

TEMPLATE_ROOT = ROOT / "templates"

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property(functools.cached_property):
        """Made once, whichever threads ask first: from Python 3.12 on the standard one does not see to that."""

        _lock = threading.RLock()

        def __get__(self, instance, owner=None):
            with self._lock:
                return super().__get__(instance, owner)


class Container:
    """The service's parts, each made when it is first asked for. Close it to stop what it started.

    ``parts`` are parts that stand already, by the names of the properties that would make them: they are used instead,
    and stay open.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        application: str = "mailer",
        pool_size: int = 5,
        **parts: object,
    ) -> None:
        if unknown := [
            name for name in parts if not isinstance(getattr(type(self), name, None), cached_property)
        ]:
            raise TypeError(f"The container has no {', '.join(unknown)}")
        self.settings = settings or read_settings()
        self.__dict__.update(parts)
        self._given = frozenset(parts)
        self._application = application
        self._pool_size = pool_size
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
    def clock(self) -> Clock:
        return SystemClock()

    @cached_property
    def database(self) -> Database:
        return Database(self.database_url, pool=self._pool_size, application=self._application)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(
            [self.secret_key, *(old.get_secret_value() for old in self.settings.previous_secret_keys)]
        )

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
    def urls(self) -> Urls:
        return Urls(self.settings.public_url, self.tokens)

    @cached_property
    def catalogues(self) -> Catalogues:
        return Catalogues(TEMPLATE_ROOT / "locales")

    @cached_property
    def renderer(self) -> Renderer:
        return Renderer(TEMPLATE_ROOT)

    @cached_property
    def transactional_renderer(self) -> TransactionalRenderer:
        return TransactionalRenderer(TEMPLATE_ROOT)

    @property
    def retention_policy(self) -> RetentionPolicy:
        """How long what is kept."""
        settings = self.settings
        return RetentionPolicy(
            request_days=settings.retention_requests_days,
            transactional_days=settings.retention_transactional_days,
            feedback_days=settings.retention_feedback_days,
            delivery_days=settings.retention_deliveries_days,
            inactive_days=settings.retention_inactive_days,
        )

    @cached_property
    def journals(self) -> Journals:
        return Journals(self.settings.state_dir.resolve())

    @cached_property
    def relays(self) -> list[RelaySettings]:
        """The relays that are set; the one of ``MAILER_SMTP_*`` without any."""
        settings = self.settings
        return settings.relays or [
            RelaySettings(
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
    def relay_routes(self) -> list[RelayRoute]:
        return [
            RelayRoute(
                one.name,
                one.weight,
                one.rate,
                WarmUp(**one.warm_up.model_dump()) if one.warm_up else None,
            )
            for one in self.relays
        ]

    @cached_property
    def providers(self) -> Providers:
        groups = [Provider(one.name, one.domains, one.mx, one.rate) for one in self.settings.providers]
        return Providers(groups, self.settings.domain_rate)

    @cached_property
    def mx_resolver(self) -> MxResolver:
        return MxResolver()

    @cached_property
    def smtp_pool(self) -> SmtpPool:
        return SmtpPool(
            [
                Relay(
                    name=one.name,
                    host=one.host,
                    port=one.port,
                    tls=Tls(one.tls),
                    username=one.username,
                    password=one.password.get_secret_value(),
                    max_connections=one.connections,
                    ehlo_name=self.settings.smtp_ehlo_name or socket.getfqdn(),
                )
                for one in self.relays
            ]
        )

    @cached_property
    def limiter(self) -> Limiter:
        return Limiter(self.redis_url)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.redis_url)

    @cached_property
    def traffic_shaper(self) -> TrafficShaper:
        return TrafficShaper(
            self.database,
            self.limiter,
            self.metrics,
            self.relay_routes,
            self.providers,
            self.clock,
            self.traffic_limits,
        )

    @cached_property
    def traffic_limits(self) -> TrafficLimits:
        return TrafficLimits()

    @cached_property
    def signer(self) -> Signer:
        """Signs with every key that is set; with none it adds nothing."""
        keys = []
        for number, wanted in enumerate(self.settings.dkim):
            try:
                keys.append(Key(wanted.domain, wanted.selector, wanted.key_file.read_bytes()))
            except (OSError, InvalidKey) as error:
                said = error.strerror if isinstance(error, OSError) else error
                raise SettingsError(f"MAILER_DKIM[{number}].key_file: {wanted.key_file}: {said}") from None
        return Signer(keys)

    @cached_property
    def send_worker(self) -> SendWorker:
        return SendWorker(
            SendContext(
                database=self.database,
                smtp_pool=self.smtp_pool,
                traffic_shaper=self.traffic_shaper,
                journals=self.journals,
                urls=self.urls,
                signer=self.signer,
                clock=self.clock,
                limits=self.send_limits,
                bounce_domain=self.settings.bounce_domain,
            )
        )

    @cached_property
    def transactional_sender(self) -> TransactionalSender:
        return TransactionalSender(
            database=self.database,
            smtp_pool=self.smtp_pool,
            routes=self.relay_routes,
            limiter=self.limiter,
            renderer=self.transactional_renderer,
            urls=self.urls,
            signer=self.signer,
            clock=self.clock,
            bounce_domain=self.settings.bounce_domain,
            limits=self.transactional_limits,
        )

    @cached_property
    def transactional_limits(self) -> TransactionalLimits:
        return TransactionalLimits()

    @cached_property
    def send_limits(self) -> SendLimits:
        return SendLimits(
            lease=timedelta(seconds=self.settings.lease_seconds),
            min_backoff=timedelta(seconds=self.settings.min_backoff_seconds),
            queue_lifetime=timedelta(hours=self.settings.queue_lifetime_hours),
        )

    def picture_loader(self, folder: Path) -> Callable[[str], PreparedPicture]:
        """Reads pictures of documents that lie in ``folder``, each once; nothing outside it."""

        @functools.cache
        def read(path: str) -> PreparedPicture:
            file = (folder / path).resolve()
            if not file.is_relative_to(folder.resolve()):
                raise PictureNotFound(f"The picture {path} is outside the document's folder.")
            if not file.is_file():
                raise PictureNotFound(
                    f"The picture {path} is not there; it is looked for beside the document."
                )
            return prepare(file.read_bytes(), path, self.settings.max_picture_bytes)

        return read

    def migrate(self) -> None:
        upgrade(self.database_url)

    def reset(self) -> None:
        """Empty the embedded servers. Refuses to touch any that the settings name."""
        if self.settings.database_url or self.settings.redis_url:
            raise SettingsError("MAILER_DATABASE_URL: only embedded servers may be emptied")
        self.database.delete_all_rows()
        redis.Redis.from_url(self.redis_url).flushall()

    def close(self) -> None:
        for part in ("smtp_pool", "limiter", "metrics", "database"):
            if part in self.__dict__ and part not in self._given:
                self.__dict__.pop(part).close()
        while self._embedded:
            self._embedded.pop().close()

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PictureNotFound(ValueError):
    """A document names a picture that cannot be had."""
