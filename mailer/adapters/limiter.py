"""Token buckets in Redis, on its clock: limits that hold for all workers on all hosts together.

A bucket holds at most what it gains in a second, and a new one is empty: so neither a pause nor a flushed Redis
grants a burst. When Redis does not answer, nothing is granted.
"""

from collections.abc import Sequence
from typing import Any

import redis

from mailer.domain.limits import Ask, Grant

_TAKE = """
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

_GIVE_BACK = """
for i, key in ipairs(KEYS) do
    if redis.call('EXISTS', key) == 1 then redis.call('HINCRBYFLOAT', key, 'tokens', ARGV[1]) end
end
"""

_AWAY = Grant(0, 1.0)


class Limiter:
    """Nothing connects before the first question."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10
        )
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)

    def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """A grant for each ask: from none up to as many as wanted, the same number from each of its buckets."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for ask in asks:
                    keys = _keys(ask)
                    rates = [limit.rate for limit in ask.limits]
                    self._take(keys=keys, args=[ask.want, ask.least, int(ask.ahead), *rates], client=pipe)
                return [Grant(int(count), float(wait)) for count, wait in pipe.execute()]
        except (redis.RedisError, OSError):
            return [_AWAY] * len(asks)

    def give_back(self, asks: Sequence[Ask]) -> None:
        """Put back what was granted and not used: ``want`` of each ask."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for ask in asks:
                    self._give_back(keys=_keys(ask), args=[ask.want], client=pipe)
                pipe.execute()
        except (redis.RedisError, OSError):
            return  # lost tokens only make it slower

    def close(self) -> None:
        self._redis.close()


def _keys(ask: Ask) -> list[str]:
    return [f"mailer:rate:{limit.bucket}" for limit in ask.limits]
