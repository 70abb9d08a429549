"""Token buckets in Redis, on its clock: limits that hold for all workers on all hosts together.

A bucket holds at most what it gains in a second, and a new one is empty: so neither a pause nor a flushed Redis
grants a burst. When Redis does not answer, nothing is granted.
"""

from collections.abc import Sequence
from typing import Any

import redis

from mailer.domain.rate_limits import TokenGrant, TokenRequest

_ACQUIRE_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local want, least, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local grant, wait, held = want, 0, {}
for i, key in ipairs(KEYS) do
    local rate = tonumber(ARGV[3 + i])
    local most = math.max(1, rate)
    local found = redis.call('HMGET', key, 'tokens', 'at')
    local tokens, at = tonumber(found[1]) or 0, tonumber(found[2]) or now
    tokens = math.min(most, tokens + math.max(0, now - at) * rate)
    held[i] = tokens
    local drawable = tokens + ahead * most
    grant = math.min(grant, math.floor(drawable))
    wait = math.max(wait, (math.min(least, most) - drawable) / rate)
end
if wait > 0 then grant = 0 end
for i, key in ipairs(KEYS) do
    local rate = tonumber(ARGV[3 + i])
    redis.call('HSET', key, 'tokens', string.format('%.6f', held[i] - grant), 'at', string.format('%.6f', now))
    redis.call('PEXPIRE', key, math.ceil(60000 + 2000 / rate))
end
return {grant, string.format('%.6f', math.max(0, wait))}
"""

_RELEASE_SCRIPT = """
for i, key in ipairs(KEYS) do
    if redis.call('EXISTS', key) == 1 then redis.call('HINCRBYFLOAT', key, 'tokens', ARGV[1]) end
end
"""

_UNAVAILABLE = TokenGrant(0, 1.0)


class Limiter:
    """Nothing connects before the first question."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10
        )
        self._acquire_script = self._redis.register_script(_ACQUIRE_SCRIPT)
        self._release_script = self._redis.register_script(_RELEASE_SCRIPT)

    def acquire(self, requests: Sequence[TokenRequest]) -> list[TokenGrant]:
        """A grant for each ask: from none up to as many as wanted, the same number from each of its buckets."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for ask in requests:
                    keys = _bucket_keys(ask)
                    rates = [limit.rate for limit in ask.limits]
                    self._acquire_script(
                        keys=keys, args=[ask.tokens, ask.minimum, int(ask.may_borrow), *rates], client=pipe
                    )
                return [TokenGrant(int(count), float(wait)) for count, wait in pipe.execute()]
        except (redis.RedisError, OSError):
            return [_UNAVAILABLE] * len(requests)

    def release(self, requests: Sequence[TokenRequest]) -> None:
        """Put back what was granted and not used: ``want`` of each ask."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for ask in requests:
                    self._release_script(keys=_bucket_keys(ask), args=[ask.tokens], client=pipe)
                pipe.execute()
        except (redis.RedisError, OSError):
            return  # lost tokens only make it slower

    def close(self) -> None:
        self._redis.close()


def _bucket_keys(request: TokenRequest) -> list[str]:
    return [f"mailer:rate:{limit.bucket}" for limit in request.limits]
