"""Compare achieved with configured rates, with two workers that share each limit.

An issue is sent with a limit on its relay, on itself or on each of two receiving domains, by two worker processes
with two threads each. The messages that the sink accepts are counted for some seconds in the middle.

    .venv/bin/python bench/rates.py [--seconds 15] [--json FILE]
"""

import argparse
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.cli.supervisor import Supervisor
from mailer.services.issues import schedule

WARM_UP_SECONDS = 3.0
"""Seconds of sending before counting begins."""


@dataclass(frozen=True, slots=True)
class Case:
    """A limit to test. ``nominal_rates``: messages a second by domain; "" means all domains."""

    name: str
    nominal_rates: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    issue_rate: float | None = None


CASES = [
    Case("relay, 500/s", {"": 500}, {"smtp_rate": "500/s"}),
    Case("relay, 20/s", {"": 20}, {"smtp_rate": "20/s"}),
    Case("issue, 200/s", {"": 200}, issue_rate=200),
    Case(
        "two domains, 150/s and 50/s",
        {"d0.example.org": 150, "d1.example.org": 50},
        {
            "providers": [
                {"name": "Large", "domains": ["d0.example.org"], "rate": "150/s"},
                {"name": "Small", "domains": ["d1.example.org"], "rate": "50/s"},
            ]
        },
    ),
]


def run(case: Case, seconds: float, folder: Path) -> dict[str, float]:
    """Return the messages a second that the sink accepted, by receiving domain."""
    log = folder / "accepted.log"
    with (
        harness.sink("--log", str(log)) as (port, _),
        harness.service(smtp_port=port, **case.settings) as app,
        Supervisor(app) as processes,
    ):
        issue = harness.make_issue(app, "en")
        rate = max(case.nominal_rates.values())
        count = int(rate * (seconds + 2 * WARM_UP_SECONDS) * len(case.nominal_rates)) + 1000
        harness.make_subscribers(app, count, ["en"])
        domains = sorted(case.nominal_rates) if all(case.nominal_rates) else ["d0.example.org"]
        with app.database.transaction() as session:
            query = "UPDATE subscriber SET address = 'reader' || id || '@' || (CAST(:domains AS text[]))[1 + id % :n]"
            session.execute(text(query), {"domains": domains, "n": len(domains)})
        schedule.set_max_rate(app.database, issue, case.issue_rate, "bench")
        processes.start_worker("prepare", "scheduler,expand,compose", 2)
        for number in range(2):
            processes.start_worker(f"send{number}", "send,retry", 2)
        processes.start_beat()
        harness.wait_for_workers(app, 3)
        schedule.schedule(app.database, issue, datetime.now(UTC), "bench")
        harness.wait_for(lambda: log.exists() and log.stat().st_size > 0, 60)
        time.sleep(WARM_UP_SECONDS)
        first_byte, began = log.stat().st_size, time.monotonic()
        time.sleep(seconds)
        last_byte, elapsed = log.stat().st_size, time.monotonic() - began
        lines = log.read_bytes()[first_byte:last_byte].split()
        tokens = [
            app.tokens.read_mail_token(Purpose.message, line.decode().strip("<>").partition("@")[0]) for line in lines
        ]
        readers = [token[1] for token in tokens if token]
        return {
            name: sum(not name or domains[reader % len(domains)] == name for reader in readers) / elapsed
            for name in case.nominal_rates
        }


def main() -> None:
    """Measure and report."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="how long messages are counted in each case")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    ratios: list[float] = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            achieved = run(case, arguments.seconds, Path(folder))
        for name, rate in achieved.items():
            nominal = case.nominal_rates[name]
            ratios.append(rate / nominal)
            figures[f"{case.name}{f' ({name})' if name else ''}"] = (
                f"{rate:.1f} of {nominal:g} a second: {rate / nominal:.3f}"
            )
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    harness.report(
        {"ratio": round(worst, 3), "cases": len(ratios), **figures},
        "Achieved rates, compared with nominal ones",
        arguments.json,
    )


if __name__ == "__main__":
    main()
