"""Deliveries in the control room: those that failed are retried, uncertain ones resolved, a few or all that match."""

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

HERE = "/control/deliveries"


@pytest.fixture
def issue(prepared_issue: Callable[..., int]) -> int:
    """Ready to go out to three readers at one domain and two at another."""
    return prepared_issue("\n".join(f"reader{n}@{'a' if n < 4 else 'b'}.example;en;" for n in range(1, 6)), "en")


def counts(app: Container, issue: int) -> DeliveryCounts:
    return plan.load_head(app.database, issue).counts


def test_what_failed_is_counted_first_and_then_retried(
    client: TestClient, app: Container, issue: int, sink: SinkServer, send: Callable[[], int]
) -> None:
    sink.behaviour.faults = [Fault("final", "554 5.3.0 not today", 1.0)]
    send()
    sink.behaviour.faults = []
    page = f"{HERE}?issue={issue}&state=failed"
    said = words(client, page)
    assert "Failed 5" in said
    assert "554 5.3.0 5 554 5.3.0 not today" in said
    assert "reader3@a.example" in said

    assert "reader3@" not in words(client, f"{page}&domain=b.example")
    for none in ("code=5.1.1", "code=5.3.0&relay=other", "domain=c.example", "age=1d", "code=554&domain=Gmail"):
        assert "No delivery matches." in words(client, f"{page}&{none}"), none
    for wrong in ("code=never", "domain=nowhere"):
        answer = client.get(f"{page}&{wrong}")
        assert answer.status_code == 400
        assert "“" in text_of(answer.text), "an error in words"

    ask = f"{HERE}/order?issue={issue}&state=failed&code=554+5.3.0&domain=a.example"
    assert "3 deliveries would be tried again" in words(client, f"{ask}&action=retry")
    stale = post(
        client, ask, {"action": "retry", "number": "4", "reason": "they were down"}, page=f"{ask}&action=retry"
    )
    assert (stale.status_code, counts(app, issue).failed) == (409, 5)
    assert "the number has changed meanwhile" in text_of(stale.text)
    form = {"action": "retry", "number": "3", "reason": " "}
    assert "give a reason" in text_of(post(client, ask, form, page=f"{ask}&action=retry").text)
    answer = post(client, ask, {**form, "reason": "they were down"}, page=f"{ask}&action=retry")
    assert "3 deliveries are tried again." in words(client, answer.headers["location"])
    assert "data-live" not in client.get(answer.headers["location"]).text, "it is done"
    assert send() == 3
    assert counts(app, issue) == DeliveryCounts(candidates=5, sent=3, failed=2)
    (event, *_) = audit.search(app.database, AuditAction.deliveries_retried, "Omar", None)
    assert (event.object_id, event.detail) == (
        issue,
        {"deliveries": 3, "code": "554 5.3.0", "domain": "a.example", "reason": "they were down"},
    )


@pytest.fixture
def uncertain(app: Container, issue: int, sink: SinkServer, send: Callable[[], int]) -> int:
    """How many deliveries are uncertain: the relay took each mail and hung up without an answer."""
    sink.behaviour.drop_after = 1.0
    send()
    sink.behaviour.drop_after = 0.0
    assert counts(app, issue).uncertain > 2
    return counts(app, issue).uncertain


def test_chosen_uncertain_deliveries_are_resolved(
    client: TestClient, app: Container, issue: int, uncertain: int
) -> None:
    assert client.get(f"{HERE}/{issue}").headers["location"] == f"{HERE}?issue={issue}&state=uncertain"
    page = f"{HERE}?issue={issue}&state=uncertain"
    said = words(client, page)
    assert f"Uncertain {uncertain}" in said
    assert "What became of them" in said
    assert "no reply is in the journal of" in said

    resolve = f"{HERE}/{issue}/resolve"
    subscriber = client.get(page).text.split('name="subscriber" value="')[1].split('"')[0]
    chosen: dict[str, object] = {"subscriber": subscriber, "outcome": "sent"}
    assert "1 delivery will count as sent." in text_of(post(client, resolve, chosen, page=page).text)
    assert counts(app, issue).uncertain == uncertain, "asked, not done"
    sure = {**chosen, "sure": "1", "number": "1", "reason": "their log"}
    changed = post(client, resolve, {**sure, "number": "2"}, page=page)
    assert changed.status_code == 409 and 'value="their log"' in changed.text
    answer = post(client, resolve, sure, page=page)
    assert "1 delivery is resolved." in words(client, answer.headers["location"])
    assert counts(app, issue).uncertain == uncertain - 1
    (event, *_) = audit.search(app.database, AuditAction.deliveries_resolved, "Omar", None)
    assert (event.object_id, event.detail) == (issue, {"deliveries": 1, "outcome": "sent", "reason": "their log"})
    assert "the number has changed meanwhile" in text_of(post(client, resolve, sure, page=page).text)


def test_all_uncertain_deliveries_are_resolved_at_once(
    client: TestClient, app: Container, issue: int, uncertain: int
) -> None:
    page = f"{HERE}/order?state=uncertain"
    assert f"{uncertain} deliveries will count as failed." in words(client, f"{page}&action=failed")
    form = {"action": "failed", "number": str(uncertain), "reason": "their log"}
    answer = post(client, page, form, page=f"{page}&action=failed")
    assert f"{uncertain} deliveries are resolved." in words(client, answer.headers["location"])
    assert counts(app, issue).uncertain == 0
    (event, *_) = audit.search(app.database, AuditAction.deliveries_resolved, "Omar", None)
    assert event.detail == {"deliveries": uncertain, "outcome": "failed", "reason": "their log"}
    assert "No delivery is uncertain." in words(client, HERE)


def test_an_action_is_for_the_deliveries_in_its_state(client: TestClient, issue: int) -> None:
    assert client.get(f"{HERE}/order?state=failed&action=sent").status_code == 400
    assert client.get(f"{HERE}/order?state=failed&action=nothing").status_code == 400


def test_without_an_issue_there_is_nothing_to_list(client: TestClient) -> None:
    assert "No issue has gone out yet." in words(client, HERE)
    assert client.get(f"{HERE}/77").status_code == 404
