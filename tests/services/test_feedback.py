"""Mail that comes back: only our own token says whom it is about."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.cli import app
from mailer.domain.notices import read_notice
from mailer.domain.outcomes import Outcome
from mailer.domain.ties import Tie
from mailer.services import feedback, preferences
from tests.notes import send_notes

NOW = datetime.now(UTC)
ADA = "ada@example.org"


def notice(
    action: str = "failed", status: str = "5.1.1", said: str = "smtp; 550 5.1.1 no such user"
) -> bytes:
    """A delivery status notification as mail servers write them (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\r\n\r\n'
        "--=_b\r\n\r\nI am sorry to have to inform you …\r\n"
        "--=_b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; victim@example.org\r\nAction: {action}\r\nStatus: {status}\r\n"
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
    parts: Mailer,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> dict[str, str]:
    """The addresses of ours that a mail to Ada holds, by what they are for."""
    issue = import_issue("en")
    add_readers(f"{ADA};en;\nvictim@example.org;en;")
    prepare(issue)
    send()
    caught = next(mail for mail in inbox.messages() if mail.recipients[0] == ADA)
    raw = inbox.inbox.read(caught).decode("utf-8", "replace")
    leave = raw.partition("<mailto:unsubscribe+")[2].partition("?")[0]
    return {"bounce": caught.envelope_sender, "unsubscribe": f"unsubscribe+{leave}"}


def receive(parts: Mailer, recipient: str, message: bytes) -> str:
    return feedback.receive(parts.database, parts.links, recipient, message, NOW)


def suppressed(parts: Mailer) -> list[str]:
    with parts.database.transaction() as session:
        return list(session.execute(text("SELECT detail FROM suppression")).scalars())


def states(parts: Mailer) -> dict[str, str]:
    query = "SELECT address, state FROM subscription JOIN subscriber r ON r.id = subscriber_id"
    with parts.database.transaction() as session:
        return {row.address: row.state for row in session.execute(text(query))}


@pytest.mark.parametrize("shout", [str, str.upper])
def test_unsubscribing_by_mail(parts: Mailer, sent: dict[str, str], shout: Callable[[str], str]) -> None:
    recipient = shout(sent["unsubscribe"])
    assert receive(parts, recipient, words("unsubscribe")) == "unsubscribed"
    assert receive(parts, recipient, b"") == "unsubscribed before"
    assert states(parts) == {ADA: "unsubscribed", "victim@example.org": "active"}
    with parts.database.transaction() as session:
        rows = session.execute(text("SELECT given, source FROM consent ORDER BY id DESC LIMIT 1")).all()
    assert [tuple(row) for row in rows] == [(False, "mail")]


def test_a_bounce_suppresses_whom_the_token_names(parts: Mailer, sent: dict[str, str]) -> None:
    assert receive(parts, sent["bounce"], notice()) == "bounce, suppressed"
    assert receive(parts, sent["bounce"], notice()) == "bounce, known before"
    with parts.database.transaction() as session:
        hashes = list(session.execute(text("SELECT address_hash FROM suppression")).scalars())
    assert hashes == [parts.tokens.address_hash(ADA)]
    assert suppressed(parts) == ["5.1.1 550 5.1.1 no such user"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (notice(status="5.2.2", said="smtp; 552 5.2.2 mailbox full"), "bounce"),
        (notice(status="5.7.1", said="smtp; 550 5.7.1 <ada@example.org> spam"), "bounce"),
        (notice(action="delayed", status="4.4.1"), "delay"),
        (notice(action="delivered", status="2.0.0"), "ignored: delivered"),
        (notice(action="relayed", status="2.0.0"), "ignored: relayed"),
        (words("Out of office", Auto_Submitted="auto-replied"), "ignored: no delivery status notification"),
        (words("Undeliverable: 5.1.1"), "ignored: no delivery status notification"),
        (b"", "ignored: no delivery status notification"),
        (b"\xff\xfe\x00 not mail at all", "ignored: no delivery status notification"),
    ],
)
def test_what_suppresses_nobody(parts: Mailer, sent: dict[str, str], message: bytes, said: str) -> None:
    assert receive(parts, sent["bounce"], message) == said
    assert suppressed(parts) == []
    with parts.database.transaction() as session:
        details = session.execute(text("SELECT detail::text FROM feedback")).scalars().all()
    assert not [detail for detail in details if "@" in detail]


def test_a_forged_bounce_changes_nothing(parts: Mailer, sent: dict[str, str]) -> None:
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
        assert receive(parts, recipient, notice()) == "ignored: no token of ours", recipient
    assert suppressed(parts) == []
    assert set(states(parts).values()) == {"active"}


def test_a_note_that_bounces(parts: Mailer, sent: dict[str, str], inbox: RunningInbox) -> None:
    with parts.database.transaction() as session:
        row = session.execute(text("SELECT id FROM subscriber WHERE address = :a"), {"a": ADA}).scalar_one()
    preferences.send_key(parts.database, Tie(row, newsletter=1), NOW)
    assert send_notes(parts) == 1
    note = inbox.messages()[-1]
    assert note.envelope_sender != sent["bounce"]
    assert receive(parts, note.envelope_sender, notice()) == "bounce of a note, suppressed"
    assert len(suppressed(parts)) == 1


def test_who_moved_is_not_suppressed_for_what_comes_back_from_the_old_address(
    parts: Mailer, sent: dict[str, str], inbox: RunningInbox
) -> None:
    with parts.database.transaction() as session:
        row = session.scalar(text("SELECT id FROM subscriber WHERE address = :a"), {"a": ADA}) or 0
    preferences.send_key(parts.database, Tie(row, newsletter=1), NOW)
    send_notes(parts)
    note = inbox.messages()[-1].envelope_sender
    with parts.database.transaction() as session:
        session.execute(
            text("UPDATE subscriber SET keys_from = clock_timestamp() WHERE id = :id"), {"id": row}
        )
    assert receive(parts, sent["bounce"], notice()) == "bounce"
    assert receive(parts, note, notice()) == "bounce of a note"
    assert suppressed(parts) == []


@pytest.mark.parametrize(
    "change", ["finished_at = finished_at - interval '15 days'", "state = 'skipped'", "state = 'failed'"]
)
def test_a_return_path_does_not_suppress_for_ever(parts: Mailer, sent: dict[str, str], change: str) -> None:
    with parts.database.transaction() as session:
        session.execute(text(f"UPDATE delivery SET {change}"))
    assert receive(parts, sent["bounce"], notice()) == "bounce"
    assert suppressed(parts) == []
    with parts.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM feedback WHERE kind = 'bounce'")) == 1


@pytest.mark.parametrize("state", ["sending", "uncertain"])
def test_a_bounce_may_be_quicker_than_the_record(parts: Mailer, sent: dict[str, str], state: str) -> None:
    with parts.database.transaction() as session:
        session.execute(text(f"UPDATE delivery SET state = '{state}', finished_at = NULL"))
    assert receive(parts, sent["bounce"], notice()).startswith("bounce, suppressed")
    assert len(suppressed(parts)) == 1


def test_a_note_that_bounces_late(parts: Mailer, sent: dict[str, str], inbox: RunningInbox) -> None:
    with parts.database.transaction() as session:
        row = session.scalar(text("SELECT id FROM subscriber WHERE address = :a"), {"a": ADA}) or 0
    preferences.send_key(parts.database, Tie(row, newsletter=1), NOW)
    send_notes(parts)
    with parts.database.transaction() as session:
        session.execute(text("UPDATE note SET created_at = created_at - interval '15 days'"))
    assert receive(parts, inbox.messages()[-1].envelope_sender, notice()) == "bounce of a note"
    assert suppressed(parts) == []


def test_the_pipe_of_a_mail_server(
    parts: Mailer, sent: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in parts.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAILER_DATABASE_URL", parts.database_url)
    done = CliRunner().invoke(
        app, ["receive", sent["unsubscribe"]], input=words("unsubscribe") + b"x" * 3_000_000
    )
    assert (done.exit_code, done.output.strip()) == (0, "unsubscribed")
    assert states(parts)[ADA] == "unsubscribed"
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert CliRunner().invoke(app, ["receive", sent["bounce"]], input=notice()).exit_code == 75


def test_the_worst_of_several_counts() -> None:
    more = notice("delayed", "4.4.1").replace(
        b"\r\n\r\n--=_b--",
        b"\r\n\r\nFinal-Recipient: rfc822; b@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--=_b--",
    )
    found = read_notice(more)
    assert found
    assert (found.action, found.outcome) == ("failed", Outcome.HARD)
