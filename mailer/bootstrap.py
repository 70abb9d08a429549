"""The composition root: builds the adapters and services from the settings, on first use."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

# A command imports this module and uses a few components. Each property imports what its component needs.
if TYPE_CHECKING:
    from functools import cached_property

    from mailer.adapters.dkim import InvalidKey, Key, Signer
    from mailer.adapters.dns import MxResolver
    from mailer.adapters.embedded import Postgres, Valkey
    from mailer.adapters.i18n import Catalogues
    from mailer.adapters.journal import Journals
    from mailer.adapters.limiter import Limiter
    from mailer.adapters.metrics import Metrics
    from mailer.adapters.mjml import Renderer
    from mailer.adapters.openid import OpenIdProvider
    from mailer.adapters.passwords import PasswordHasher
    from mailer.adapters.pictures import PreparedPicture
    from mailer.adapters.sealing import Sealer
    from mailer.adapters.smtp.pool import SmtpPool
    from mailer.adapters.tokens import Tokens
    from mailer.adapters.transactional import TransactionalRenderer
    from mailer.adapters.urls import Urls
    from mailer.domain.crops import Crop
    from mailer.domain.ports import Clock, PictureStore
    from mailer.domain.providers import Providers
    from mailer.domain.relay_routes import RelayRoute
    from mailer.services.accounts.sign_in import SignIn
    from mailer.services.delivery.send import SendLimits, SendWorker
    from mailer.services.delivery.traffic import TrafficLimits, TrafficShaper
    from mailer.services.delivery.transactional import TransactionalLimits, TransactionalSender
    from mailer.services.issues.network_checks import NetworkTools
    from mailer.services.maintenance.retention import RetentionPolicy
    from mailer.services.subscribers.request_limits import Requester
    from mailer.settings import Settings
    from mailer.store.database import Database
else:

    class cached_property(functools.cached_property):
        """A thread-safe cached_property; the standard one has no lock since Python 3.12."""

        _lock = threading.RLock()

        def __get__(self, instance, owner=None):
            with self._lock:
                return super().__get__(instance, owner)


TEMPLATE_ROOT = Path(__file__).resolve().parent.parent / "templates"


class Container:
    """The components of the service, each built on first use. Close it to stop what it started.

    ``components`` replace the properties of the same names. They are not closed with the container.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        application: str = "mailer",
        pool_size: int = 5,
        **components: object,
    ) -> None:
        if unknown := [name for name in components if not isinstance(getattr(type(self), name, None), cached_property)]:
            raise TypeError(f"The container has no {', '.join(unknown)}")
        if settings is None:
            from mailer.settings import read_settings

            settings = read_settings()
        self.settings = settings
        self.__dict__.update(components)
        self._supplied = frozenset(components)
        self._application = application
        self._pool_size = pool_size
        self._embedded: list[Postgres | Valkey] = []

    @cached_property
    def database_url(self) -> str:
        """Return the URL of the configured database, or of an embedded and migrated one."""
        if self.settings.database_url:
            return self.settings.database_url
        from mailer.adapters.embedded import Postgres
        from mailer.migrations import upgrade

        folder = self.state_dir.resolve() / "postgres"
        if not folder.exists():
            logging.getLogger(__name__).warning(
                "MAILER_DATABASE_URL is not set: a new, empty database is made in %s. Another folder has another one.",
                folder,
            )
        server = Postgres(folder)
        self._embedded.append(server)
        url = server.url()
        upgrade(url)
        return url

    @cached_property
    def redis_url(self) -> str:
        """Return the URL of the configured Redis, or of an embedded server."""
        if self.settings.redis_url:
            return self.settings.redis_url
        from mailer.adapters.embedded import Valkey

        server = Valkey(self.state_dir / "valkey")
        self._embedded.append(server)
        return server.url

    @cached_property
    def state_dir(self) -> Path:
        """Return the state folder. If it does not exist, it is made for its owner alone."""
        folder = self.settings.state_dir
        # Started by root, the embedded PostgreSQL runs as another user, who must pass through.
        shared = not self.settings.database_url and os.geteuid() == 0
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o711 if shared else 0o700, exist_ok=True)
        return folder

    @cached_property
    def clock(self) -> Clock:
        from mailer.adapters.clock import SystemClock

        return SystemClock()

    @cached_property
    def database(self) -> Database:
        from mailer.store.database import Database

        return Database(self.database_url, pool=self._pool_size, application=self._application)

    @cached_property
    def tokens(self) -> Tokens:
        """Return the tokens, after the key of address hashes was compared with the database. Raises WrongAddressKey."""
        from mailer.services.maintenance.address_key import check_address_key

        tokens = self.unchecked_tokens
        check_address_key(self.database, tokens.address_key_fingerprints, tokens.address_hash)
        return tokens

    @cached_property
    def unchecked_tokens(self) -> Tokens:
        from mailer.adapters.tokens import Tokens

        return Tokens(self._secrets)

    @cached_property
    def passwords(self) -> PasswordHasher:
        from mailer.adapters.passwords import PasswordHasher

        return PasswordHasher()

    @cached_property
    def sign_in(self) -> SignIn:
        from mailer.services.accounts.sign_in import SignIn

        return SignIn(self.database, self.passwords, self.sealer, self.tokens.address_hash)

    @cached_property
    def sealer(self) -> Sealer:
        from mailer.adapters.sealing import Sealer

        return Sealer(self._secrets)

    @cached_property
    def openid_provider(self) -> OpenIdProvider | None:
        """Return the provider of OpenID Connect where staff can sign in, if there is one."""
        from mailer.adapters.openid import OpenIdProvider
        from mailer.domain import urls

        settings = self.settings
        if not settings.openid_issuer:
            return None
        return OpenIdProvider(
            settings.openid_issuer,
            settings.openid_client_id,
            settings.openid_client_secret.get_secret_value(),
            self.urls.absolute(self.urls.path(urls.OPENID_CALLBACK)),
            self.sealer,
            self.clock,
        )

    def requester(self, host: str) -> Requester:
        """Return the networks of an IP address, for rate limits."""
        from mailer.services.subscribers.request_limits import Requester

        return Requester(self.tokens.network_hash(host), self.tokens.isp_hash(host))

    @property
    def secret_key(self) -> str:
        """The configured key. With embedded servers, a random one kept in the state folder."""
        if secret_key := self.settings.secret_key.get_secret_value():
            return secret_key
        if self.settings.database_url:
            from mailer.settings import SettingsError

            raise SettingsError(
                "MAILER_SECRET_KEY: must be set together with MAILER_DATABASE_URL, to the same value on every host. "
                "Create one with: openssl rand -base64 48"
            )
        path = self.state_dir / "secret.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text()

    @property
    def _secrets(self) -> list[str]:
        """The secret key, then the previous ones."""
        return [self.secret_key, *(old.get_secret_value() for old in self.settings.previous_secret_keys)]

    @cached_property
    def urls(self) -> Urls:
        from mailer.adapters.urls import Urls

        return Urls(self.settings.public_url, self.unchecked_tokens)

    @cached_property
    def catalogues(self) -> Catalogues:
        from mailer.adapters.i18n import Catalogues

        return Catalogues(TEMPLATE_ROOT / "locales")

    @cached_property
    def staff_catalogues(self) -> Catalogues:
        """Return the texts of pages and emails for staff, apart from those for readers."""
        from mailer.adapters.i18n import Catalogues

        return Catalogues(TEMPLATE_ROOT / "staff_locales")

    @cached_property
    def renderer(self) -> Renderer:
        from mailer.adapters.mjml import Renderer

        return Renderer(TEMPLATE_ROOT, self.catalogues)

    @cached_property
    def transactional_renderer(self) -> TransactionalRenderer:
        from mailer.adapters.transactional import TransactionalRenderer

        return TransactionalRenderer(TEMPLATE_ROOT, self.catalogues, self.staff_catalogues)

    @property
    def retention_policy(self) -> RetentionPolicy:
        """The retention periods of the settings."""
        from mailer.services.maintenance.retention import RetentionPolicy

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
        from mailer.adapters.journal import Journals

        return Journals(self.state_dir.resolve())

    @cached_property
    def relay_routes(self) -> list[RelayRoute]:
        from mailer.domain.relay_routes import RelayRoute, host_and_port
        from mailer.domain.warm_up import WarmUp

        return [
            RelayRoute(
                relay.name,
                relay.weight,
                relay.rate,
                WarmUp(**relay.warm_up.model_dump()) if relay.warm_up else None,
                host_and_port(relay.host, relay.port),
            )
            for relay in self.settings.all_relays
        ]

    @cached_property
    def providers(self) -> Providers:
        from mailer.domain.providers import Provider, Providers

        providers = [
            Provider(provider.name, provider.domains, provider.mx, provider.rate)
            for provider in self.settings.providers
        ]
        return Providers(providers, self.settings.domain_rate)

    @cached_property
    def mx_resolver(self) -> MxResolver:
        from mailer.adapters.dns import MxResolver

        return MxResolver(self.settings.name_servers)

    @property
    def network_tools(self) -> NetworkTools:
        """What looks up links and the DNS records of senders."""
        from mailer.adapters.dns import DnsResolver
        from mailer.adapters.link_lookup import LinkLookup
        from mailer.domain.sender_records import DkimKey
        from mailer.services.issues.network_checks import NetworkTools

        resolver = DnsResolver(self.settings.name_servers)
        links = LinkLookup(resolver.addresses, f"mailer-link-check (+{self.settings.public_url})")
        published = [
            DkimKey(setting.domain, setting.selector, "" if isinstance(key, Exception) else key.txt_record)
            for setting, key in zip(self.settings.dkim, self._dkim_keys(), strict=True)
        ]
        return NetworkTools(links.look_up, resolver.txt, published)

    @cached_property
    def smtp_pool(self) -> SmtpPool:
        from mailer.adapters.smtp import Relay, Timeouts, Tls
        from mailer.adapters.smtp.pool import SmtpPool

        return SmtpPool(
            [
                Relay(
                    name=relay.name,
                    host=relay.host,
                    port=relay.port,
                    tls=Tls(relay.tls),
                    username=relay.username,
                    password=relay.password.get_secret_value(),
                    max_connections=relay.connections,
                    max_messages_per_connection=relay.messages_per_connection,
                    max_idle_seconds=relay.idle_seconds,
                    pipelining=relay.pipelining,
                    window=relay.window,
                    timeouts=Timeouts(**relay.timeouts),
                    ehlo_name=self.settings.ehlo_name(socket.getfqdn()),
                )
                for relay in self.settings.all_relays
            ]
        )

    @property
    def used_smtp_pool(self) -> SmtpPool | None:
        """The pool of connections to relays if this process has sent anything, else None."""
        return self.__dict__.get("smtp_pool")

    @cached_property
    def limiter(self) -> Limiter:
        from mailer.adapters.limiter import Limiter

        return Limiter(self.redis_url)

    @cached_property
    def metrics(self) -> Metrics:
        from mailer.adapters.metrics import Metrics

        return Metrics(self.redis_url)

    @cached_property
    def traffic_shaper(self) -> TrafficShaper:
        from mailer.services.delivery.traffic import TrafficShaper

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
        from mailer.services.delivery.traffic import TrafficLimits

        return TrafficLimits()

    @cached_property
    def signer(self) -> Signer:
        """Return a signer with all configured DKIM keys; without keys it adds no signature."""
        from mailer.adapters.dkim import Signer
        from mailer.settings import SettingsError

        keys, problems = [], []
        for index, key in enumerate(self._dkim_keys()):
            if isinstance(key, Exception):
                reason = key.strerror if isinstance(key, OSError) else key
                problems.append(f"MAILER_DKIM[{index}].key_file: {self.settings.dkim[index].key_file}: {reason}")
            else:
                keys.append(key)
        if problems:
            raise SettingsError("; ".join(problems))
        return Signer(keys)

    def _dkim_keys(self) -> list[Key | OSError | InvalidKey]:
        """Return each configured DKIM key, or why this host cannot read it."""
        from mailer.adapters.dkim import InvalidKey, Key

        keys: list[Key | OSError | InvalidKey] = []
        for key in self.settings.dkim:
            try:
                keys.append(Key(key.domain, key.selector, key.key_file.read_bytes()))
            except (OSError, InvalidKey) as error:
                keys.append(error)
        return keys

    @cached_property
    def send_worker(self) -> SendWorker:
        from mailer.services.delivery.send import SendContext, SendWorker

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
        from mailer.services.delivery.transactional import TransactionalSender

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
        from mailer.services.delivery.transactional import TransactionalLimits

        return TransactionalLimits()

    @cached_property
    def send_limits(self) -> SendLimits:
        from mailer.services.delivery.send import SendLimits

        return SendLimits(
            lease=timedelta(seconds=self.settings.lease_seconds),
            min_backoff=timedelta(seconds=self.settings.min_backoff_seconds),
            queue_lifetime=timedelta(hours=self.settings.queue_lifetime_hours),
            host_grace=timedelta(seconds=self.settings.host_grace_seconds),
        )

    @cached_property
    def picture_store(self) -> PictureStore | None:
        """Return where the bytes of pictures are; None for the database."""
        if not self.settings.picture_store:
            return None
        from mailer.adapters.picture_store import ObjectStore

        return ObjectStore(self.settings.picture_store)

    def picture_loader(self, folder: Path) -> Callable[[str], PreparedPicture]:
        """Return the loader of the pictures in a folder: see mailer.adapters.pictures.folder_loader."""
        from mailer.adapters.pictures import folder_loader

        return folder_loader(folder, self.settings.max_picture_bytes)

    def prepare_picture(self, data: bytes, name: str) -> PreparedPicture:
        """Return an uploaded picture as mail needs it. Raises ValueError for what is no picture or too large."""
        from mailer.adapters.pictures import prepare

        return prepare(data, name, self.settings.max_picture_bytes)

    def crop_picture(self, data: bytes, name: str, how: Crop) -> PreparedPicture:
        """Return a part of a stored picture as mail needs it. Raises InvalidPicture for an animation."""
        from mailer.adapters.pictures import crop

        return crop(data, name, how)

    def migrate(self) -> None:
        """Migrate the database to the latest revision."""
        from mailer.migrations import upgrade

        upgrade(self.database_url)

    def close(self) -> None:
        """Close connections and stop the embedded servers."""
        for name in ("smtp_pool", "limiter", "metrics", "database"):
            if name in self.__dict__ and name not in self._supplied:
                self.__dict__.pop(name).close()
        while self._embedded:
            self._embedded.pop().close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
