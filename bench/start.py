"""Compare the start of commands with that of an empty Python program.

All take turns, round by round, and the medians of their processor time count; a busy machine delays them, but adds
little to that.

    .venv/bin/python bench/start.py [--rounds 15] [--json FILE]
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median

import harness

BOUNCE = b"""From: MAILER-DAEMON@mx.example.net
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

--=_b

I am sorry to have to inform you that your message could not be delivered.

--=_b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; reader1@d1.example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--=_b--
"""


@dataclass(slots=True)
class Program:
    """A program to start, and the seconds that each start took."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    input: bytes = b""
    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)

    def run(self, environment: dict[str, str]) -> None:
        """Run it once and note its times."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment | self.environment,
        )
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(self.input)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, self.arguments
        self.wall_seconds.append(time.perf_counter() - began)
        self.cpu_seconds.append(usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with harness.service() as app:
        issue = harness.make_issue(app)
        harness.make_subscribers(app, 1, ["en"])
        (slots,) = app.urls.subscriber_slots(issue, [1])
        completion = {"_MAILER_COMPLETE": "complete_bash", "COMP_WORDS": "mailer issue s", "COMP_CWORD": "2"}
        empty = Program(["-c", "pass"])
        commands = {
            "help": Program(["-m", "mailer", "--help"]),
            "completion": Program(["-m", "mailer"], completion),
            "receive": Program(
                ["-m", "mailer", "receive", f"bounce+{slots.bounce}@lumen-basin.example.org"], input=BOUNCE
            ),
            "issue_list": Program(["-m", "mailer", "issue", "list"]),
        }
        environment = os.environ | {
            "MAILER_DATABASE_URL": app.database_url,
            "MAILER_SECRET_KEY": app.secret_key,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # programs are compiled once, not at each start
        programs = [empty, *commands.values()]
        for at in range(arguments.rounds + 1):
            for program in programs:
                program.run(environment)
            if not at:  # the first round compiles
                for program in programs:
                    program.cpu_seconds.clear()
                    program.wall_seconds.clear()
    empty_seconds = median(empty.cpu_seconds)
    figures: dict[str, float] = {}
    for name, program in commands.items():
        figures[f"{name}_ratio"] = round(median(program.cpu_seconds) / empty_seconds, 1)
    figures = {"ratio": max(figures.values()), **figures}
    for name, program in {"empty": empty, **commands}.items():
        figures[f"{name}_cpu_seconds"] = round(median(program.cpu_seconds), 3)
        figures[f"{name}_wall_seconds"] = round(median(program.wall_seconds), 3)
    harness.report(figures, "Start: commands, compared with an empty Python program", arguments.json)


if __name__ == "__main__":
    main()
