"""Hashes passwords with Argon2id (RFC 9106), at most two at once: each needs 64 MiB."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import BoundedSemaphore

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

MAX_HASHES_AT_ONCE = 2
MAX_WAITING = 8
"""More would hold the threads that serve everybody else's pages."""


class PasswordsBusy(Exception):
    """Too many passwords wait to be hashed."""


class PasswordHasher:
    """Hashes and verifies passwords. Safe to share between threads."""

    def __init__(self, memory_kib: int = 64 * 1024) -> None:
        self._argon2 = Argon2(memory_cost=memory_kib)
        self._free = BoundedSemaphore(MAX_HASHES_AT_ONCE)
        self._queue = BoundedSemaphore(MAX_HASHES_AT_ONCE + MAX_WAITING)

    def hash(self, password: str) -> str:
        """Return the hash of a password. Raises PasswordsBusy."""
        with self._turn():
            return self._argon2.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        """Return whether the password fits. An empty hash fits none, and takes as long.

        Raises PasswordsBusy.
        """
        with self._turn(), suppress(VerificationError, InvalidHashError):
            return self._argon2.verify(password_hash or self._decoy, password) and bool(password_hash)
        return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._queue.acquire(blocking=False):
            raise PasswordsBusy(PasswordsBusy.__doc__)
        try:
            with self._free:
                yield
        finally:
            self._queue.release()

    @cached_property
    def _decoy(self) -> str:
        return self._argon2.hash("of no account")
