"""Counters of the last minute, heartbeats of workers and queue lengths, in Redis.

Display only. Writes are best effort: if Redis is down, counts are dropped.
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
"""Length of one counting interval."""
_RETENTION_SECONDS = 60
_HEARTBEAT_TTL_SECONDS = 15
_FIELD_SEPARATOR = "\x1f"
_REDIS_BACKOFF_SECONDS = 10.0
"""Pause in writing after Redis did not answer, so that callers do not wait repeatedly."""


class Metrics:
    """Reads and writes metrics. Thread-safe; connects on first use."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=10, decode_responses=True
        )
        self._lock = threading.Lock()
        self._counts: Counter[OutcomeKey] = Counter()
        self._flushed_at = -1e9

    def add(self, counts: Mapping[OutcomeKey, int]) -> None:
        """Add to the counters. They are written about once a second."""
        with self._lock:
            self._counts.update(counts)
            if time.monotonic() - self._flushed_at < 1:
                return
            self._flushed_at = time.monotonic()
        self.flush()

    def flush(self) -> None:
        """Write the counts that are not written yet."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        key = f"mailer:traffic:{int(time.time()) // _SLOT_SECONDS}"
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for outcome_key, count in counts.items():
                    pipe.hincrby(key, _FIELD_SEPARATOR.join(outcome_key), count)
                pipe.expire(key, _RETENTION_SECONDS + 2 * _SLOT_SECONDS)
                pipe.execute()
        except (redis.RedisError, OSError):
            self._flushed_at = time.monotonic() + _REDIS_BACKOFF_SECONDS

    def recent_rates(self) -> dict[OutcomeKey, float]:
        """Return rates in counts a second, over the last two complete intervals and the current one."""
        now = time.time()
        slot = int(now) // _SLOT_SECONDS
        totals: Counter[OutcomeKey] = Counter()
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for number in (slot - 2, slot - 1, slot):
                    pipe.hgetall(f"mailer:traffic:{number}")
                for counts in pipe.execute():
                    for key, count in counts.items():
                        totals[OutcomeKey(*key.split(_FIELD_SEPARATOR))] += int(count)
        except (redis.RedisError, OSError):
            return {}
        seconds = 2 * _SLOT_SECONDS + now - slot * _SLOT_SECONDS
        return {key: count / seconds for key, count in totals.items()}

    def send_heartbeat(self, heartbeat: WorkerHeartbeat) -> None:
        """Report that a worker is running. The report expires after 15 seconds."""
        try:
            self._redis.set(
                f"mailer:heartbeat:{heartbeat.name}", json.dumps(asdict(heartbeat)), ex=_HEARTBEAT_TTL_SECONDS
            )
        except (redis.RedisError, OSError):
            return

    def deregister(self, name: str) -> None:
        """Remove a worker's heartbeat when it stops."""
        try:
            self._redis.delete(f"mailer:heartbeat:{name}")
        except (redis.RedisError, OSError):
            return

    def live_workers(self) -> list[WorkerHeartbeat]:
        """Return the heartbeats of running workers, sorted by name."""
        try:
            keys = sorted(self._redis.scan_iter("mailer:heartbeat:*", count=1000))
            values = self._redis.mget(keys) if keys else []
        except (redis.RedisError, OSError):
            return []
        return [WorkerHeartbeat(**json.loads(value)) for value in values if value]

    def ping(self) -> None:
        """Raise RedisError or OSError if Redis does not answer or refuses the login."""
        self._redis.ping()

    def queue_lengths(self, queues: list[str]) -> dict[str, int]:
        """Return the number of messages in each queue of the broker."""
        try:
            return {queue: int(self._redis.llen(queue)) for queue in queues}
        except (redis.RedisError, OSError):
            return {}

    def close(self) -> None:
        """Write the remaining counts and close the connections to Redis."""
        self.flush()
        self._redis.close()
