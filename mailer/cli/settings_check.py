"""Tries the settings: database, Redis, keys and relays."""

import redis

from mailer.bootstrap import Container
from mailer.domain.errors import DatabaseDown
from mailer.services.maintenance.address_key import WrongAddressKey, check_address_key
from mailer.settings import SettingsError


def find_problems(app: Container, *, with_relays: bool = False) -> list[str]:
    """Return what is wrong with the settings. Changes nothing and starts no embedded server.

    ``with_relays`` also opens an SMTP session with each relay, with TLS and login, and sends nothing.
    """
    problems = []
    if app.settings.database_url:
        tokens = None
        try:
            tokens = app.unchecked_tokens
        except SettingsError as error:
            problems.append(str(error))
        try:
            _ = app.signer
        except SettingsError as error:
            problems.append(str(error))
        try:
            with app.database.transaction() as session:
                session.connection()
            if tokens:
                check_address_key(app.database, tokens.address_key_fingerprints, tokens.address_hash, may_store=False)
        except DatabaseDown as error:
            problems.append(f"MAILER_DATABASE_URL: {error}")
        except WrongAddressKey as error:
            problems.append(str(error))
    if app.settings.redis_url:
        try:
            app.metrics.ping()
        except (redis.RedisError, OSError) as error:
            problems.append(f"MAILER_REDIS_URL: Redis does not answer: {error}")
    if with_relays:
        for relay in app.settings.all_relays:
            if problem := app.smtp_pool.check(relay.name):
                problems.append(f"relay {relay.name}, {relay.host}:{relay.port}: {problem}")
    return problems
