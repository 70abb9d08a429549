"""The send journal: which final dots a worker sent, and the relay's replies.

Each claim of a batch has one small file, ``{batch}-{epoch}.log`` in the state folder. ``D subscriber`` is
written before a message's final dot, ``A subscriber reply`` after its reply, and ``W subscriber`` if the dot
was withheld after all. A plain write survives kill -9. The file is deleted once the claim's outcomes are in
the database. If a worker is lost, the next claim of the batch reads its file.

The reader first closes the journal by overwriting its first byte. A worker that is still running then sends
no more messages. So the protocol does not depend on synchronised clocks.
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
    """The claim's lease has expired, or another worker has taken over the batch."""


def _boot_id() -> str:
    """Return an id that changes whenever the host boots, or an empty string if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Journals:
    """The journals in a state folder, which the workers of one host share."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "journal"

    @property
    def host(self) -> str:
        """What the names of all workers begin with that can read the journals in this folder."""
        return f"{self.folder_id}-{_boot_id()}/"

    @property
    def worker(self) -> str:
        """The name of this process: folder id, boot id, host name and process id."""
        return f"{self.host}{socket.gethostname()}:{os.getpid()}"

    @property
    def folder_id(self) -> str:
        """A random id of the folder. It tells whether another worker used the same folder."""
        path = self._folder / "place"
        try:
            return path.read_text()
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            token = secrets.token_hex(6)
            fresh = self._folder / f"place.{token}"
            fresh.write_text(token)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # if several processes try, the first one wins
            fresh.unlink()
            return path.read_text()

    def open(self, batch: int, epoch: int) -> "Journal":
        """Create the journal of a claim."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return Journal(self._folder / f"{batch}-{epoch}.log")

    def close_and_read(self, batch: int, epoch: int, previous_worker: str) -> JournalEvidence | None:
        """Close the journal of an earlier claim and return its evidence.

        That claim sends nothing after this. Returns None if the journal is on another host, or was written
        before the host booted: a crash of the host may have lost its last lines.
        """
        if not previous_worker.startswith(self.host):
            return None
        try:
            with (self._folder / f"{batch}-{epoch}.log").open("r+b", buffering=0) as file:
                file.write(_CLOSED_MARK)
                time.sleep(_WRITE_GRACE_SECONDS)
                file.seek(0)
                return read_journal(file.readall().decode("utf-8", "replace"))
        except FileNotFoundError:
            return JournalEvidence()  # the file is created before the first message is sent

    def delete(self, batch: int, epoch: int) -> None:
        """Delete the journal of a claim, if there is one."""
        (self._folder / f"{batch}-{epoch}.log").unlink(missing_ok=True)


_MAX_REPLY_CHARACTERS = 1_000
_GROWTH_BYTES = 65_536
"""Bytes by which the file grows. No line is longer."""
_CLOSED_MARK = b"X"
_WRITE_GRACE_SECONDS = 0.02
"""Time for a running owner to finish: it has written its line if it missed the mark, or withdrawn it."""


class Journal:
    """The journal of one claim. It observes the SMTP transport."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.deadline = float("inf")
        """On the monotonic clock. No final dot is sent after it."""
        self._map: mmap.mmap | None = None
        self._size = 0
        self._end = 2  # after the mark and its line break

    def before_final_dot(self, key: Hashable) -> None:
        """Record a final dot. Raises OSError if that fails, LeaseExpired if it is too late to send."""
        written = self._write(f"D {key}\n".encode())
        # Check after writing: without a D line no dot follows, however long this process was suspended.
        if time.monotonic() > self.deadline or written[:1] == _CLOSED_MARK:
            self._write(f"W {key}\n".encode())
            raise LeaseExpired(LeaseExpired.__doc__)

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        """Record the reply to a final dot."""
        # Erasing a person does not search these files, so they must not contain addresses.
        self._write(f"A {key} {redact_addresses(str(reply))[:_MAX_REPLY_CHARACTERS]}\n".encode())

    def _write(self, line: bytes) -> mmap.mmap:
        end = self._end + len(line)
        if end > self._size or self._map is None:
            self._map = self._grow()
        self._map[self._end : end] = line
        self._end = end
        return self._map

    def _grow(self) -> mmap.mmap:
        # Write instead of truncate, so that a full disk fails here and not in the memory map.
        if os.write(self._fd, bytes(_GROWTH_BYTES)) != _GROWTH_BYTES:
            raise OSError("the journal could not be written completely: is the disk full?")
        self._size = os.fstat(self._fd).st_size
        grown = mmap.mmap(self._fd, self._size)
        grown[1:2] = b"\n"
        return grown

    def close(self) -> None:
        """Close the file."""
        if self._map is not None:
            self._map.close()
        os.close(self._fd)

    def delete(self) -> None:
        """Close and delete the file, once the outcomes are in the database."""
        self.close()
        self._path.unlink(missing_ok=True)
