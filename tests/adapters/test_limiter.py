"""Token buckets on a real Redis. Times are Redis's own, so the sums are held within what a slow machine allows."""

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from mailer.adapters.embedded import Valkey
from mailer.adapters.limiter import Limiter
from mailer.domain.limits import Ask, Grant, Limit


@pytest.fixture
def limiter(valkey: Valkey) -> Iterator[Limiter]:
    redis.Redis.from_url(valkey.url).flushall()
    made = Limiter(valkey.url)
    yield made
    made.close()


def drawn(limiter: Limiter, ask: Ask, seconds: float) -> int:
    """All that is granted to somebody who asks again and again."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        grant = limiter.take([ask])[0]
        count += grant.count
        time.sleep(min(0.02, grant.wait or 0.02))
    return count


def test_a_new_bucket_is_empty_and_says_how_long_to_wait(limiter: Limiter) -> None:
    grant = limiter.take([Ask([Limit("a", 10)], 5, least=2)])[0]
    assert grant.count == 0
    assert 0.15 <= grant.wait <= 0.2


def test_what_is_granted_in_a_while_is_what_the_rate_says(limiter: Limiter) -> None:
    began = time.monotonic()
    count = drawn(limiter, Ask([Limit("a", 200)], 50), 1.5)
    assert 0.9 * 200 * 1.4 < count <= 200 * (time.monotonic() - began) + 1


def test_askers_share_a_bucket(limiter: Limiter, valkey: Valkey) -> None:
    counts: list[int] = []
    began = time.monotonic()
    other = Limiter(valkey.url)
    threads = [
        threading.Thread(target=lambda one=one: counts.append(drawn(one, Ask([Limit("a", 100)], 10), 1)))
        for one in (limiter, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert min(counts) > 0
    assert sum(counts) <= 100 * (time.monotonic() - began) + 1


def test_a_pause_saves_up_no_more_than_a_second(limiter: Limiter) -> None:
    limiter.take([Ask([Limit("a", 10)], 1)])
    time.sleep(2.2)
    assert limiter.take([Ask([Limit("a", 10)], 100)])[0].count == 10


def test_the_tightest_of_several_buckets_decides_and_the_others_keep_the_rest(limiter: Limiter) -> None:
    wide, tight = Limit("wide", 1000), Limit("tight", 5)
    limiter.take([Ask([wide, tight], 1)])
    time.sleep(1.1)
    assert limiter.take([Ask([wide, tight], 500)])[0].count == 5
    assert limiter.take([Ask([wide], 500)])[0].count == 500


def test_who_asks_ahead_has_a_turn_and_the_others_wait_for_it(limiter: Limiter) -> None:
    limits = [Limit("a", 5)]
    assert limiter.take([Ask(limits, 1)])[0].count == 0, "somebody takes all there is"
    assert limiter.take([Ask(limits, 50, ahead=True)])[0].count == 5, "what comes in a second, and no more"
    grant = limiter.take([Ask(limits, 1, ahead=True)])[0]
    assert grant.count == 0
    assert 0.1 < grant.wait <= 0.2
    later = limiter.take([Ask(limits, 1)])[0]
    assert later.count == 0
    assert 1.0 < later.wait <= 1.2, "until that is made good"


def test_what_was_not_used_comes_back(limiter: Limiter) -> None:
    ask = Ask([Limit("a", 20)], 20)
    limiter.take([ask])
    time.sleep(1.1)
    assert limiter.take([ask])[0].count == 20
    limiter.give_back([Ask([Limit("a", 20)], 15)])
    assert 15 <= limiter.take([ask])[0].count <= 17


def test_a_flush_grants_no_burst(limiter: Limiter, valkey: Valkey) -> None:
    ask = Ask([Limit("a", 50)], 50)
    limiter.take([ask])
    time.sleep(1.1)
    assert limiter.take([ask])[0].count == 50
    redis.Redis.from_url(valkey.url).flushall()
    limiter.give_back([ask])
    assert limiter.take([ask])[0].count == 0


def test_without_redis_nothing_is_granted(tmp_path: object) -> None:
    limiter = Limiter(f"unix://{tmp_path}/nobody.sock")
    asks = [Ask([Limit("a", 50)], 50), Ask([Limit("b", 50)], 50)]
    assert limiter.take(asks) == [Grant(0, 1.0)] * 2
    limiter.give_back(asks)
