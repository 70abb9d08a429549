"""The benchmarks' sink as a relay for tests: a real SMTP server in a thread that misbehaves on request."""

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
        """The subscriber of each message that was accepted, in the order of acceptance."""
        found = []
        for line in self._log.read_text().split():
            opened = tokens.read_mail_token(Purpose.message, line.strip("<>").partition("@")[0])
            assert opened is not None, f"not a Message-ID of ours: {line}"
            found.append(opened[1])
        return found
