"""The key that addresses are hashed with is compared with the database."""

import pytest

from mailer.adapters.tokens import Tokens
from mailer.bootstrap import Container
from mailer.cli.settings_check import find_problems
from mailer.domain.errors import DatabaseDown
from mailer.services.maintenance.address_key import WrongAddressKey, check_address_key
from mailer.settings import Settings
from mailer.store import address_keys, subscribers
from mailer.store.database import Database

FIRST, SECOND, THIRD = ("first" * 8, "second" * 8, "third" * 8)


def check(database: Database, *secrets: str, may_store: bool = True) -> None:
    tokens = Tokens(secrets)
    check_address_key(database, tokens.address_key_fingerprints, tokens.address_hash, may_store=may_store)


def test_the_oldest_key_stays_the_same(database: Database) -> None:
    check(database, FIRST)
    check(database, SECOND, FIRST)
    check(database, THIRD, SECOND, FIRST)


@pytest.mark.parametrize(
    ("secrets", "advice"),
    [
        ([FIRST, SECOND], "That is MAILER_SECRET_KEY now. Move it to the end of MAILER_PREVIOUS_SECRET_KEYS."),
        ([THIRD, FIRST, SECOND], "That is number 1 of MAILER_PREVIOUS_SECRET_KEYS now. Move it to the end"),
        ([THIRD, SECOND], "Put that key at the end of MAILER_PREVIOUS_SECRET_KEYS"),
        ([SECOND], "Put that key at the end of MAILER_PREVIOUS_SECRET_KEYS"),
    ],
)
def test_another_oldest_key_is_refused_with_what_to_do(database: Database, secrets: list[str], advice: str) -> None:
    check(database, FIRST)
    for may_store in (True, False):
        with pytest.raises(WrongAddressKey) as refused:
            check(database, *secrets, may_store=may_store)
        assert advice in str(refused.value)
        assert not any(secret in str(refused.value) for secret in secrets)
    check(database, FIRST)


def test_a_wrong_key_is_not_stored_in_a_database_that_has_subscribers(database: Database) -> None:
    with database.transaction() as session:
        subscribers.get_or_create(session, "Ana@example.org", Tokens([FIRST]).address_hash("ana@example.org"), [])
    with pytest.raises(WrongAddressKey):
        check(database, SECOND)
    check(database, SECOND, FIRST, may_store=False)
    with database.transaction() as session:
        assert address_keys.fingerprint(session) is None
    check(database, SECOND, FIRST)


def test_nothing_that_hashes_addresses_starts_with_another_key(database: Database) -> None:
    check(database, FIRST)
    settings = Settings(database_url=database.url, secret_key=SECOND)
    with Container(settings) as app:
        with pytest.raises(WrongAddressKey):
            app.tokens.mailbox_hash("ana@example.org")
        (problem,) = find_problems(app)
        assert problem.startswith("MAILER_PREVIOUS_SECRET_KEYS: the addresses in this database are hashed with another")
        assert app.urls  # the pages can say that there is no database
    with Container(Settings(database_url="postgresql://localhost:1/none", secret_key=FIRST)) as app:
        assert app.urls
        with pytest.raises(DatabaseDown):
            app.tokens.mailbox_hash("ana@example.org")
