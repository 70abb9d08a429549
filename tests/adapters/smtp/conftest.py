import asyncio
import importlib.util
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on either event loop; one that hangs fails."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def guarded(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(30):
            return await coroutine

    def runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as loop:
            return loop.run(guarded(coroutine))

    return runner


@pytest.fixture
def sink() -> ModuleType:
    """bench/sink.py, which is no package."""
    if "bench_sink" not in sys.modules:
        path = Path(__file__).parents[3] / "bench" / "sink.py"
        spec = importlib.util.spec_from_file_location("bench_sink", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["bench_sink"] = module
        spec.loader.exec_module(module)
    return sys.modules["bench_sink"]
