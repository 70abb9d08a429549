"""Change of address, confirmed by both addresses."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.devtools.inbox import InboxServer
from mailer.domain.suppressions import SuppressionReason
from mailer.services.feedback import bounces
from mailer.services.subscribers import change_address
from mailer.store import subscribers
from tests.support.mailing import Mailing
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, NEW = "ada@example.org", "ada@new.example.org"


def ask(mailing: Mailing, client: TestClient, inbox: InboxServer, new: str = NEW) -> tuple[str, str]:
    """The links that the old and the new end get."""
    answer = client.post(mailing.manage_path(ADA), data={"action": "change-address", "address": new})
    assert "We have sent two emails" in answer.text
    assert send_transactional(mailing.app) == 2
    return link_path(emails_to(inbox, ADA)[-1], "/a/"), link_path(emails_to(inbox, new)[-1], "/a/")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_addresses_must_confirm(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int], order: tuple[int, int]
) -> None:
    subscriber, key = mailing.subscriber_id(ADA), mailing.manage_path(ADA)
    links = ask(mailing, client, inbox)
    for link in links:
        page = client.get(link)
        assert page.status_code == 200
        assert ADA not in page.text
        assert NEW not in page.text
    first, second = (links[n] for n in order)
    for _ in range(2):
        assert "This address is confirmed" in client.post(first).text
    assert mailing.subscriber_id(ADA) == subscriber
    assert "Your address has been changed" in client.post(second).text
    assert mailing.subscriber_id(NEW) == subscriber
    assert client.post(first).status_code == 200
    # Links of the own page that went to the old address are dead; those in mails go on.
    assert client.get(key).status_code == 410
    assert client.get(mailing.unsubscribe_path(NEW)).status_code == 200
    send()
    assert {mail.recipients[0] for mail in inbox.messages()} >= {NEW}
    assert all(mail["Subject"].startswith("Your change") for mail in emails_to(inbox, ADA))
    with mailing.app.database.transaction() as session:
        kept = session.execute(text("SELECT address FROM address_change")).scalars().all()
    assert kept == ["a…@example.org"]


def test_subscriber_at_the_new_address_is_merged(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int]
) -> None:
    other = mailing.subscriber_id("leila@example.org")
    links = ask(mailing, client, inbox, "leila@example.org")
    for link in links:
        client.post(link)
    with mailing.app.database.transaction() as session:
        assert not session.scalar(text("SELECT count(*) FROM subscriber WHERE id = :id"), {"id": other})
        consents = subscribers.consents(session, mailing.subscriber_id("leila@example.org"))
    assert [(consent.channel, consent.note) for consent in consents] == [("csv_import", "a form")] * 2
    send()
    issues = [m for m in emails_to(inbox, "leila@example.org") if m["List-ID"]]
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        *[(typed, "enter the full new address") for typed in ("", "ada", "a@b\r\nBcc: c@x.org", "<b>@x")],
        *[(typed, "This is already your address") for typed in (ADA, "ADA@example.org")],
    ],
)
def test_invalid_or_same_address_is_rejected(mailing: Mailing, client: TestClient, typed: str, why: str) -> None:
    answer = client.post(mailing.manage_path(ADA), data={"action": "change-address", "address": typed})
    assert answer.status_code == 422
    assert why in answer.text.partition("<h2>Change your email address</h2>")[2]
    assert send_transactional(mailing.app) == 0


def test_changes_are_limited_per_day(mailing: Mailing, client: TestClient) -> None:
    for n in range(5):
        client.post(mailing.manage_path(ADA), data={"action": "change-address", "address": f"{n}@example.org"})
    # Each new one ends the one before, with its mails.
    assert send_transactional(mailing.app) == 2


def test_change_expires_after_a_week(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    ask(mailing, client, inbox)
    with mailing.app.database.transaction() as session:
        change = session.scalar(text("SELECT id FROM address_change"))
    assert change
    late = mailing.app.clock.now() + change_address.LINK_LIFETIME + timedelta(minutes=1)
    assert change_address.confirm(mailing.app.database, change, True, [], late) is None


def test_suppressed_address_is_not_emailed(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    bounces.suppress(mailing.app.database, [mailing.app.tokens.address_hash(NEW)], SuppressionReason.manual)
    client.post(mailing.manage_path(ADA), data={"action": "change-address", "address": NEW})
    assert send_transactional(mailing.app) == 1
    assert not emails_to(inbox, NEW)
