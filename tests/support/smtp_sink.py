"""The benchmarks' SMTP sink as a relay for tests. It runs in a thread and can misbehave on request."""

from pathlib import Path

import bench.sink
from bench.sink import Behaviour
from mailer.adapters.tokens import Purpose, Tokens


class SinkServer(bench.sink.SinkServer):
    """Listens until its ``with`` block ends. ``behaviour`` may be changed while it runs."""

    def __init__(self, log: Path, behaviour: Behaviour | None = None) -> None:
        super().__init__(str(log), behaviour)
        self._log = log

    def accepted(self, tokens: Tokens) -> list[int]:
        """Return the subscriber of each accepted message, in order of acceptance."""
        subscribers = []
        for line in self._log.read_text().split():
            token_values = tokens.read_mail_token(Purpose.message, line.strip("<>").partition("@")[0])
            assert token_values is not None, f"not a Message-ID of ours: {line}"
            subscribers.append(token_values[1])
        return subscribers
