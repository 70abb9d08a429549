"""Server-sent events: a page is told that what it shows has changed, and fetches itself again.

What is watched is measured once a second for all streams of this process together. A stream ends by itself after a
while, and with the session; the browser then connects again, or live.js goes on by asking every few seconds.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

from fastapi import HTTPException
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

MEASURE_SECONDS = 1.0
MAX_STREAMS = 200
"""In one process. More are refused, and those pages ask by themselves."""
STREAM_SECONDS = 60.0
CHECK_SECONDS = 10.0
"""How often a stream asks whether it may go on, and shows that it is alive."""
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx passes each event on at once


class LiveStreams:
    """The open streams of this process, and what they watch. Thread-safe."""

    def __init__(
        self,
        max_streams: int = MAX_STREAMS,
        measure_seconds: float = MEASURE_SECONDS,
        check_seconds: float = CHECK_SECONDS,
        stream_seconds: float = STREAM_SECONDS,
    ) -> None:
        self._lock = threading.Lock()
        self._measured: dict[str, tuple[float, str]] = {}
        self._max_streams, self._measure_seconds = max_streams, measure_seconds
        self._check_seconds, self._stream_seconds = check_seconds, stream_seconds
        self.open = 0

    def measure(self, name: str, measure: Callable[[], str]) -> str:
        """Return the version of something as ``measure`` returned it within the last second."""
        with self._lock:
            at, version = self._measured.get(name, (0.0, ""))
            if time.monotonic() - at >= self._measure_seconds or not version:
                version = measure()
                now = time.monotonic()
                fresh = {key: kept for key, kept in self._measured.items() if now - kept[0] < self._stream_seconds}
                self._measured = fresh | {name: (now, version)}
            return version

    def respond(self, name: str, measure: Callable[[], str], allowed: Callable[[], bool]) -> StreamingResponse:
        """Return a stream with an event at its beginning and for each change.

        ``allowed``: whether its viewer may still look.

        Raises HTTPException 503 if there are too many streams.
        """
        if self.open >= self._max_streams:
            raise HTTPException(503, headers={"Retry-After": "30"})
        return StreamingResponse(self.events(name, measure, allowed), media_type="text/event-stream", headers=_HEADERS)

    async def events(self, name: str, measure: Callable[[], str], allowed: Callable[[], bool]) -> AsyncIterator[str]:
        self.open += 1
        try:
            began = checked = time.monotonic()
            known = ""
            while time.monotonic() - began < self._stream_seconds:
                if time.monotonic() - checked >= self._check_seconds:
                    checked = time.monotonic()
                    if not await run_in_threadpool(allowed):
                        return
                    yield ": alive\n\n"
                if (version := await run_in_threadpool(self.measure, name, measure)) != known:
                    known = version
                    yield "data: changed\n\n"
                await asyncio.sleep(self._measure_seconds)
        finally:
            self.open -= 1
