"""Server-sent events."""

import asyncio
from itertools import count

import pytest
from fastapi import HTTPException

from mailer.web.live import LiveStreams

ALIVE, CHANGED = ": alive\n\n", "data: changed\n\n"


def _collect(streams: LiveStreams, versions: list[str]) -> list[str]:
    """Return the events of a stream whose viewer may look until only one version is left."""

    async def collect() -> list[str]:
        return [event async for event in streams.events("issue 1", lambda: versions.pop(0), lambda: len(versions) > 1)]

    return asyncio.run(collect())


def test_a_stream_tells_each_change_once_and_ends_with_the_session() -> None:
    streams = LiveStreams(measure_seconds=0, check_seconds=0)
    assert _collect(streams, ["a", "a", "b", "b"]) == [ALIVE, CHANGED, ALIVE, ALIVE, CHANGED]
    assert streams.open == 0


def test_a_stream_ends_by_itself() -> None:
    streams = LiveStreams(measure_seconds=0, check_seconds=0, stream_seconds=0)
    assert _collect(streams, ["a", "b"]) == []
    assert streams.open == 0


def test_all_viewers_share_a_measurement() -> None:
    streams, calls = LiveStreams(measure_seconds=60), count()
    assert {streams.measure("issue 1", lambda: str(next(calls))) for _ in range(20)} == {"0"}
    assert streams.measure("issue 2", lambda: "other") == "other"


def test_too_many_streams_are_refused() -> None:
    with pytest.raises(HTTPException) as refused:
        LiveStreams(max_streams=0).respond("issue 1", lambda: "a", lambda: True)
    assert refused.value.status_code == 503
