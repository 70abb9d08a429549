"""Compiled editions in memory."""

import threading
from collections import OrderedDict
from collections.abc import Iterable

from mailer.domain.message import CompiledMessage
from mailer.store import editions
from mailer.store.database import Session

MAX_BYTES = 64_000_000


class MessageCache:
    """Keeps the most recently used editions; threads share it."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._messages: OrderedDict[int, tuple[CompiledMessage, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def load(self, session: Session, edition_ids: Iterable[int]) -> dict[int, CompiledMessage]:
        """Return the messages of these editions, from memory where possible."""
        with self._lock:
            wanted = set(edition_ids)
            if missing := wanted - self._messages.keys():
                for row in editions.load_messages(session, missing):
                    message = CompiledMessage.deserialize(row.message, row.slots)
                    self._messages[row.id] = (message, len(row.message))
                    self._bytes += len(row.message)
            found = {}
            for id in wanted:
                self._messages.move_to_end(id)
                found[id] = self._messages[id][0]
            while self._bytes > self._max_bytes and len(self._messages) > len(found):
                self._bytes -= self._messages.popitem(last=False)[1][1]
            return found
