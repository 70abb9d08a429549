"""Mail that anyone can have sent to an address: its limits, and the way back after a bounce."""

import re
from email.message import EmailMessage

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.store import subscribers
from tests.support.mailing import Mailing
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, LEILA, JOVAN = "ada@example.org", "leila@example.org", "jovan@example.org"
FORM = "/subscribe/lumen-basin"


def sign_up(client: TestClient, address: str) -> int:
    return client.post(FORM, data={"address": address, "language": "en"}).status_code


def move(mailing: Mailing, client: TestClient, subscriber: str, address: str) -> int:
    return client.post(
        mailing.manage_path(subscriber), data={"action": "change-address", "address": address}
    ).status_code


def suppress(
    app: Container,
    address: str,
    reason: SuppressionReason = SuppressionReason.hard_bounce,
    source: SuppressionSource = SuppressionSource.system,
) -> None:
    with app.database.transaction() as session:
        assert subscribers.suppress(session, app.tokens.address_hash(address), reason, source)


def sent_to(inbox: InboxServer, domain: str) -> list[EmailMessage]:
    return [
        mail
        for to in {m.recipients[0] for m in inbox.inbox.messages()}
        if to.endswith(domain)
        for mail in emails_to(inbox, to)
    ]


def test_tags_and_kinds_of_mail_share_the_limit_of_a_mailbox(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    for subscriber, tag in ((ADA, "a"), (LEILA, "b"), (JOVAN, "c")):
        assert move(mailing, client, subscriber, f"e.v.a+{tag}@gmail.com") == 200
        send_transactional(mailing.app)
    assert len(sent_to(inbox, "@gmail.com")) == 3
    for address in ("eva@gmail.com", "eva+9@googlemail.com", "ev.a@gmail.com"):
        assert sign_up(client, address) == 200
    send_transactional(mailing.app)
    assert len(sent_to(inbox, "@gmail.com") + sent_to(inbox, "@googlemail.com")) == 3


def test_strangers_sign_ups_leave_magic_links_to_the_subscriber(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    for _ in range(9):
        sign_up(client, ADA)
    assert send_transactional(mailing.app) == 3
    for _ in range(4):
        client.post(mailing.preferences_path(ADA), data={"action": "send"})
    assert send_transactional(mailing.app) == 3
    with mailing.app.database.transaction() as session:  # the next hour of the same day
        session.execute(text("DELETE FROM rate_limit_window WHERE subject_hash LIKE 'key%'"))
    answer = client.post(mailing.preferences_path(ADA), data={"action": "send"})
    assert "We have already sent you the link." in answer.text
    assert len(emails_to(inbox, ADA)) == 6


def test_all_requests_share_the_limit_of_a_network(mailing: Mailing, client: TestClient) -> None:
    statuses = []
    for n in range(11):
        statuses += [
            sign_up(client, f"eva{n}@example.org"),
            move(mailing, client, ADA, f"new{n}@example.org"),
            client.post(mailing.preferences_path(LEILA), data={"action": "send"}).status_code,
        ]
    assert statuses == [200] * 30 + [429] * 3
    for path, action in ((mailing.manage_path(ADA), "change-address"), (mailing.preferences_path(ADA), "send")):
        page = client.post(path, data={"action": action, "address": "late@example.org"})
        assert "Too many requests have come from your network." in page.text


def test_an_unconfirmed_address_is_sent_no_name(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    words = "Call 555 0100 to win"
    client.post(mailing.manage_path(ADA), data={"action": "save", "section": "1", "language": "en", "name": words})
    assert mailing.profile(ADA).preferences.name == words
    move(mailing, client, ADA, "stranger@example.net")
    assert send_transactional(mailing.app) == 2
    (mail,) = emails_to(inbox, "stranger@example.net")
    assert mail["To"] == "stranger@example.net"
    assert words not in mail.as_string()
    assert words in emails_to(inbox, ADA)[-1]["To"]


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("manage", SuppressionReason.hard_bounce),
        ("preferences", SuppressionReason.repeated_refusals),
        ("unsubscribe", SuppressionReason.hard_bounce),
    ],
)
def test_a_reader_can_confirm_an_address_after_a_bounce(
    mailing: Mailing, client: TestClient, inbox: InboxServer, link: str, reason: SuppressionReason
) -> None:
    path = getattr(mailing, f"{link}_path")(ADA)
    before = mailing.profile(ADA)
    assert "came back as undeliverable" not in client.get(path).text
    suppress(mailing.app, ADA, reason)
    page = client.get(path).text
    assert re.search(r"came back as undeliverable on [^<]*20\d\d", page)
    assert "We have sent you the link." in client.post(path, data={"action": "reconfirm"}).text
    assert mailing.profile(ADA).bounced_at
    assert send_transactional(mailing.app) == 1
    (mail,) = emails_to(inbox, ADA)
    assert client.post(link_path(mail, "/c/")).status_code == 200
    after = mailing.profile(ADA)
    assert after.bounced_at is None
    assert (after.subscribed, after.sections, after.languages) == (True, before.sections, before.languages)
    assert "came back as undeliverable" not in client.get(path).text


@pytest.mark.parametrize(
    ("reason", "source"),
    [
        (SuppressionReason.complaint, SuppressionSource.system),
        (SuppressionReason.hard_bounce, SuppressionSource.staff),
        (SuppressionReason.manual, SuppressionSource.staff),
    ],
)
def test_no_other_suppression_can_be_lifted_so(
    mailing: Mailing, client: TestClient, reason: SuppressionReason, source: SuppressionSource
) -> None:
    suppress(mailing.app, ADA, reason, source)
    assert "came back as undeliverable" not in client.get(mailing.preferences_path(ADA)).text
    client.post(mailing.preferences_path(ADA), data={"action": "reconfirm"})
    assert send_transactional(mailing.app) == 0
    with mailing.app.database.transaction() as session:
        assert subscribers.suppression(session, mailing.app.tokens.address_hash(ADA))


def test_confirmations_after_a_bounce_are_limited(mailing: Mailing, client: TestClient) -> None:
    suppress(mailing.app, ADA)
    for _ in range(5):
        answer = client.post(mailing.preferences_path(ADA), data={"action": "reconfirm"})
    assert "We have already sent you the link." in answer.text
    sign_up(client, ADA)
    assert send_transactional(mailing.app) == 3


def test_a_magic_link_is_not_announced_to_a_suppressed_address(mailing: Mailing, client: TestClient) -> None:
    suppress(mailing.app, ADA)
    answer = client.post(mailing.preferences_path(ADA), data={"action": "send"})
    assert "We have sent you the link." not in answer.text
    assert "came back as undeliverable" in answer.text


def test_an_expired_magic_link_offers_the_way_back_too(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    old = mailing.app.tokens.make_link_token(Purpose.magic_link, 1_700_000_000, mailing.subscriber_id(ADA))
    path = f"/k/{old}/lumen-basin"
    suppress(mailing.app, ADA)
    for answer in (client.get(path), client.post(path, data={"action": "send"})):
        assert answer.status_code == 410
        assert "came back as undeliverable" in answer.text
    answer = client.post(path, data={"action": "reconfirm"})
    assert "We have sent you the link." in answer.text
    assert ADA not in answer.text
    assert send_transactional(mailing.app) == 1
    assert client.post(link_path(emails_to(inbox, ADA)[0], "/c/")).status_code == 200
    assert mailing.profile(ADA).bounced_at is None
