"""Suppressed addresses and finding a reader, in the control room."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.suppressions import SuppressionReason
from mailer.services.accounts import audit
from mailer.services.feedback import bounces, suppressions
from mailer.services.feedback.suppressions import SuppressionFilter
from mailer.services.issues import report
from mailer.services.subscribers.listing import find_of_any_newsletter
from mailer.web.control.suppressions import PAGE_SIZE
from tests.support.smtp_sink import SinkServer
from tests.support.staff import add_account, post, sign_in, text_of, words

HERE = "/control/suppressions"


def key_of(app: Container, address: str) -> bytes:
    return app.tokens.address_hash(address)


def test_an_address_is_suppressed_shown_and_released(client: TestClient, app: Container) -> None:
    assert "No address is suppressed." in words(client, HERE)
    form = {"address": " Ada@Example.org ", "why": "complaint", "reason": "wrote to ada@example.org twice"}
    assert 'maxlength="254" autocapitalize="none" spellcheck="false"' in client.get(HERE).text
    answer = post(client, HERE, form, page=HERE)
    page = f"{HERE}/{key_of(app, 'ada@example.org').hex()}"
    assert answer.headers["location"] == f"{page}?done=suppressed"
    said = words(client, page)
    assert "Why complaint, by staff" in said
    assert "Evidence wrote to … twice (Omar)" in said
    assert "complaint by staff" in words(client, f"{HERE}?address=ada@example.org")
    assert "No suppressed address matches." in words(client, f"{HERE}?address=bob@example.org")

    assert post(client, page, {"reason": " "}, page=page).status_code == 400
    answer = post(client, page, {"reason": "they asked"}, page=page)
    assert "The suppression is lifted." in words(client, answer.headers["location"])
    assert client.get(page).status_code == 404
    assert post(client, page, {"reason": "again"}, page=HERE).status_code == 404
    lifted, suppressed, *_ = audit.search(app.database, None, "Omar", None)
    assert (lifted.action, lifted.detail) == (AuditAction.suppression_lifted, {"reason": "they asked"})
    assert (suppressed.action, suppressed.object_kind) == (AuditAction.address_suppressed, "")
    assert suppressed.detail == {"reason": "wrote to … twice"}, "an erasure would not find it"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"address": "ada", "why": "manual", "reason": "x"}, "this is not an email address"),
        ({"address": "ada@example.org", "why": "manual", "reason": ""}, "give a reason"),
    ],
)
def test_an_incomplete_suppression_is_refused_and_kept(client: TestClient, form: dict[str, object], said: str) -> None:
    answer = post(client, HERE, form, page=HERE)
    assert answer.status_code == 400
    assert f"Nothing was done: {said}" in text_of(answer.text)
    assert f'value="{form["address"]}"' in answer.text
    assert "No address is suppressed." not in answer.text


def test_the_list_is_filtered_and_continues_after_its_last_row(client: TestClient, app: Container) -> None:
    now = datetime.now(UTC)
    many = [f"{n}@example.org" for n in range(PAGE_SIZE + 10)]
    bounces.suppress(app.database, [key_of(app, one) for one in many], SuppressionReason.manual, "a list")
    bounces.suppress(app.database, [key_of(app, "old@example.org")], SuppressionReason.complaint, "long ago")
    with app.database.transaction() as session:
        query = "UPDATE suppression SET created_at = :at WHERE reason = 'complaint'"
        session.execute(text(query), {"at": now - timedelta(days=9)})
    assert "long ago" in words(client, f"{HERE}?reason=complaint&source=staff")
    assert "No suppressed address matches." in words(client, f"{HERE}?reason=complaint&source=system")
    assert "No suppressed address matches." in words(client, f"{HERE}?reason=complaint&since={now:%Y-%m-%d}")
    assert client.get(f"{HERE}?since=yesterday").status_code == 400

    first = client.get(f"{HERE}?reason=manual").text
    assert first.count("a list") == PAGE_SIZE
    further = first.split('class="buttons"><a class="button" href="')[1].split('"')[0].replace("&amp;", "&")
    rest = client.get(further).text
    assert rest.count("a list") == 10
    links = {part.split('"')[0] for page in (first, rest) for part in page.split(f'href="{HERE}/')[1:]}
    assert len(links) == len(many), "each of them once"


@pytest.fixture
def bounced(app: Container, sink: SinkServer, prepared_issue: Callable[..., int], send: Callable[[], int]) -> int:
    """An issue that ada's server refused, since she has no mailbox there."""
    issue = prepared_issue("ada@a.example;en;\nbob@b.example;en;", "en")
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 <ada@a.example> no such user", 1.0, "a.example")]
    send()
    return issue


def test_a_bounce_is_shown_with_its_issue(client: TestClient, app: Container, bounced: int) -> None:
    (one,) = suppressions.list_page(app.database, SuppressionFilter(), None, 9)
    assert (one.reason, one.address, one.issue) == (SuppressionReason.hard_bounce, "ada@a.example", bounced)
    said = words(client, f"{HERE}/{one.address_hash.hex()}")
    assert "ada@a.example" in said
    assert "no such mailbox, by the service" in said
    assert "lumen-basin 2026/3" in said
    assert "550 5.1.1 <…> no such user" in words(client, HERE)


def test_a_reader_is_found_with_what_became_of_each_issue(client: TestClient, app: Container, bounced: int) -> None:
    found = "/control/reader?address=Ada@A.example"
    said = words(client, found)
    assert "No email is sent to this address since" in said
    assert "lumen-basin 2026/3 Failed" in said
    link = f"/desk/issues/{bounced}/reader?address=Ada%40A.example"
    assert link in client.get(found).text
    assert "550 5.1.1" in words(client, link), "the explanation of the desk"
    assert "nobody with this address" in words(client, "/control/reader?address=eve@example.org")
    assert "is unknown" in words(client, f"/desk/issues/{bounced}/reader?address=eve@example.org")
    ada = find_of_any_newsletter(app.database, key_of(app, "ada@a.example"))
    explained, *opened = audit.search(app.database, AuditAction.subscriber_opened, "Omar", None)
    assert (explained.object_kind, explained.object_id, explained.detail) == ("subscriber", ada, {"issue": bounced})
    assert {(event.object_kind, event.object_id) for event in opened} == {("subscriber", ada)}
    assert "This is not an email address." in text_of(client.get("/control/reader?address=eve").text)


def test_ops_of_one_newsletter_find_nobody(client: TestClient, app: Container, bounced: int) -> None:
    add_account(app, "olga@example.org", RoleGrant(Role.ops, report.newsletter_of(app.database, bounced)))
    sign_in(client, "olga@example.org")
    for path in (HERE, "/control/reader?address=ada@a.example"):
        assert client.get(path).status_code == 403, path
