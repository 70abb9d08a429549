"""``mailer demo``."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "mailer", "demo", "--web-port", "0", "--inbox-port", "0"]
REASONS = {"unsubscribed", "suppressed", "nothing_in_sections"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not among pytest's own folders: those are for one user alone, and as root
    the database runs as another."""
    with tempfile.TemporaryDirectory(prefix="mailer-tests-") as made:
        yield Path(made)


def test_demo_sends_and_shows_the_mail_until_stopped(folder: Path) -> None:
    """From a shell that is set up for something else, in its background, and twice in a row."""
    said = folder / "said"
    others = {"MAILER_SMTP_TLS": "starttls", "MAILER_LEASE_SECONDS": "nonsense"}
    with said.open("w") as out:
        running = subprocess.Popen(
            [*COMMAND, "--json", "figures.json"],
            cwd=folder,
            env=others,
            stdout=out,
            stderr=out,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
    try:
        until = time.monotonic() + 300
        while "Stop with Ctrl-C." not in said.read_text():
            assert running.poll() is None and time.monotonic() < until, said.read_text()
            time.sleep(0.2)

        figures = json.loads((folder / "figures.json").read_text())
        assert figures["candidates"] == 500 and figures["failed"] == 0 and figures["languages"] == 18
        assert figures["skipped"].keys() == REASONS
        assert figures["sent"] == figures["caught"] == 500 - sum(figures["skipped"].values())
        assert figures["editions"] > 100 and figures["seconds"] > 0

        found = re.search(r"http://127.0.0.1:\d+/inbox", said.read_text())
        assert found
        with urllib.request.urlopen(found[0]) as page:
            assert f"{figures['sent']} mails" in page.read().decode()

        second = subprocess.run([*COMMAND, "--exit"], cwd=folder, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert second.stderr == "mailer: A demo is already running in .local/demo. Stop it first.\n"
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0, said.read_text()[-2000:]
    assert said.read_text().endswith("Stop with Ctrl-C.\nStopping.\n")

    again = subprocess.run([*COMMAND, "--exit"], cwd=folder, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The ledger adds up" in again.stdout and "Ctrl-C" not in again.stdout
    assert not list(folder.glob(".local/demo/postgres/postmaster.pid"))


def test_demo_does_not_start_if_figures_cannot_be_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--exit", "--json", "nowhere/figures.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mailer: nowhere/figures.json: No such file or directory.\n"
    assert not (tmp_path / ".local" / "demo" / "postgres").exists()
