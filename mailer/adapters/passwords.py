"""Hashes passwords with Argon2id (RFC 9106), at most two at once: each needs 64 MiB."""

from contextlib import suppress
from functools import cached_property
from threading import BoundedSemaphore

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

MAX_HASHES_AT_ONCE = 2


class PasswordHasher:
    """Hashes and verifies passwords. Safe to share between threads."""

    def __init__(self, memory_kib: int = 64 * 1024) -> None:
        self._argon2 = Argon2(memory_cost=memory_kib)
        self._free = BoundedSemaphore(MAX_HASHES_AT_ONCE)

    def hash(self, password: str) -> str:
        with self._free:
            return self._argon2.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        """Return whether the password fits. An empty hash fits none, and takes as long."""
        with self._free, suppress(VerificationError, InvalidHashError):
            return self._argon2.verify(password_hash or self._decoy, password) and bool(password_hash)
        return False

    @cached_property
    def _decoy(self) -> str:
        return self._argon2.hash("of no account")
