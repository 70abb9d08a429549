"""Token buckets in Redis, using its clock: rate limits across all workers on all hosts.

A bucket holds at most one second's tokens, and a new one is empty. So neither a pause nor a flushed Redis
causes a burst. If Redis does not answer, nothing is granted.
"""

from collections.abc import Sequence
from typing import Any

import redis

from mailer.domain.rate_limits import TokenGrant, TokenRequest

_ACQUIRE_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local want, least, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local grant, wait, available = want, 0, {}
for i, key in ipairs(KEYS) do
    local rate = tonumber(ARGV[3 + i])
    local most = math.max(1, rate)
    local bucket = redis.call('HMGET', key, 'tokens', 'at')
    local tokens, at = tonumber(bucket[1]) or 0, tonumber(bucket[2]) or now
    tokens = math.min(most, tokens + math.max(0, now - at) * rate)
    available[i] = tokens
    local drawable = tokens + ahead * most
    grant = math.min(grant, math.floor(drawable))
    wait = math.max(wait, (math.min(least, most) - drawable) / rate)
end
if wait > 0 then grant = 0 end
for i, key in ipairs(KEYS) do
    local rate = tonumber(ARGV[3 + i])
    redis.call('HSET', key, 'tokens', string.format('%.6f', available[i] - grant), 'at', string.format('%.6f', now))
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
    """Grants tokens from the buckets. Connects on first use."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10
        )
        self._acquire_script = self._redis.register_script(_ACQUIRE_SCRIPT)
        self._release_script = self._redis.register_script(_RELEASE_SCRIPT)

    def acquire(self, requests: Sequence[TokenRequest]) -> list[TokenGrant]:
        """Return a grant for each request: up to the requested tokens, equally from all its buckets."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for request in requests:
                    rates = [limit.rate for limit in request.limits]
                    self._acquire_script(
                        keys=_bucket_keys(request),
                        args=[request.tokens, request.minimum, int(request.may_borrow), *rates],
                        client=pipe,
                    )
                return [TokenGrant(int(count), float(wait)) for count, wait in pipe.execute()]
        except (redis.RedisError, OSError):
            return [_UNAVAILABLE] * len(requests)

    def release(self, requests: Sequence[TokenRequest]) -> None:
        """Return unused tokens to the buckets of each request."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for request in requests:
                    self._release_script(keys=_bucket_keys(request), args=[request.tokens], client=pipe)
                pipe.execute()
        except (redis.RedisError, OSError):
            return  # lost tokens only slow sending down

    def close(self) -> None:
        """Close the connections to Redis."""
        self._redis.close()


def _bucket_keys(request: TokenRequest) -> list[str]:
    return [f"mailer:rate:{limit.bucket}" for limit in request.limits]
