"""The control room: tonight, the flow, and what ops can do there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.conditions import Condition, ConditionName, Severity
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.queue_status import ActiveIssue, DeliveryCounts, QueueSnapshot
from mailer.domain.states import IssueState
from mailer.domain.throttling import FOREVER
from mailer.services.accounts import audit
from mailer.services.delivery import dispatch, monitor
from mailer.services.issues import report
from mailer.web.staff import STAFF_LANGUAGES, StaffPages
from tests.support.clock import clock_of
from tests.support.smtp_sink import SinkServer
from tests.support.staff import add_account, post, sign_in, staff_of, text_of, words

RELAY, GMAIL = "/control/flow/relay/relay", "/control/flow/provider/Gmail"


@pytest.fixture
def issue(prepared_issue: Callable[..., int]) -> int:
    """Ready to go out to ten readers at each of two domains."""
    return prepared_issue("\n".join(f"reader{n}@{name}.example;en;" for n in range(10) for name in "ab"), "en")


def one_round(app: Container) -> None:
    for batch, _ in dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 1000):
        app.send_worker.send_batch(batch)
    app.metrics.flush()


@pytest.mark.usefixtures("live_worker")
def test_nothing_needs_anybody(client: TestClient) -> None:
    said = words(client, "/control")
    assert "Nothing needs you. No issue is going out · 1 worker runs · 1 relay takes our mail" in said
    assert "No issue is scheduled, going out or paused." in said


def test_without_workers_tonight_says_what_readers_notice_and_what_to_do(client: TestClient) -> None:
    said = words(client, "/control")
    assert "Nothing needs you" not in said
    assert "No worker is running. Emails with links, such as those for signing up, do not arrive." in said
    assert "Start the workers. They go on where they stopped." in said


@pytest.mark.usefixtures("live_worker")
def test_an_issue_in_flight_has_counts_that_add_up_a_rate_and_the_time_left(
    client: TestClient, app: Container, sink: SinkServer, issue: int
) -> None:
    assert "Sending 0% The rate is being measured." in words(client, "/control")
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 busy", 1.0, "a.example")]
    one_round(app)
    clock_of(app).advance(seconds=5)
    said = words(client, "/control")
    assert "Sending 50% 2 a second, about 5 seconds left" in said
    assert "Readers 20 Sent 10 Not sent 0 Failed 0 Uncertain 0 Waiting 10" in said


@pytest.mark.usefixtures("live_worker", "issue")
def test_a_domain_shows_what_it_refused_and_is_suspended_and_released(
    client: TestClient, app: Container, sink: SinkServer
) -> None:
    sink.behaviour.faults = [Fault("rcpt", "450 4.2.1 <reader1@a.example> is busy", 1.0, "a.example")]
    one_round(app)
    domain = "/control/flow/provider/a.example"
    assert f'href="{domain}"' in client.get("/control/flow").text
    said = words(client, domain)
    assert "450 4.2.1 10" in said
    assert "450 4.2.1 <…> is busy" in said
    assert "reader1@" not in said

    answer = post(client, domain, {"action": "suspend", "for": "released", "reason": "their request"}, page=domain)
    assert answer.headers["location"] == f"{domain}?done=suspended"
    said = words(client, answer.headers["location"])
    assert "a.example is suspended. Workers know within two seconds." in said
    assert "Until someone releases it Reason their request" in said
    assert "Mail to a.example has been suspended" in words(client, "/control")
    post(client, domain, {"action": "release"}, page=domain)
    assert "Mail flows." in words(client, domain)
    assert "suspended" not in words(client, "/control")

    released, suspended, *_ = audit.search(app.database, None, "Omar", None)
    assert (released.action, released.detail) == (AuditAction.relay_released, {"provider": "a.example"})
    assert suspended.action is AuditAction.relay_suspended
    assert suspended.detail == {"provider": "a.example", "until": "released", "reason": "their request"}


@pytest.mark.usefixtures("issue")
def test_a_sample_a_minute_becomes_a_chart_with_a_table(client: TestClient, app: Container, sink: SinkServer) -> None:
    assert "Nothing has been measured in this period." in words(client, RELAY)
    one_round(app)
    for minute in range(3):
        measured = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, app.clock.now())
        at = app.clock.now() - timedelta(minutes=minute)
        for _ in range(2):
            monitor.record_flow(app.database, replace(measured, at=at))
    html = client.get(RELAY).text
    assert html.count("<polyline") == 2, "a line for what was sent, and one for what was deferred"
    assert html.split("As a table")[1].count('<th scope="row">') == 3, "the first of two samples in a minute counts"
    monitor.delete_old_samples(app.database, app.clock.now() + timedelta(days=31))
    assert "<polyline" not in client.get(RELAY).text


@pytest.mark.usefixtures("live_worker")
def test_a_relay_is_suspended_until_a_time(client: TestClient, app: Container) -> None:
    until = (app.clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    form: dict[str, object] = {
        "action": "suspend",
        "for": "until",
        "until": f"{until:%Y-%m-%dT%H:%M}",
        "reason": "maintenance",
    }
    assert "No other relay can be used: all mail waits." in words(client, RELAY)
    assert post(client, RELAY, form, page=RELAY).status_code == 303
    (relay,) = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, app.clock.now()).relays
    assert (relay.state, relay.open_until, relay.reason) == ("suspended", until, "maintenance")
    assert "No relay has been usable" in words(client, "/control")


@pytest.mark.usefixtures("live_worker")
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"for": "2h", "reason": " "}, "give a reason"),
        ({"for": "until", "until": "", "reason": "x"}, "give a day and a time in UTC"),
        ({"for": "until", "until": "2020-01-01T09:00", "reason": "x"}, "that time has passed"),
        ({"for": "until", "until": "9999-01-01T09:00", "reason": "x"}, "choose a time within a year"),
    ],
)
def test_an_incomplete_suspension_is_refused_in_words(client: TestClient, form: dict[str, object], said: str) -> None:
    answer = post(client, RELAY, {"action": "suspend", **form}, page=RELAY)
    assert answer.status_code == 400
    assert f"Nothing was done: {said}" in text_of(answer.text)
    assert "Mail flows." in text_of(answer.text)


def test_a_relay_or_domain_is_found_by_name(client: TestClient) -> None:
    found = client.get("/control/flow/find", params={"name": " gmail "})
    assert found.headers["location"] == GMAIL
    assert "nothing in the last seconds" in words(client, GMAIL)
    unknown = client.get("/control/flow/find", params={"name": "<nobody>"})
    assert unknown.status_code == 404
    assert "“<nobody>” is neither a relay nor a receiving domain." in text_of(unknown.text)
    for path in ("/control/flow/relay/nobody", "/control/flow/provider/relay", "/control/flow/provider/gmail"):
        assert client.get(path).status_code == 404, path


def test_a_suspended_domain_without_readers_is_questioned(client: TestClient) -> None:
    domain = "/control/flow/provider/gmial.com"
    answer = post(client, domain, {"action": "suspend", "for": "30m", "reason": "a test"}, page=domain)
    assert "is it spelled correctly?" in words(client, answer.headers["location"])


def test_ops_of_one_newsletter_do_not_steer_the_service(
    client: TestClient, app: Container, import_issue: Callable[..., int]
) -> None:
    newsletter = report.newsletter_of(app.database, import_issue("en"))
    add_account(app, "olga@example.org", RoleGrant(Role.ops, newsletter))
    sign_in(client, "olga@example.org")
    for path in ("/control", "/control/flow", RELAY):
        assert client.get(path).status_code == 403, path
    assert "/control" not in client.get("/desk").text


FLIGHT = ActiveIssue(
    7, "lumen", "2026/3", IssueState.sending, DeliveryCounts(1000, 200), None, "Omar", None, "", None, None
)
AT = datetime(2026, 9, 30, 9, tzinfo=UTC)


@pytest.mark.parametrize("language", STAFF_LANGUAGES)
def test_every_condition_has_a_sentence_of_its_own(web_app: FastAPI, language: str) -> None:
    pages: StaffPages = web_app.state.staff_pages
    staff = staff_of(1, Role.ops, "Omar", language)
    request = Request({"type": "http", "path": "/control", "headers": [], "query_string": b""})
    snapshot = QueueSnapshot(AT, [FLIGHT], [], [], [], [], 0, True, [], None, 0, 0, None, {}, 0)
    pages_by_name = {}
    for name in ConditionName:
        one = Condition(name, Severity.act, AT - timedelta(minutes=12), "mail-1", issue=FLIGHT, count=3, waiting=800)
        values = {"snapshot": snapshot, "urgent": [one], "watched": [replace(one, until=FOREVER)]}
        html = bytes(pages.render("control/tonight", request, staff, values).body).decode()
        pages_by_name[name] = html.split('<p class="sentence">')[1].split("</p>")[0]
        minutes = {"en": "12 minutes", "fr": "12 minutes", "sr-Latn": "12 minuta"}[language]
        assert minutes in pages_by_name[name]
    assert len(set(pages_by_name.values())) == len(ConditionName)
