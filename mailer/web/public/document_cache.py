"""Keeps rendered feeds and sitemaps in memory, because programs fetch them over and over."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

MAX_AGE = timedelta(minutes=5)
"""As long as other caches may keep a public page."""
_MAX_CHARS = 16_000_000


class DocumentCache:
    """Documents by path, each of one version of the archive. The least recently used go first. Thread-safe."""

    def __init__(self, max_chars: int = _MAX_CHARS) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._documents: OrderedDict[str, tuple[str, datetime, str]] = OrderedDict()
        self._lock = Lock()

    def get(self, path: str, version: str, now: datetime, render: Callable[[], str]) -> str:
        """Return the document of this version, rendered at most MAX_AGE ago."""
        with self._lock:
            known_version, rendered_at, document = self._documents.get(path, ("", now, ""))
            if known_version == version and now - rendered_at < MAX_AGE:
                self._documents.move_to_end(path)
                return document
        document = render()
        with self._lock:
            self._chars += len(document) - len(self._documents.pop(path, ("", now, ""))[2])
            self._documents[path] = version, now, document
            while self._chars > self._max_chars:
                self._chars -= len(self._documents.popitem(last=False)[1][2])
        return document
