"""The key that addresses are hashed with: it must stay the same as long as the database."""

from collections.abc import Callable, Sequence

from mailer.domain.errors import UserError
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.store import address_keys
from mailer.store.database import Database


class WrongAddressKey(UserError, RuntimeError):
    """Addresses in the database were hashed with another key. The message says what to do."""


def check_address_key(
    database: Database,
    fingerprints: Sequence[bytes],
    hash_address: Callable[[str], bytes],
    *,
    may_store: bool = True,
) -> None:
    """Compare the key with the fingerprint in the database; store one in a database that has none, unless told not to.

    ``fingerprints`` are those of all keys that are given; the last one is of the key in use. Raises WrongAddressKey and
    DatabaseDown.
    """
    with database.transaction() as session:
        if not may_store and not address_keys.is_migrated(session):
            return
        stored = address_keys.fingerprint(session)
        if stored is None and _hashes_match(address_keys.any_hash(session), hash_address):
            stored = address_keys.store(session, fingerprints[-1]) if may_store else fingerprints[-1]
    if stored == fingerprints[-1]:
        return
    if stored in fingerprints:
        at = fingerprints.index(stored)
        which = "MAILER_SECRET_KEY" if at == 0 else f"number {at} of MAILER_PREVIOUS_SECRET_KEYS"
        advice = f"That is {which} now. Move it to the end of MAILER_PREVIOUS_SECRET_KEYS."
    else:
        advice = (
            "Put that key at the end of MAILER_PREVIOUS_SECRET_KEYS, or use the database that these keys belong to."
        )
    raise WrongAddressKey(
        "MAILER_PREVIOUS_SECRET_KEYS: the addresses in this database are hashed with another key than the oldest one "
        f"given. {advice} With a wrong one, no suppression matches, and people who must not be mailed get mail."
    )


def _hashes_match(known: tuple[str, bytes] | None, hash_address: Callable[[str], bytes]) -> bool:
    """Return whether a stored address has the hash that the key gives it; True without any."""
    if known is None:
        return True
    address, address_hash = known
    try:
        return hash_address(read_address(address)[1]) == address_hash
    except InvalidValue:  # stored by rules of an earlier release
        return True
