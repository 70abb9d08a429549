"""What is wrong, and how urgent it is."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailer.domain.conditions import Condition, ConditionName, Severity, list_conditions
from mailer.domain.metrics import QUEUES, DrainOrder, WorkerHeartbeat
from mailer.domain.queue_status import ActiveIssue, DeliveryCounts, EndpointStatus, LateDigest, QueueSnapshot
from mailer.domain.states import IssueState, PauseReason
from mailer.domain.throttling import FOREVER, EndpointState

AT = datetime(2026, 9, 30, 9, tzinfo=UTC)
ISSUE = ActiveIssue(7, "lumen", "2026/3", IssueState.sending, DeliveryCounts(1000, 200), None, "", None, "", None, None)
RELAY = EndpointStatus("mail-1", 20.0, None, None, 0.0, 0, EndpointState.closed, None, "", "mail-1.example:587")
GMAIL = replace(RELAY, name="Gmail", address="", waiting=300)
WORKER = WorkerHeartbeat("one@host", QUEUES, 2, AT.timestamp() - 60, {"scheduler": AT.timestamp() - 5})
ALL_IS_WELL = QueueSnapshot(
    at=AT,
    issues=[ISSUE],
    queues=[],
    workers=[WORKER],
    relays=[RELAY, replace(RELAY, name="mail-2")],
    providers=[GMAIL],
    more_providers=0,
    redis_available=True,
    unconsumed_queues=[],
    beat_silence_seconds=5.0,
    rate_limited=0,
    retries=0,
    next_retry=None,
    uncertain={},
    expired_leases=0,
)
LONG_AGO, RECENTLY, SOON = AT - timedelta(minutes=90), AT - timedelta(minutes=50), AT + timedelta(minutes=1)


def look(**changes: Any) -> list[Condition]:
    return list_conditions(replace(ALL_IS_WELL, **changes))


def test_nothing_is_wrong() -> None:
    assert look() == []


def refusing(endpoint: EndpointStatus, since: datetime) -> EndpointStatus:
    return replace(endpoint, state=EndpointState.open, since=since, open_until=SOON, reason="451 not now")


def stopped_by_hand(endpoint: EndpointStatus) -> EndpointStatus:
    return replace(endpoint, state=EndpointState.suspended, since=LONG_AGO, open_until=FOREVER, reason="tests")


@pytest.mark.parametrize(
    ("changes", "name", "severity", "since"),
    [
        ({"workers": []}, "no-workers", "act", None),
        ({"redis_available": False, "workers": []}, "redis-down", "act", None),
        ({"unconsumed_queues": ["send"]}, "queue-unconsumed", "act", None),
        ({"beat_silence_seconds": 60.0}, "scheduler-silent", "act", AT - timedelta(minutes=1)),
        ({"workers": [replace(WORKER, problems=["mail-1:25 …"])]}, "worker-problem", "act", None),
        ({"relays": [refusing(RELAY, LONG_AGO), RELAY]}, "relay-refuses", "act", LONG_AGO),
        ({"relays": [stopped_by_hand(RELAY), RELAY]}, "relay-suspended", "watch", LONG_AGO),
        (
            {"drain_orders": [DrainOrder("one@host", "Omar", LONG_AGO, "an update")]},
            "worker-drained",
            "watch",
            LONG_AGO,
        ),
        ({"relays": [replace(RELAY, state=EndpointState.slowed)]}, "relay-slowed", "watch", None),
        (
            {"providers": [refusing(GMAIL, RECENTLY)]},
            "domain-refuses",
            "watch",
            RECENTLY,
        ),
        ({"providers": [refusing(GMAIL, LONG_AGO)]}, "domain-refuses", "act", LONG_AGO),
        ({"providers": [refusing(replace(GMAIL, waiting=0), LONG_AGO)]}, "domain-refuses", "watch", LONG_AGO),
        ({"providers": [stopped_by_hand(GMAIL)]}, "domain-suspended", "watch", LONG_AGO),
        ({"issues": [replace(ISSUE, stalled_since=LONG_AGO)]}, "issue-stalled", "act", LONG_AGO),
        ({"issues": [replace(ISSUE, scheduled_at=LONG_AGO)]}, "issue-late", "act", LONG_AGO),
        (
            {"issues": [replace(ISSUE, state=IssueState.paused, pause_reason=PauseReason.manual)]},
            "issue-paused",
            "watch",
            None,
        ),
        (
            {"issues": [replace(ISSUE, state=IssueState.paused, pause_reason=PauseReason.sender_rejected)]},
            "issue-stopped",
            "act",
            None,
        ),
        ({"uncertain": {7: 2}}, "uncertain", "watch", None),
        ({"expired_leases": 1}, "leases-expired", "watch", None),
        ({"unrecognized_mails": 1}, "unrecognized-mails", "watch", None),
        ({"repeatedly_refused": 1}, "repeatedly-refused", "watch", None),
        ({"late_digests": [LateDigest(7, "news", "2026-09", 4)]}, "digest-late", "watch", None),
    ],
)
def test_a_condition_has_a_name_and_a_severity(
    changes: dict[str, Any], name: str, severity: str, since: datetime | None
) -> None:
    (condition,) = look(**changes)
    assert (condition.name, condition.severity) == (name, severity)

    assert condition.since == since


def test_no_relay_left_is_told_before_why() -> None:
    relays = [refusing(RELAY, LONG_AGO), replace(stopped_by_hand(RELAY), since=AT, name="mail-2")]
    first, *others = look(relays=relays, uncertain={7: 1})
    assert (first.name, first.severity, first.waiting) == ("no-relay", "act", 800)
    assert first.since == AT, "since the last one stopped"
    assert [other.name for other in others] == ["relay-refuses", "relay-suspended", "uncertain"]
    assert (others[0].reason, others[0].until, others[0].address) == ("451 not now", SOON, "mail-1.example:587")
    assert others[1].until is None, "until someone releases it"


def test_what_needs_somebody_comes_first() -> None:
    found = look(expired_leases=3, issues=[replace(ISSUE, stalled_since=LONG_AGO)], providers=[stopped_by_hand(GMAIL)])
    assert [one.severity for one in found] == [Severity.act, Severity.watch, Severity.watch]


def test_every_condition_is_explained_with_meaning_and_steps() -> None:
    text = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text("utf-8")
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = dict(part.split("\n", 1) for part in parts)
    assert list(sections) == list(ConditionName)
    for name, section in sections.items():
        for heading in ("**Meaning.**", "**Readers notice**", "**Steps.**"):
            assert heading in section, name
        assert set(re.findall(r"\]\(#([\w-]+)\)", section)) <= set(sections)
