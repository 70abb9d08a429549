"""The journal on disk, written by a worker and read by its successor."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailer.adapters.journal import Journal, Journals, LeaseExpired
from mailer.domain.journal import JournalEvidence
from mailer.domain.outcomes import Reply

OK = Reply(250, "2.0.0", "Ok")


def test_successor_reads_transfers_and_replies(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journal = journals.open(7, 2)
    journal.before_final_dot(1)
    journal.before_final_dot(2)
    journal.after_reply(1, OK)
    # The worker is gone now: nothing was closed.
    found = Journals(tmp_path).close_and_read(7, 2, journals.worker)
    assert found == JournalEvidence(frozenset({1, 2}), {1: OK})
    assert Journals(tmp_path).close_and_read(7, 3, journals.worker) == JournalEvidence(), "each claim has its own"
    journal.delete()
    assert not list((tmp_path / "journal").glob("*.log"))


def test_reply_is_recorded_without_addresses(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journals.open(1, 1).after_reply(5, Reply(550, "5.1.1", "<ann@example.org>: mailbox unknown"))
    (file,) = (tmp_path / "journal").glob("*.log")
    assert b"@" not in file.read_bytes()
    found = journals.close_and_read(1, 1, journals.worker)
    assert found == JournalEvidence(frozenset(), {5: Reply(550, "5.1.1", "<…>: mailbox unknown")})


def test_missing_journal_is_proof_only_on_its_own_host(tmp_path: Path) -> None:
    here, elsewhere = Journals(tmp_path / "here"), Journals(tmp_path / "elsewhere")
    assert here.close_and_read(1, 1, here.worker) == JournalEvidence(), "it is made before the first message goes out"
    assert here.close_and_read(1, 1, elsewhere.worker) is None
    assert here.close_and_read(1, 1, "") is None


def test_journal_from_before_a_reboot_is_no_proof(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journals.open(1, 1).before_final_dot(5)
    before = journals.worker.replace(journals.worker.split("/")[0], f"{journals.folder_id}-another-start")
    assert journals.close_and_read(1, 1, before) is None
    assert journals.close_and_read(1, 1, journals.worker) == JournalEvidence(frozenset({5}))


def test_closing_keeps_the_file_and_forgetting_removes_it(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journals.open(1, 1).close()
    assert [path.name for path in (tmp_path / "journal").glob("*.log")] == ["1-1.log"]
    journals.delete(1, 1)
    journals.delete(1, 1)
    assert not list((tmp_path / "journal").glob("*.log"))


def test_no_final_dot_after_the_lease_expired(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journal = journals.open(1, 1)
    journal.deadline = time.monotonic() + 60
    journal.before_final_dot(1)
    journal.deadline = time.monotonic() - 0.001
    with pytest.raises(LeaseExpired):
        journal.before_final_dot(2)
    found = journals.close_and_read(1, 1, journals.worker)
    assert found is not None
    assert found.final_dot_sent == {1}, "a withheld dot is taken back"


def test_no_final_dot_after_the_journal_was_read(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journal, unused = journals.open(1, 1), journals.open(1, 2)
    journal.before_final_dot(1)
    for epoch, handed in ((1, {1}), (2, set())):
        found = journals.close_and_read(1, epoch, journals.worker)
        assert found is not None
        assert found.final_dot_sent == handed
    for late in (journal, unused):
        for reader in (2, 3):
            with pytest.raises(LeaseExpired):
                late.before_final_dot(reader)
    journal.after_reply(1, OK)
    found = journals.close_and_read(1, 1, journals.worker)
    assert found == JournalEvidence(frozenset({1}), {1: OK}), "what it hears is still written down"


def test_killed_worker_leaves_its_journal(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom mailer.adapters.journal import Journals\n"
        "journal = Journals(Path(sys.argv[1])).open(1, 1)\njournal.before_final_dot(5)\n"
        "print('written', flush=True)\ntime.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"written\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    journals = Journals(tmp_path)
    found = journals.close_and_read(1, 1, journals.worker)
    assert found is not None
    assert found.final_dot_sent == {5}


def test_workers_that_start_together_agree_on_the_place(tmp_path: Path) -> None:
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        go = threading.Barrier(8)
        found: list[str] = []

        def ask(folder: Path = folder, go: threading.Barrier = go, found: list[str] = found) -> None:
            go.wait()
            found.append(Journals(folder).folder_id)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1
        assert [path.name for path in (folder / "journal").iterdir()] == ["place"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: a write is cut short there, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 4_000, 65_535])
def test_full_disk_prevents_the_dot_and_corrupts_no_later_line(tmp_path: Path, room: int) -> None:
    journals = Journals(tmp_path)
    journal: Journal = journals.open(1, 1)
    journal.before_final_dot(1)
    journal.after_reply(1, OK)
    size = os.stat(tmp_path / "journal" / "1-1.log").st_size
    written = 1
    with full_disk(size + room), pytest.raises(OSError, match=r"too large|written completely"):
        while True:
            journal.before_final_dot(2_000_000_000 + written)
            written += 1
    journal.before_final_dot(3)
    journal.after_reply(3, OK)
    found = journals.close_and_read(1, 1, journals.worker)
    handed = frozenset({1, 3, *(2_000_000_000 + number for number in range(1, written))})
    assert found == JournalEvidence(handed, {1: OK, 3: OK})
    journal.delete()


def test_a_long_journal_is_read_whole(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    journal = journals.open(1, 1)
    long = Reply(250, "2.0.0", "x" * 490)
    for key in range(1, 1001):
        journal.before_final_dot(key)
        journal.after_reply(key, long)
    found = journals.close_and_read(1, 1, journals.worker)
    assert found == JournalEvidence(frozenset(range(1, 1001)), dict.fromkeys(range(1, 1001), long))
