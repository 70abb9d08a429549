"""Hashes of passwords, and how many are made at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from mailer.adapters.passwords import MAX_HASHES_AT_ONCE, MAX_WAITING, PasswordHasher, PasswordsBusy


def test_more_passwords_than_can_wait_are_refused_at_once() -> None:
    hasher = PasswordHasher(memory_kib=32 * 1024)
    several = MAX_HASHES_AT_ONCE + MAX_WAITING + 4
    together = Barrier(several)

    def is_refused(_: int) -> bool:
        together.wait()
        try:
            return hasher.verify("", "a password")
        except PasswordsBusy:
            return True

    with ThreadPoolExecutor(several) as pool:
        assert 0 < sum(pool.map(is_refused, range(several))) <= 4
    assert not hasher.verify("", "a password")  # those who waited have gone
