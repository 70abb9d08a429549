"""Server-sent events."""

import asyncio
from itertools import count

import pytest
from fastapi import HTTPException

from mailer.web.live import LiveStreams


async def _collect(streams: LiveStreams, versions: list[str], allowed: bool = True) -> list[str]:
    def measure() -> str:
        return versions.pop(0) if len(versions) > 1 else versions[0]

    return [event async for event in streams.events("issue 1", measure, lambda: allowed)]


def test_a_stream_tells_each_change_once_and_ends() -> None:
    streams = LiveStreams(measure_seconds=0.001, check_seconds=60, stream_seconds=0.3)
    assert asyncio.run(_collect(streams, ["a", "a", "b", "b"])) == ["data: changed\n\n"] * 2
    assert streams.open == 0


def test_a_stream_ends_with_the_session() -> None:
    streams = LiveStreams(measure_seconds=0.001, check_seconds=0, stream_seconds=60)
    assert asyncio.run(_collect(streams, ["a"], allowed=False)) == []


def test_all_viewers_share_a_measurement() -> None:
    streams, calls = LiveStreams(measure_seconds=60), count()
    assert {streams.measure("issue 1", lambda: str(next(calls))) for _ in range(20)} == {"0"}
    assert streams.measure("issue 2", lambda: "other") == "other"


def test_too_many_streams_are_refused() -> None:
    with pytest.raises(HTTPException) as refused:
        LiveStreams(max_streams=0).respond("issue 1", lambda: "a", lambda: True)
    assert refused.value.status_code == 503
