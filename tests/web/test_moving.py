"""Another address: confirmed at both ends, whoever has it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.inbox import RunningInbox
from mailer.services import feedback, readdress
from mailer.store import readers
from tests.notes import link_in, mails_to, send_notes
from tests.web.mailing import Mailing

ADA, NEW = "ada@example.org", "ada@new.example.org"


def ask(mailing: Mailing, client: TestClient, inbox: RunningInbox, new: str = NEW) -> tuple[str, str]:
    """The links that the old and the new end get."""
    answer = client.post(mailing.to_choose(ADA), data={"action": "move", "address": new})
    assert "We have sent two emails" in answer.text
    assert send_notes(mailing.parts) == 2
    return link_in(mails_to(inbox, ADA)[-1], "/a/"), link_in(mails_to(inbox, new)[-1], "/a/")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_ends_confirm(
    mailing: Mailing, client: TestClient, inbox: RunningInbox, send: Callable[[], int], order: tuple[int, int]
) -> None:
    subscriber, key = mailing.reader(ADA), mailing.to_choose(ADA)
    links = ask(mailing, client, inbox)
    for link in links:
        page = client.get(link)
        assert page.status_code == 200
        assert ADA not in page.text
        assert NEW not in page.text
    first, second = (links[n] for n in order)
    for _ in range(2):
        assert "This address is confirmed" in client.post(first).text
    assert mailing.reader(ADA) == subscriber
    assert "Your address has been changed" in client.post(second).text
    assert mailing.reader(NEW) == subscriber
    assert client.post(first).status_code == 200
    # Links of the own page that went to the old address are dead; those in mails go on.
    assert client.get(key).status_code == 410
    assert client.get(mailing.to_leave(NEW)).status_code == 200
    send()
    assert {mail.recipients[0] for mail in inbox.messages()} >= {NEW}
    assert all(mail["Subject"].startswith("Your change") for mail in mails_to(inbox, ADA))
    with mailing.parts.database.transaction() as session:
        kept = session.execute(text("SELECT address FROM address_change")).scalars().all()
    assert kept == ["a…@example.org"]


def test_what_is_at_the_new_address_is_brought_along(
    mailing: Mailing, client: TestClient, inbox: RunningInbox, send: Callable[[], int]
) -> None:
    other = mailing.reader("leila@example.org")
    links = ask(mailing, client, inbox, "leila@example.org")
    for link in links:
        client.post(link)
    with mailing.parts.database.transaction() as session:
        assert not session.scalar(text("SELECT count(*) FROM subscriber WHERE id = :id"), {"id": other})
        consents = readers.consents(session, mailing.reader("leila@example.org"))
    assert [(consent.given, consent.source) for consent in consents] == [(True, "a form")] * 2
    send()
    issues = [m for m in mails_to(inbox, "leila@example.org") if m["List-ID"]]
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        *[(typed, "enter the full new address") for typed in ("", "ada", "a@b\r\nBcc: c@x.org", "<b>@x")],
        *[(typed, "This is already your address") for typed in (ADA, "ADA@example.org")],
    ],
)
def test_what_is_no_other_address(mailing: Mailing, client: TestClient, typed: str, why: str) -> None:
    answer = client.post(mailing.to_choose(ADA), data={"action": "move", "address": typed})
    assert answer.status_code == 422
    assert why in answer.text.partition("<h2>Change your email address</h2>")[2]
    assert send_notes(mailing.parts) == 0


def test_a_few_changes_a_day(mailing: Mailing, client: TestClient) -> None:
    for n in range(5):
        client.post(mailing.to_choose(ADA), data={"action": "move", "address": f"{n}@example.org"})
    # Each new one ends the one before, with its mails.
    assert send_notes(mailing.parts) == 2


def test_a_change_waits_a_week(mailing: Mailing, client: TestClient, inbox: RunningInbox) -> None:
    ask(mailing, client, inbox)
    with mailing.parts.database.transaction() as session:
        change = session.scalar(text("SELECT id FROM address_change"))
    assert change
    late = datetime.now(UTC) + readdress.LASTS + timedelta(minutes=1)
    assert readdress.confirm(mailing.parts.database, change, True, [], late) is None


def test_nobody_moves_to_an_address_that_must_not_be_mailed(
    mailing: Mailing, client: TestClient, inbox: RunningInbox
) -> None:
    feedback.suppress(mailing.parts.database, [mailing.parts.tokens.address_hash(NEW)], "by hand")
    client.post(mailing.to_choose(ADA), data={"action": "move", "address": NEW})
    assert send_notes(mailing.parts) == 1
    assert not mails_to(inbox, NEW)
