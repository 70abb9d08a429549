"""The benchmarks' sink as a relay for tests: a real SMTP server in a thread that misbehaves on request."""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.sink import Behaviour, Sink
from mailer.adapters.tokens import Purpose, Tokens


class RunningSink:
    """Listens until its ``with`` block ends. ``behaviour`` may be changed while it runs."""

    def __init__(self, log: Path, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self._log = log
        self._sink = Sink(self.behaviour, log=str(log), seed=1)
        self._loop = asyncio.new_event_loop()
        self.port = self._loop.run_until_complete(self._sink.start())
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()

    def accepted(self, tokens: Tokens) -> list[int]:
        """The subscriber of each message that was accepted, in the order of acceptance."""
        found = []
        for line in self._log.read_text().split():
            opened = tokens.open_mail(Purpose.message, line.strip("<>").partition("@")[0])
            assert opened is not None, f"not a Message-ID of ours: {line}"
            found.append(opened[1])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._sink.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
