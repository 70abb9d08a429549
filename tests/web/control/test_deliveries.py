"""Deliveries of an issue in the control room: those that failed are retried, uncertain ones resolved."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.queue_status import DeliveryCounts
from mailer.services.accounts import audit
from mailer.services.issues import plan
from tests.support.smtp_sink import SinkServer
from tests.support.staff import post, text_of, words


@pytest.fixture
def issue(
    import_issue: Callable[..., int], add_subscribers: Callable[[str], None], prepare: Callable[[int], None]
) -> int:
    """Ready to go out to five readers."""
    made = import_issue("en")
    add_subscribers("\n".join(f"reader{n}@example.org;en;" for n in range(1, 6)))
    prepare(made)
    return made


def counts(app: Container, issue: int) -> DeliveryCounts:
    return plan.load_head(app.database, issue).counts


def test_what_failed_is_counted_first_and_then_retried(
    client: TestClient, app: Container, issue: int, sink: SinkServer, send: Callable[[], int]
) -> None:
    sink.behaviour.faults = [Fault("final", "554 5.3.0 not today", 1.0)]
    send()
    sink.behaviour.faults = []
    assert client.get("/control/deliveries").headers["location"] == f"/control/deliveries/{issue}"
    page = f"/control/deliveries/{issue}"
    said = words(client, f"{page}?state=failed")
    assert "Failed 5" in said
    assert "554 5.3.0 5 554 5.3.0 not today" in said
    assert "reader3@example.org" in said

    ask = f"{page}/retry"
    assert "There is nothing to retry. These stay as they are: 5 failed with another code" in words(
        client, f"{ask}?code=5.1.1"
    )
    assert "5 deliveries would be tried again" in words(client, f"{ask}?code=5.3.0")
    stale = post(client, ask, {"number": "4", "reason": "they were down"}, page=page)
    assert (stale.status_code, counts(app, issue).failed) == (409, 5)
    assert "the number has changed meanwhile" in text_of(stale.text)
    assert "give a reason" in text_of(post(client, ask, {"number": "5"}, page=page).text)
    answer = post(client, ask, {"number": "5", "code": "5.3.0", "reason": "they were down"}, page=page)
    assert "5 deliveries are tried again." in words(client, answer.headers["location"])
    assert send() == 5
    assert counts(app, issue) == DeliveryCounts(candidates=5, sent=5)
    (event, *_) = audit.search(app.database, AuditAction.deliveries_retried, "Omar", None)
    assert (event.object_id, event.detail) == (
        issue,
        {"deliveries": 5, "codes": "5.3.0", "reason": "they were down"},
    )


def test_uncertain_deliveries_are_resolved_some_or_all(
    client: TestClient, app: Container, issue: int, sink: SinkServer, send: Callable[[], int]
) -> None:
    sink.behaviour.drop_after = 1.0
    send()
    sink.behaviour.drop_after = 0.0
    before = counts(app, issue).uncertain
    assert before
    page = f"/control/deliveries/{issue}"
    said = words(client, page)
    assert f"Uncertain {before}" in said
    assert "What became of them" in said

    resolve = f"{page}/resolve"
    subscriber = client.get(page).text.split('name="subscriber" value="')[1].split('"')[0]
    chosen: dict[str, object] = {"subscriber": subscriber, "outcome": "sent"}
    assert "1 delivery will count as sent." in text_of(post(client, resolve, chosen, page=page).text)
    assert counts(app, issue).uncertain == before, "asked, not done"
    sure = {**chosen, "sure": "1", "number": "1", "reason": "their log"}
    answer = post(client, resolve, sure, page=page)
    assert "1 delivery is resolved." in words(client, answer.headers["location"])
    assert counts(app, issue).uncertain == before - 1

    everything: dict[str, object] = {"all": "1", "outcome": "failed", "sure": "1", "reason": "their log"}
    refused = post(client, resolve, {**everything, "number": str(before)}, page=page)
    assert "the number has changed meanwhile" in text_of(refused.text)
    post(client, resolve, {**everything, "number": str(before - 1)}, page=page)
    assert counts(app, issue).uncertain == 0
    details = [event.detail for event in audit.search(app.database, AuditAction.deliveries_resolved, "Omar", None)]
    assert {"deliveries": 1, "outcome": "sent", "reason": "their log"} in details
    assert "No delivery of this issue is in this state." in words(client, page)


def test_without_an_issue_there_is_nothing_to_list(client: TestClient) -> None:
    assert "No issue has gone out yet." in words(client, "/control/deliveries")
    assert client.get("/control/deliveries/77").status_code == 404
