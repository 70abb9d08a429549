"""The hand-over journal: what a worker was about to hand to the relay, and what the relay answered.

One small file per claim of a batch, ``{batch}-{epoch}.log`` in the state folder. ``D subscriber`` is written
before a message's final dot, ``A subscriber reply`` when the answer is there, ``W subscriber`` when the dot
was withheld after all. A plain write survives kill -9. The file goes when the claim's outcomes are in the
database; a file that is left behind tells the next claim of the batch what happened.

Whoever reads a journal closes it first, by its first byte: after that its owner, if it still lives, sends no
more. So nothing hangs on two clocks running alike.
"""

import contextlib
import mmap
import os
import secrets
import socket
import time
from collections.abc import Hashable
from pathlib import Path

from mailer.domain.journal import JournalEvidence, read_journal
from mailer.domain.outcomes import Reply, redact_addresses


class LeaseExpired(RuntimeError):
    """The claim's lease does not outlast this message's hand-over, or another worker has taken the batch."""


def _boot_id() -> str:
    """Another text after each start of the host, where the system tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Journals:
    """The journals of one state folder, which belongs to one host and is shared by its workers."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "journal"

    @property
    def worker(self) -> str:
        """This process's name: the folder's own, the host's, the process id."""
        return f"{self.folder_id}-{_boot_id()}/{socket.gethostname()}:{os.getpid()}"

    @property
    def folder_id(self) -> str:
        """A random name for the folder, so that a worker knows whether another one wrote here."""
        path = self._folder / "place"
        try:
            return path.read_text()
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            token = secrets.token_hex(6)
            fresh = self._folder / f"place.{token}"
            fresh.write_text(token)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # the first of several processes wins
            fresh.unlink()
            return path.read_text()

    def open(self, batch: int, epoch: int) -> "Journal":
        self._folder.mkdir(parents=True, exist_ok=True)
        return Journal(self._folder / f"{batch}-{epoch}.log")

    def close_and_read(self, batch: int, epoch: int, previous_worker: str) -> JournalEvidence | None:
        """What the claim of that epoch handed over; it hands over nothing after this. None: its journal is on
        another host, or lost.

        A host that went down may have lost the last lines, so a journal of before says nothing.
        """
        if previous_worker.split("/")[0] != self.worker.split("/")[0]:
            return None
        try:
            with (self._folder / f"{batch}-{epoch}.log").open("r+b", buffering=0) as file:
                file.write(_CLOSED_MARK)
                time.sleep(_WRITE_GRACE_SECONDS)
                file.seek(0)
                return read_journal(file.readall().decode("utf-8", "replace"))
        except FileNotFoundError:
            return JournalEvidence()  # the file is made before the first message goes out

    def delete(self, batch: int, epoch: int) -> None:
        (self._folder / f"{batch}-{epoch}.log").unlink(missing_ok=True)


_MAX_REPLY_CHARACTERS = 1_000
_GROWTH_BYTES = 65_536
"""Bytes by which the file grows; more than any line."""
_CLOSED_MARK = b"X"
_WRITE_GRACE_SECONDS = 0.02
"""Seconds after which an owner that did not see the mark has written its line where it can be read, and one that
saw it has taken its line back."""


class Journal:
    """The journal of one claim; what an SMTP transport tells about its hand-overs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.deadline = float("inf")
        """On the monotonic clock: no final dot goes out after it."""
        self._map: mmap.mmap | None = None
        self._size = 0
        self._end = 2  # after the mark and the end of its line

    def before_final_dot(self, key: Hashable) -> None:
        """Raises OSError when it cannot be written down, LeaseOver when it is too late to send."""
        written = self._write(f"D {key}\n".encode())
        # In this order: whoever reads no D knows that no dot follows, however long this process was stopped.
        if time.monotonic() > self.deadline or written[:1] == _CLOSED_MARK:
            self._write(f"W {key}\n".encode())
            raise LeaseExpired(LeaseExpired.__doc__)

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        # Without addresses: nobody who is erased is looked for in these files.
        self._write(f"A {key} {redact_addresses(str(reply))[:_MAX_REPLY_CHARACTERS]}\n".encode())

    def _write(self, line: bytes) -> mmap.mmap:
        end = self._end + len(line)
        if end > self._size or self._map is None:
            self._map = self._grow()
        self._map[self._end : end] = line
        self._end = end
        return self._map

    def _grow(self) -> mmap.mmap:
        # Written, not only made longer: a full disk is to be noticed here, and not in the map.
        if os.write(self._fd, bytes(_GROWTH_BYTES)) != _GROWTH_BYTES:
            raise OSError("the journal could not be written whole: is the disk full?")
        self._size = os.fstat(self._fd).st_size
        grown = mmap.mmap(self._fd, self._size)
        grown[1:2] = b"\n"
        return grown

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        os.close(self._fd)

    def delete(self) -> None:
        """The outcomes are in the database: nobody needs this file any more."""
        self.close()
        self._path.unlink(missing_ok=True)
