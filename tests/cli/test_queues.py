"""Output and errors of ``mailer queues``."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mailer.adapters.embedded import Valkey
from mailer.cli import commands
from mailer.cli.queue_tables import render
from mailer.domain.metrics import QUEUES, WorkerHeartbeat
from mailer.domain.queue_status import ActiveIssue, EndpointStatus, LateDigest, QueueSnapshot, QueueStatus
from mailer.domain.states import IssueState
from mailer.domain.throttling import EndpointState
from mailer.services.issues.report import DeliveryCounts
from mailer.settings import Settings


@pytest.fixture
def run(settings: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    for name, value in settings.model_copy(update={"redis_url": valkey.url}).environment().items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()

    def invoke(*words: str) -> str:
        result = runner.invoke(commands, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_suspension_is_shown_and_resumed(run: object) -> None:
    assert callable(run)
    assert "The provider Gmail is suspended until" in run(
        "queues", "suspend", "gmail", "--for", "2h", "--why", "their request"
    )
    shown = json.loads(run("queues", "--json"))
    assert {queue["name"] for queue in shown["queues"]} == {
        "expand",
        "compose",
        "send",
        "retry",
        "transactional",
    }
    assert [(one["name"], one["state"], one["reason"]) for one in shown["providers"]] == [
        ("Gmail", "suspended", "their request")
    ]
    assert "their request" in run("queues", "--once")
    assert "It was already suspended" in run("queues", "suspend", "gmail")
    assert "their request" in run("queues", "--once")
    assert run("queues", "resume", "Gmail") == "The provider Gmail is resumed.\n"
    assert run("queues", "resume", "Gmail") == "The provider Gmail was not suspended or slowed.\n"
    assert "No reader has an address at gmial.com. Is it spelled correctly?" in run("queues", "suspend", "gmial.com")
    run("queues", "resume", "gmial.com")
    assert json.loads(run("queues", "--json"))["providers"] == []


def test_a_worker_is_drained_and_released(run: object) -> None:
    assert callable(run)
    said = run("queues", "drain", "send@mail-1", "--why", "an update", "--by", "ann")
    assert said.startswith("send@mail-1 is drained. Release it with: mailer queues drain --release send@mail-1")
    assert "Is it spelled correctly?" in said
    assert "send@mail-1 was already drained." in run("queues", "drain", "send@mail-1")
    assert "send@mail-1 has been drained for" in run("queues", "--once")
    assert "send@mail-1 takes tasks again." in run("queues", "drain", "--release", "send@mail-1")
    assert "send@mail-1 was not drained." in run("queues", "drain", "--release", "send@mail-1")


LONG = "an-exceedingly-long-name-of-a-domain.example.org"
AT = datetime(2026, 9, 30, 9, tzinfo=UTC)
ALL_IS_WELL = QueueSnapshot(
    at=AT,
    issues=[
        ActiveIssue(
            1,
            "lumen-basin",
            "2026/3",
            IssueState.sending,
            DeliveryCounts(1_000_000, 93, 2, 681),
            50,
            "",
            None,
            "",
            None,
            None,
        )
    ],
    queues=[QueueStatus(name, 296, 1000, 3.0, 0.0, 20.0, 2) for name in QUEUES[1:]],
    workers=[WorkerHeartbeat("one@host", QUEUES, 2, AT.timestamp() - 60, {"scheduler": AT.timestamp() - 5})],
    relays=[EndpointStatus("relay", 20.0, None, None, 0.0, 0, EndpointState.closed, None, "")],
    providers=[
        EndpointStatus(
            LONG,
            0.0,
            0.5,
            None,
            0.0,
            296,
            EndpointState.suspended,
            AT + timedelta(minutes=28),
            "asked by their postmaster",
        ),
        *(EndpointStatus(f"d{n}.example", 1.0, None, None, 0.0, 0, EndpointState.closed, None, "") for n in range(14)),
    ],
    more_providers=5,
    redis_available=True,
    unconsumed_queues=[],
    beat_silence_seconds=5.0,
    rate_limited=296,
    retries=20,
    next_retry=AT - timedelta(seconds=1),
    uncertain={},
    expired_leases=0,
)


def seen(picture: QueueSnapshot, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a live view, before the screen's end cuts them."""
    screen = Console(width=width, height=height, force_terminal=True, color_system=None)
    with screen.capture() as captured:
        screen.print(render(picture, screen))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_digest_names_its_issues() -> None:
    digest = replace(ALL_IS_WELL.issues[0], number="2026-09", digest_of=["2026/7", "2026/8"])
    lines = seen(replace(ALL_IS_WELL, issues=[digest]), 100, 60)
    assert any("2026-09  digest of 2026/7, 2026/8  sending" in line for line in lines)


def test_small_screen_shows_the_most_important_rows_and_the_rest_as_a_count() -> None:
    lines = seen(ALL_IS_WELL)
    assert len(lines) <= 24
    (suspended,) = [line for line in lines if "suspended for" in line]
    assert suspended.startswith("an-exc") and "…" in suspended and "suspended for 28 min" in suspended
    left_out = [line for line in lines if re.fullmatch(r"d\d+\.example .*", line)]
    assert lines[-1] == f"… and {19 - len(left_out)} more"
    assert "1,000,000 = 93 sent + 2 failed + 681 skipped + 999,224 pending + 0 uncertain" in lines
    assert "Of these, 296 wait for a rate limit or a breaker; 20 wait for a retry, next now." in " ".join(lines)
    assert seen(ALL_IS_WELL, 200, 60)[-1] == "… and 5 more"
    assert any(LONG in line and "asked by their postmaster" in line for line in seen(ALL_IS_WELL, 200, 60))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unconsumed_queues": ["send"]}, "No worker consumes queue send."),
        ({"beat_silence_seconds": 50.0}, "The scheduler has not run for 50 s: is beat running?"),
        ({"workers": []}, "No worker has reported. Are they running?"),
        (
            {"workers": [WorkerHeartbeat("one@host", QUEUES, 1, 0.0, {}, ["mx.example:25: 3 transfers … ended"])]},
            "one@host: mx.example:25: 3 transfers … ended.",
        ),
        (
            {"redis_available": False, "workers": []},
            "Redis does not answer: workers, rates and broker messages are unknown.",
        ),
        ({"expired_leases": 1}, "1 batch has an expired lease; another worker will take over."),
        ({"unrecognized_mails": 1}, "1 mail to return paths not recognized: mailer deliveries unrecognized"),
        ({"repeatedly_refused": 2}, "2 addresses suppressed this week for repeated refusals."),
        (
            {"late_digests": [LateDigest(7, "lumen-basin", "2026-09", 4)]},
            "The digest 7 (lumen-basin 2026-09) was made 4 days late.",
        ),
        ({"uncertain": {3: 2}}, "2 deliveries of issue 3 uncertain: mailer deliveries list --issue 3"),
        (
            {"issues": [replace(ALL_IS_WELL.issues[0], stalled_since=AT - timedelta(minutes=5))]},
            "Issue 1 has made no progress for 5 min, though deliveries are due.",
        ),
        (
            {
                "relays": [
                    replace(
                        ALL_IS_WELL.relays[0],
                        state=EndpointState.open,
                        address="smtp.example.org:587",
                        reason="451 4.3.2 not now",
                    ),
                    ALL_IS_WELL.relays[0],
                ]
            },
            "Relay relay (smtp.example.org:587) does not accept our mail: 451 4.3.2 not now",
        ),
        (
            {
                "relays": [
                    replace(ALL_IS_WELL.relays[0], state=EndpointState.slowed, address="[::1]:25", reason="421 slowly")
                ]
            },
            "Relay relay ([::1]:25) asked us to slow down: 421 slowly",
        ),
        (
            {"relays": [replace(ALL_IS_WELL.relays[0], state=EndpointState.suspended)]},
            "No relay can be used: nothing is sent.",
        ),
        (
            {
                "issues": [
                    replace(ALL_IS_WELL.issues[0], state=IssueState.scheduled, scheduled_at=AT - timedelta(0, 50))
                ]
            },
            "Issue 1 is late by 50 s.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_warning_comes_first(change: dict[str, Any], said: str) -> None:
    assert seen(replace(ALL_IS_WELL, **change))[1] == said
    assert said not in seen(ALL_IS_WELL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["queues", "suspend", "Gmail", "--for", "0m"], "is not a duration such as 30m"),
        (["queues", "suspend", "nobody"], "is neither a relay nor a receiving domain"),
        (["queues", "suspend", "Gmail", "--for", "long"], "is not a duration such as 30m"),
        (["issue", "rate", "1", "fast"], "is not a rate such as 50/s"),
        (["issue", "rate", "1", "5/s"], "There is no issue 1"),
    ],
)
def test_invalid_arguments_are_reported_in_one_sentence(run: object, words: list[str], said: str) -> None:
    result = CliRunner().invoke(commands, words)
    assert said in str(result.exception)
