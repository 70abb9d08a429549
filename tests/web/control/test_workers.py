"""Orders to workers from the control room."""

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.metrics import QUEUES, WorkerHeartbeat
from mailer.services.accounts import audit
from mailer.services.delivery import worker_orders
from tests.support.staff import post, text_of, words

ONE = "/control/workers/one%40host"


@pytest.fixture(autouse=True)
def workers(app: Container, live_worker: None) -> None:
    at = app.clock.now().timestamp()
    app.metrics.send_heartbeat(WorkerHeartbeat("two@host", ["send", "retry"], 0, at - 60, {}))


def test_a_worker_is_drained_and_released(client: TestClient, app: Container) -> None:
    assert f'href="{ONE}"' in client.get("/control/flow").text
    said = words(client, ONE)
    others = [queue for queue in QUEUES if queue not in ("send", "retry")]
    assert f"Nobody else takes from these queues: {', '.join(others)}." in said
    refused = post(client, ONE, {"action": "drain", "reason": " "}, page=ONE)
    assert (refused.status_code, worker_orders.is_drained(app.database, "one@host")) == (400, False)
    assert "give a reason" in text_of(refused.text)

    answer = post(client, ONE, {"action": "drain", "reason": "an update"}, page=ONE)
    assert "It takes no more tasks within two seconds" in words(client, answer.headers["location"])
    assert "Omar has drained one@host since" in words(client, ONE)
    said = words(client, "/control/flow")
    assert "one@host Drained by Omar" in said
    assert "No worker takes from the queue scheduler" in said
    assert "one@host has been drained" in words(client, "/control")
    assert "No worker takes from the queue scheduler" in words(client, "/control")

    answer = post(client, ONE, {"action": "release"}, page=ONE)
    assert "It takes tasks again" in words(client, answer.headers["location"])
    assert not worker_orders.is_drained(app.database, "one@host")
    events = audit.search(app.database, None, "Omar", None)[:2]
    assert [(event.action, event.detail) for event in events] == [
        (AuditAction.worker_released, {"worker": "one@host"}),
        (AuditAction.worker_drained, {"worker": "one@host", "reason": "an update"}),
    ]


def test_all_workers_of_a_host_are_drained(client: TestClient, app: Container) -> None:
    assert "All 2 workers on host" in words(client, ONE)
    post(client, ONE, {"action": "drain", "host": "1", "reason": "a new disk"}, page=ONE)
    assert worker_orders.is_drained(app.database, "two@host")
    for name in ("one@host", "two@host"):
        app.metrics.deregister(name)
    assert "The order holds for all its workers" in words(client, "/control/workers/host"), "though none runs"
    answer = post(client, "/control/workers/host", {"action": "release"}, page="/control/flow")
    assert answer.headers["location"] == "/control/flow"
    assert not worker_orders.is_drained(app.database, "two@host")


def test_an_unknown_worker_is_not_found(client: TestClient) -> None:
    assert client.get("/control/workers/three%40host").status_code == 404
