"""What processes tell each other about themselves, through Redis: counts of the last minute, and presence.

Nothing depends on it but what people look at. What cannot be told is lost, and nobody waits for it.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import redis

from mailer.domain.traffic import Passage, Presence

_SLOT = 5
"""Seconds that are counted together."""
_KEPT = 60
_PRESENT = 15
_APART = "\x1f"
_SILENCE = 10.0
"""Seconds for which nothing is told after Redis did not answer: nobody is to wait for it again and again."""


class Telemetry:
    """Nothing connects before there is something to tell. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10, decode_responses=True
        )
        self._lock = threading.Lock()
        self._counts: Counter[Passage] = Counter()
        self._told = -1e9

    def count(self, passages: Mapping[Passage, int]) -> None:
        """Add to the counts; they are told about once a second."""
        with self._lock:
            self._counts.update(passages)
            if time.monotonic() - self._told < 1:
                return
            self._told = time.monotonic()
        self.flush()

    def flush(self) -> None:
        """Tell what was counted and not told yet."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        key = f"mailer:traffic:{int(time.time()) // _SLOT}"
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for passage, count in counts.items():
                    pipe.hincrby(key, _APART.join(passage), count)
                pipe.expire(key, _KEPT + 2 * _SLOT)
                pipe.execute()
        except (redis.RedisError, OSError):
            self._told = time.monotonic() + _SILENCE

    def lately(self) -> dict[Passage, float]:
        """Counts a second over the last two full slots and the present one."""
        now = time.time()
        slot = int(now) // _SLOT
        found: Counter[Passage] = Counter()
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for one in (slot - 2, slot - 1, slot):
                    pipe.hgetall(f"mailer:traffic:{one}")
                for counts in pipe.execute():
                    for key, count in counts.items():
                        found[Passage(*key.split(_APART))] += int(count)
        except (redis.RedisError, OSError):
            return {}
        seconds = 2 * _SLOT + now - slot * _SLOT
        return {passage: count / seconds for passage, count in found.items()}

    def be_present(self, presence: Presence) -> None:
        """Say that a process is at work; it is forgotten when it does not say so for a while."""
        try:
            self._redis.set(f"mailer:present:{presence.name}", json.dumps(asdict(presence)), ex=_PRESENT)
        except (redis.RedisError, OSError):
            return

    def leave(self, name: str) -> None:
        try:
            self._redis.delete(f"mailer:present:{name}")
        except (redis.RedisError, OSError):
            return

    def present(self) -> list[Presence]:
        """The processes at work, by name."""
        try:
            keys = sorted(self._redis.scan_iter("mailer:present:*", count=1000))
            values = self._redis.mget(keys) if keys else []
        except (redis.RedisError, OSError):
            return []
        return [Presence(**json.loads(value)) for value in values if value]

    def hints(self, queues: list[str]) -> dict[str, int]:
        """Messages that wait in each queue of the broker."""
        try:
            return {queue: int(self._redis.llen(queue)) for queue in queues}
        except (redis.RedisError, OSError):
            return {}

    def close(self) -> None:
        self.flush()
        self._redis.close()
