"""Inbound bounces: only the token identifies the subscriber."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.devtools.inbox import InboxServer
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.services.feedback import bounces
from mailer.services.subscribers import preferences
from mailer.store import feedback
from tests.support.transactional import send_transactional

NOW = datetime.now(UTC)
ADA = "ada@example.org"


def notice(
    action: str = "failed", status: str = "5.1.1", said: str = "smtp; 550 5.1.1 no such user", recipient: str = ADA
) -> bytes:
    """A delivery status notification as mail servers write them (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\r\n\r\n'
        "--=_b\r\n\r\nI am sorry to have to inform you …\r\n"
        "--=_b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: {said}\r\n\r\n"
        "--=_b--\r\n"
    ).encode()


def words(subject: str, **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "victim@example.org", subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("550 5.1.1 no such user: victim@example.org")
    return mail.as_bytes()


@pytest.fixture
def sent(
    app: Container,
    inbox: InboxServer,
    prepared_issue: Callable[..., int],
    send: Callable[[], int],
) -> dict[str, str]:
    """The addresses of ours that a mail to Ada holds, by what they are for."""
    prepared_issue(f"{ADA};en;\nvictim@example.org;en;", "en")
    send()
    caught = next(mail for mail in inbox.messages() if mail.recipients[0] == ADA)
    raw = inbox.inbox.read(caught).decode("utf-8", "replace")
    leave = raw.partition("<mailto:unsubscribe+")[2].partition("?")[0]
    return {"bounce": caught.envelope_sender, "unsubscribe": f"unsubscribe+{leave}"}


def receive(app: Container, recipient: str, message: bytes) -> str:
    return bounces.receive(app.database, app.urls, recipient, message, NOW)


def suppressed(app: Container) -> list[str]:
    with app.database.transaction() as session:
        return list(session.execute(text("SELECT note FROM suppression")).scalars())


def states(app: Container) -> dict[str, str]:
    query = "SELECT address, state FROM subscription JOIN subscriber r ON r.id = subscriber_id"
    with app.database.transaction() as session:
        return {row.address: row.state for row in session.execute(text(query))}


@pytest.mark.parametrize("shout", [str, str.upper])
def test_unsubscribing_by_mail(app: Container, sent: dict[str, str], shout: Callable[[str], str]) -> None:
    recipient = shout(sent["unsubscribe"])
    assert receive(app, recipient, words("unsubscribe")) == "unsubscribed"
    assert receive(app, recipient, b"") == "unsubscribed before"
    assert states(app) == {ADA: "unsubscribed", "victim@example.org": "active"}
    with app.database.transaction() as session:
        rows = session.execute(text("SELECT given, channel FROM consent ORDER BY id DESC LIMIT 1")).all()
    assert [tuple(row) for row in rows] == [(False, "mailto")]


def test_a_bounce_suppresses_whom_the_token_names(app: Container, sent: dict[str, str]) -> None:
    assert receive(app, sent["bounce"], notice()) == "bounce, suppressed"
    assert receive(app, sent["bounce"], notice()) == "bounce, known before"
    with app.database.transaction() as session:
        hashes = list(session.execute(text("SELECT address_hash FROM suppression")).scalars())
    assert hashes == [app.tokens.address_hash(ADA)]
    assert suppressed(app) == ["5.1.1 550 5.1.1 no such user"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (notice(status="5.2.2", said="smtp; 552 5.2.2 mailbox full"), "bounce"),
        (notice(status="5.7.1", said="smtp; 550 5.7.1 <ada@example.org> spam"), "bounce"),
        (notice(said="smtp; 550 5.7.1 on a block list"), "bounce"),
        (notice(said="smtp; 550 5.1.1 unknown, try again later"), "bounce"),
        (notice(recipient="ada@elsewhere.example"), "bounce"),
        (notice().replace(b"Final-", b"Original-Recipient: rfc822; a@b.example\r\nFinal-"), "bounce"),
        (notice(action="delayed", status="4.4.1"), "delay"),
        (notice(action="delivered", status="2.0.0"), "ignored: delivered"),
        (notice(action="relayed", status="2.0.0"), "ignored: relayed"),
        (words("Out of office", Auto_Submitted="auto-replied"), "ignored: no delivery status notification"),
        (words("Undeliverable: 5.1.1"), "ignored: no delivery status notification"),
        (b"", "ignored: no delivery status notification"),
        (b"\xff\xfe\x00 not mail at all", "ignored: no delivery status notification"),
    ],
)
def test_what_suppresses_nobody(app: Container, sent: dict[str, str], message: bytes, said: str) -> None:
    assert receive(app, sent["bounce"], message) == said
    assert suppressed(app) == []
    with app.database.transaction() as session:
        details = session.execute(text("SELECT detail::text FROM feedback")).scalars().all()
    assert not [detail for detail in details if "@" in detail]


def test_a_forged_bounce_changes_nothing(app: Container, sent: dict[str, str]) -> None:
    token = sent["bounce"].partition("+")[2]
    forged = [
        "bounce@lumen-basin.example.org",
        "bounce+@lumen-basin.example.org",
        f"bounce+{'0' * 32}@lumen-basin.example.org",
        f"unsubscribe+{token}",
        f"bounce+{sent['unsubscribe'].partition('+')[2]}",
        "victim@example.org",
        "",
    ]
    for recipient in forged:
        assert receive(app, recipient, notice()) == "ignored: no token of ours", recipient
    assert suppressed(app) == []
    assert set(states(app).values()) == {"active"}


def send_magic_link_to_ada(app: Container, inbox: InboxServer) -> str:
    """Send her a magic link, and return the return path of its email."""
    with app.database.transaction() as session:
        subscriber = session.execute(text("SELECT id FROM subscriber WHERE address = :a"), {"a": ADA}).scalar_one()
    ref = SubscriptionRef(subscriber, newsletter=1)
    preferences.send_magic_link(
        app.database, ref, NOW, hash_mailbox=app.tokens.mailbox_hash, requester=app.requester("")
    )
    assert send_transactional(app) == 1
    return inbox.messages()[-1].envelope_sender


def test_a_note_that_bounces(app: Container, sent: dict[str, str], inbox: InboxServer) -> None:
    return_path = send_magic_link_to_ada(app, inbox)
    assert return_path != sent["bounce"]
    assert receive(app, return_path, notice()) == "bounce of a note, suppressed"
    assert len(suppressed(app)) == 1


def test_who_moved_is_not_suppressed_for_what_comes_back_from_the_old_address(
    app: Container, sent: dict[str, str], inbox: InboxServer
) -> None:
    return_path = send_magic_link_to_ada(app, inbox)
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE subscriber SET address_changed_at = clock_timestamp() WHERE address = :a"), {"a": ADA}
        )
    assert receive(app, sent["bounce"], notice()) == "bounce"
    assert receive(app, return_path, notice()) == "bounce of a note"
    assert suppressed(app) == []


@pytest.mark.parametrize(
    "change", ["finished_at = finished_at - interval '15 days'", "state = 'skipped'", "state = 'failed'"]
)
def test_a_return_path_does_not_suppress_for_ever(app: Container, sent: dict[str, str], change: str) -> None:
    with app.database.transaction() as session:
        session.execute(text(f"UPDATE delivery SET {change}"))
    assert receive(app, sent["bounce"], notice()) == "bounce"
    assert suppressed(app) == []
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM feedback WHERE kind = 'bounce'")) == 1


@pytest.mark.parametrize("state", ["sending", "uncertain"])
def test_a_bounce_may_be_quicker_than_the_record(app: Container, sent: dict[str, str], state: str) -> None:
    with app.database.transaction() as session:
        session.execute(text(f"UPDATE delivery SET state = '{state}', finished_at = NULL"))
    assert receive(app, sent["bounce"], notice()).startswith("bounce, suppressed")
    assert len(suppressed(app)) == 1


def test_a_note_that_bounces_late(app: Container, sent: dict[str, str], inbox: InboxServer) -> None:
    return_path = send_magic_link_to_ada(app, inbox)
    with app.database.transaction() as session:
        session.execute(text("UPDATE transactional_email SET created_at = created_at - interval '15 days'"))
    assert receive(app, return_path, notice()) == "bounce of a note"
    assert suppressed(app) == []


def test_the_pipe_of_a_mail_server(app: Container, sent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in app.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database_url)
    done = CliRunner().invoke(commands, ["receive", sent["unsubscribe"]], input=words("unsubscribe") + b"x" * 3_000_000)
    assert (done.exit_code, done.output.strip()) == (0, "unsubscribed")
    assert states(app)[ADA] == "unsubscribed"
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert CliRunner().invoke(commands, ["receive", sent["bounce"]], input=notice()).exit_code == 75


@pytest.mark.parametrize("recipient", ["<ADA@Example.ORG>", " ada@example.org "])
def test_recipient_is_compared_in_its_normalized_form(app: Container, sent: dict[str, str], recipient: str) -> None:
    assert receive(app, sent["bounce"], notice(recipient=recipient)) == "bounce, suppressed"


def test_dead_mailbox_behind_a_forward_suppresses_nobody(app: Container, sent: dict[str, str]) -> None:
    elsewhere = b"\r\n\r\nFinal-Recipient: rfc822; b@elsewhere.example\r\nAction: delivered\r\n\r\n--=_b--"
    assert receive(app, sent["bounce"], notice().replace(b"\r\n\r\n--=_b--", elsewhere)) == "bounce"
    assert suppressed(app) == []


def test_bounce_behind_a_forward_shows_that_the_reader_got_it(app: Container, sent: dict[str, str]) -> None:
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET state = 'uncertain'"))
        session.execute(text("UPDATE batch SET uncertain = sent, sent = 0"))
    said = receive(app, sent["bounce"], notice(recipient="b@elsewhere.example"))
    assert said == "bounce; an uncertain delivery is settled"
    with app.database.transaction() as session:
        query = "SELECT state::text, resolution_source::text FROM delivery WHERE resolution IS NOT NULL"
        assert session.execute(text(query)).all() == [("sent", "returned_mail")]


def test_notice_in_words_suppresses_only_the_address_it_names(app: Container, sent: dict[str, str]) -> None:
    said = "From: MAILER-DAEMON@mx.example.net\n\nI was not able to deliver your message.\n\n<{}>:\nno such user.\n"
    assert receive(app, sent["bounce"], said.format("victim@example.org").encode()) == "bounce"
    with app.database.transaction() as session:
        session.execute(text("DELETE FROM feedback"))
    assert receive(app, sent["bounce"], said.format(ADA).encode()) == "bounce, suppressed"


def test_unsubscribe_request_waits_for_mail_in_flight(app: Container, sent: dict[str, str]) -> None:
    waited: list[tuple[list[int], int]] = []

    def wait(newsletters: Collection[int], subscriber: int) -> None:
        assert states(app)[ADA] == "unsubscribed", "committed before"
        waited.append((list(newsletters), subscriber))

    request = words("unsubscribe")
    assert bounces.receive(app.database, app.urls, sent["unsubscribe"], request, NOW, wait) == "unsubscribed"
    with app.database.transaction() as session:
        ada = session.scalar(text("SELECT id FROM subscriber WHERE address = :a"), {"a": ADA})
    assert waited == [([1], ada)]


def test_unsubscribe_request_is_not_parsed(app: Container, sent: dict[str, str]) -> None:
    class Unread(bytes):
        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("it was read")

    assert receive(app, sent["unsubscribe"], Unread(notice())) == "unsubscribed"


def test_repeated_soft_bounces_suppress(app: Container, sent: dict[str, str]) -> None:
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE newsletter SET suppress_after_refused_issues = 1, suppress_after_refused_days = 0")
        )
    full = notice(status="5.2.2", said="smtp; 552 5.2.2 mailbox full")
    assert receive(app, sent["bounce"], full) == "bounce, suppressed after repeated refusals"
    assert len(suppressed(app)) == 1


def test_unrecognized_mail_is_kept_once_for_each_return_path(app: Container, sent: dict[str, str]) -> None:
    assert receive(app, sent["bounce"], words("Out of office", Auto_Submitted="auto-replied"))
    assert receive(app, sent["unsubscribe"], words("Please"))
    assert receive(app, sent["bounce"], notice())
    assert bounces.list_unrecognized(app.database, 10) == []
    strange = b"Subject: strange \x1b[2J\r\n\r\nhello" + b"x" * 100_000
    for _ in range(2):
        assert receive(app, sent["bounce"], strange) == "ignored: no delivery status notification"
    (kept,) = bounces.list_unrecognized(app.database, 10)
    assert bounces.read_unrecognized(app.database, kept.id) == kept
    assert kept.text.startswith("Subject: strange \N{REPLACEMENT CHARACTER}[2J\n\nhello")
    assert len(kept.text) < 20_000
    with pytest.raises(bounces.UnrecognizedMailNotFound):
        bounces.read_unrecognized(app.database, kept.id + 1)
    with app.database.transaction() as session:
        assert feedback.count_unrecognized(session, NOW - timedelta(days=1)) == 1
        assert feedback.count_unrecognized(session, NOW) == 0


def test_unrecognized_mails_are_limited_in_number(app: Container, sent: dict[str, str]) -> None:
    with app.database.transaction() as session:
        query = """
            INSERT INTO unrecognized_mail (at, issue_id, subscriber_id, beginning)
            SELECT :at - make_interval(secs => n), 1, 1000 + n, '' FROM generate_series(1, 1000) n
        """
        session.execute(text(query), {"at": NOW})
    receive(app, sent["bounce"], b"strange")
    with app.database.transaction() as session:
        found = session.execute(text("SELECT count(*), max(at), min(at) FROM unrecognized_mail")).one()
    assert tuple(found) == (1000, NOW, NOW - timedelta(seconds=999))
