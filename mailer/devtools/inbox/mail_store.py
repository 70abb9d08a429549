"""The folder in which caught mail lies: one ``.eml`` file each, and an index of them in memory."""

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
    """What the index knows of one mail; all text is decoded."""

    id: str
    """Sixteen hexadecimal digits; they sort by arrival."""
    received_at: datetime
    envelope_sender: str
    recipients: tuple[str, ...]
    """The addresses of the envelope, not those of the ``To`` header."""
    sender: str
    """The ``From`` header."""
    subject: str
    date: str
    """The ``Date`` header as written."""
    language: str
    """``Content-Language`` as written, or empty."""
    size: int
    """Bytes of the file."""
    unsubscribe_url: str
    """The first http(s) address of ``List-Unsubscribe``, or empty."""


class Inbox:
    """Caught mail in a folder. Safe to use from several threads of one process.

    The folder is made when it is missing; mail that lies in it already is taken into the index.
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
        """Keep a mail, with its envelope in trace headers before it (RFC 5321, 4.4).

        Raises OSError when the folder cannot be written; then nothing is kept.
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
        """All mail, the oldest first."""
        with self._changed:
            return tuple(self._mails)

    def find(self, mail_id: str) -> CaughtMail | None:
        """The mail of this id, or None. Any string is safe to ask for."""
        return self._by_id.get(mail_id)

    def read(self, mail: CaughtMail) -> bytes:
        """The whole file: trace headers and the mail as it came."""
        return self._path(mail.id).read_bytes()

    def wait_for(self, count: int, timeout: float) -> tuple[CaughtMail, ...]:
        """Wait until there are at least ``count`` mails and return all of them.

        Raises TimeoutError after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._mails) >= count, timeout):
                raise TimeoutError(f"{len(self._mails)} of {count} mails came within {timeout:g} seconds.")
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
            insort(self._mails, mail, key=lambda known: known.id)
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
