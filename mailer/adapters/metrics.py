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

from mailer.domain.metrics import OutcomeKey, WorkerHeartbeat

_SLOT_SECONDS = 5
"""Seconds that are counted together."""
_RETENTION_SECONDS = 60
_HEARTBEAT_TTL_SECONDS = 15
_FIELD_SEPARATOR = "\x1f"
_REDIS_BACKOFF_SECONDS = 10.0
"""Seconds for which nothing is told after Redis did not answer: nobody is to wait for it again and again."""


class Metrics:
    """Nothing connects before there is something to tell. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10, decode_responses=True
        )
        self._lock = threading.Lock()
        self._counts: Counter[OutcomeKey] = Counter()
        self._flushed_at = -1e9

    def add(self, counts: Mapping[OutcomeKey, int]) -> None:
        """Add to the counts; they are told about once a second."""
        with self._lock:
            self._counts.update(counts)
            if time.monotonic() - self._flushed_at < 1:
                return
            self._flushed_at = time.monotonic()
        self.flush()

    def flush(self) -> None:
        """Tell what was counted and not told yet."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        key = f"mailer:traffic:{int(time.time()) // _SLOT_SECONDS}"
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for passage, count in counts.items():
                    pipe.hincrby(key, _FIELD_SEPARATOR.join(passage), count)
                pipe.expire(key, _RETENTION_SECONDS + 2 * _SLOT_SECONDS)
                pipe.execute()
        except (redis.RedisError, OSError):
            self._flushed_at = time.monotonic() + _REDIS_BACKOFF_SECONDS

    def recent_rates(self) -> dict[OutcomeKey, float]:
        """Counts a second over the last two full slots and the present one."""
        now = time.time()
        slot = int(now) // _SLOT_SECONDS
        found: Counter[OutcomeKey] = Counter()
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for one in (slot - 2, slot - 1, slot):
                    pipe.hgetall(f"mailer:traffic:{one}")
                for counts in pipe.execute():
                    for key, count in counts.items():
                        found[OutcomeKey(*key.split(_FIELD_SEPARATOR))] += int(count)
        except (redis.RedisError, OSError):
            return {}
        seconds = 2 * _SLOT_SECONDS + now - slot * _SLOT_SECONDS
        return {passage: count / seconds for passage, count in found.items()}

    def send_heartbeat(self, heartbeat: WorkerHeartbeat) -> None:
        """Say that a process is at work; it is forgotten when it does not say so for a while."""
        try:
            self._redis.set(
                f"mailer:present:{heartbeat.name}", json.dumps(asdict(heartbeat)), ex=_HEARTBEAT_TTL_SECONDS
            )
        except (redis.RedisError, OSError):
            return

    def deregister(self, name: str) -> None:
        try:
            self._redis.delete(f"mailer:present:{name}")
        except (redis.RedisError, OSError):
            return

    def live_workers(self) -> list[WorkerHeartbeat]:
        """The processes at work, by name."""
        try:
            keys = sorted(self._redis.scan_iter("mailer:present:*", count=1000))
            values = self._redis.mget(keys) if keys else []
        except (redis.RedisError, OSError):
            return []
        return [WorkerHeartbeat(**json.loads(value)) for value in values if value]

    def queue_lengths(self, queues: list[str]) -> dict[str, int]:
        """Messages that wait in each queue of the broker."""
        try:
            return {queue: int(self._redis.llen(queue)) for queue in queues}
        except (redis.RedisError, OSError):
            return {}

    def close(self) -> None:
        self.flush()
        self._redis.close()
