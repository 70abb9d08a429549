"""The short version of bench/faults.py: an issue is sent under a series of faults."""

import json
import subprocess
import sys
from pathlib import Path

from mailer.settings import ROOT

READERS = 1200


def test_nobody_is_lost_or_receives_two(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["--only", "mixed", "--readers", str(READERS), "--batch", "60", "--latency", "0.06"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "faults.py"), *words, "--json", str(figures)],
        capture_output=True,
        text=True,
    )
    (found,) = json.loads(figures.read_text())
    assert (found["lost"], found["twice"], found["problems"]) == (0, 0, [])
    assert found["sent"] + found["uncertain"] == READERS
    assert found["uncertain"] <= found["connections"]
    assert found["recovered_seconds"] is not None
    assert found["machine"]["cores"]
    assert done.returncode == 0, done.stderr
    assert found["connections"] >= 4, "something was disturbed"
