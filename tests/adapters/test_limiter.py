"""Token buckets on a real Redis. Times are Redis's own, so the sums are held within what a slow machine allows."""

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from mailer.adapters.embedded import Valkey
from mailer.adapters.limiter import Limiter
from mailer.domain.rate_limits import RateLimit, TokenGrant, TokenRequest


@pytest.fixture
def limiter(valkey: Valkey) -> Iterator[Limiter]:
    redis.Redis.from_url(valkey.url).flushall()
    made = Limiter(valkey.url)
    yield made
    made.close()


def drawn(limiter: Limiter, ask: TokenRequest, seconds: float) -> int:
    """All that is granted to somebody who asks again and again."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        grant = limiter.acquire([ask])[0]
        count += grant.tokens
        time.sleep(min(0.02, grant.retry_after_seconds or 0.02))
    return count


def test_new_bucket_is_empty_and_returns_the_waiting_time(limiter: Limiter) -> None:
    grant = limiter.acquire([TokenRequest([RateLimit("a", 10)], 5, minimum=2)])[0]
    assert grant.tokens == 0
    assert 0.15 <= grant.retry_after_seconds <= 0.2


def test_granted_tokens_match_the_rate(limiter: Limiter) -> None:
    began = time.monotonic()
    count = drawn(limiter, TokenRequest([RateLimit("a", 200)], 50), 1.5)
    assert 0.9 * 200 * 1.4 < count <= 200 * (time.monotonic() - began) + 1


def test_clients_share_a_bucket(limiter: Limiter, valkey: Valkey) -> None:
    counts: list[int] = []
    began = time.monotonic()
    other = Limiter(valkey.url)
    threads = [
        threading.Thread(target=lambda one=one: counts.append(drawn(one, TokenRequest([RateLimit("a", 100)], 10), 1)))
        for one in (limiter, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert min(counts) > 0
    assert sum(counts) <= 100 * (time.monotonic() - began) + 1


def test_bucket_accumulates_at_most_one_second(limiter: Limiter) -> None:
    limiter.acquire([TokenRequest([RateLimit("a", 10)], 1)])
    time.sleep(2.2)
    assert limiter.acquire([TokenRequest([RateLimit("a", 10)], 100)])[0].tokens == 10


def test_lowest_limit_decides_and_other_buckets_keep_the_rest(limiter: Limiter) -> None:
    wide, tight = RateLimit("wide", 1000), RateLimit("tight", 5)
    limiter.acquire([TokenRequest([wide, tight], 1)])
    time.sleep(1.1)
    assert limiter.acquire([TokenRequest([wide, tight], 500)])[0].tokens == 5
    assert limiter.acquire([TokenRequest([wide], 500)])[0].tokens == 500


def test_borrowed_tokens_delay_later_requests(limiter: Limiter) -> None:
    limits = [RateLimit("a", 5)]
    assert limiter.acquire([TokenRequest(limits, 1)])[0].tokens == 0, "somebody takes all there is"
    assert limiter.acquire([TokenRequest(limits, 50, may_borrow=True)])[0].tokens == 5, (
        "what comes in a second, and no more"
    )
    grant = limiter.acquire([TokenRequest(limits, 1, may_borrow=True)])[0]
    assert grant.tokens == 0
    assert 0.1 < grant.retry_after_seconds <= 0.2
    later = limiter.acquire([TokenRequest(limits, 1)])[0]
    assert later.tokens == 0
    assert 1.0 < later.retry_after_seconds <= 1.2, "until that is made good"


def test_unused_tokens_are_released(limiter: Limiter) -> None:
    ask = TokenRequest([RateLimit("a", 20)], 20)
    limiter.acquire([ask])
    time.sleep(1.1)
    assert limiter.acquire([ask])[0].tokens == 20
    limiter.release([TokenRequest([RateLimit("a", 20)], 15)])
    assert 15 <= limiter.acquire([ask])[0].tokens <= 17


def test_a_flush_grants_no_burst(limiter: Limiter, valkey: Valkey) -> None:
    ask = TokenRequest([RateLimit("a", 50)], 50)
    limiter.acquire([ask])
    time.sleep(1.1)
    assert limiter.acquire([ask])[0].tokens == 50
    redis.Redis.from_url(valkey.url).flushall()
    limiter.release([ask])
    assert limiter.acquire([ask])[0].tokens == 0


def test_without_redis_nothing_is_granted(tmp_path: object) -> None:
    limiter = Limiter(f"unix://{tmp_path}/nobody.sock")
    asks = [TokenRequest([RateLimit("a", 50)], 50), TokenRequest([RateLimit("b", 50)], 50)]
    assert limiter.acquire(asks) == [TokenGrant(0, 1.0)] * 2
    limiter.release(asks)
