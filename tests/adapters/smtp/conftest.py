import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> RunCoroutine:
    """Runs a coroutine on either event loop; one that hangs fails."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def guarded(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(30):
            return await coroutine

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as loop:
            return loop.run(guarded(coroutine))

    return runner
