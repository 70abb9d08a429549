"""Stores received mail in a folder, one ``.eml`` file each, with an index in memory."""

import os
import re
import threading
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path

from mailer.devtools.inbox.headers import decoded, header

_FILE_NAME = re.compile(r"[0-9a-f]{16}\.eml")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_ONE_CLICK_URL = re.compile(r"<\s*(https?://[^\s<>]+)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """The index entry of a mail. All text is decoded."""

    id: str
    """Sixteen hexadecimal digits that sort by time of arrival."""
    received_at: datetime
    envelope_sender: str
    recipients: tuple[str, ...]
    """The envelope recipients, not the ``To`` header."""
    sender: str
    """The ``From`` header."""
    subject: str
    date: str
    """The ``Date`` header, unparsed."""
    language: str
    """The ``Content-Language`` header, or empty."""
    size: int
    """The size of the file in bytes."""
    unsubscribe_url: str
    """The first http or https URL in ``List-Unsubscribe``, or empty."""


class Inbox:
    """Received mail in a folder. Thread-safe within one process.

    Creates the folder if it is missing, and indexes mail that is already in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mails: list[CaughtMail] = []
        self._by_id: dict[str, CaughtMail] = {}
        self._last_id = 0
        self._changed = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(".*.tmp"):
            path.unlink()
        for path in folder.glob("*.eml"):
            if _FILE_NAME.fullmatch(path.name):
                self._index(path.stem, path.read_bytes())

    def add(self, sender: str, recipients: Sequence[str], content: bytes) -> CaughtMail:
        """Store a mail with its envelope in trace headers (RFC 5321 section 4.4).

        Raises OSError if the folder is not writable. Nothing is stored then.
        """
        trace = [f"Return-Path: <{_one_line(sender)}>"]
        trace += [f"Delivered-To: {_one_line(recipient)}" for recipient in recipients]
        data = "\r\n".join([*trace, ""]).encode("utf-8", "surrogateescape") + content
        mail_id = self._next_id()
        unfinished = self.folder / f".{mail_id}.tmp"
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, self._path(mail_id))
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        return self._index(mail_id, data)

    def messages(self) -> tuple[CaughtMail, ...]:
        """Return all mail, oldest first."""
        with self._changed:
            return tuple(self._mails)

    def find(self, mail_id: str) -> CaughtMail | None:
        """Return the mail with this id, or None. The id may be any string."""
        return self._by_id.get(mail_id)

    def read(self, mail: CaughtMail) -> bytes:
        """Return the content of the file: trace headers and the mail as received."""
        return self._path(mail.id).read_bytes()

    def wait_for(self, count: int, timeout: float) -> tuple[CaughtMail, ...]:
        """Wait for at least ``count`` mails and return all mail.

        Raises TimeoutError after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._mails) >= count, timeout):
                raise TimeoutError(f"{len(self._mails)} of {count} mails arrived within {timeout:g} seconds.")
            return tuple(self._mails)

    def _path(self, mail_id: str) -> Path:
        return self.folder / f"{mail_id}.eml"

    def _next_id(self) -> str:
        with self._changed:
            self._last_id = max(time.time_ns(), self._last_id + 1)
            return f"{self._last_id:016x}"

    def _index(self, mail_id: str, data: bytes) -> CaughtMail:
        mail = _summarize(mail_id, data)
        with self._changed:
            self._last_id = max(self._last_id, int(mail_id, 16))
            insort(self._mails, mail, key=lambda item: item.id)
            self._by_id[mail_id] = mail
            self._changed.notify_all()
        return mail


def _summarize(mail_id: str, data: bytes) -> CaughtMail:
    end = _END_OF_HEADERS.search(data)
    message = BytesHeaderParser().parsebytes(data[: end.start()] if end else data)
    recipients = tuple(decoded(raw) for name, raw in message.raw_items() if name == "Delivered-To")
    unsubscribe = _ONE_CLICK_URL.search(header(message, "List-Unsubscribe"))
    return CaughtMail(
        id=mail_id,
        received_at=datetime.fromtimestamp(int(mail_id, 16) / 1e9, UTC),
        envelope_sender=header(message, "Return-Path").strip("<>"),
        recipients=recipients,
        sender=header(message, "From"),
        subject=header(message, "Subject"),
        date=header(message, "Date"),
        language=header(message, "Content-Language"),
        size=len(data),
        unsubscribe_url=unsubscribe[1] if unsubscribe else "",
    )


def _one_line(address: str) -> str:
    return "".join(address.split())
