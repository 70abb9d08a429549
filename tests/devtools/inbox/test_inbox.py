"""The inbox takes mail over a real SMTP conversation, keeps it, and finds it again."""

import asyncio
import smtplib
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.devtools.inbox import Inbox, InboxServer, start_inbox_server
from mailer.devtools.inbox.mime import parse_mail
from mailer.devtools.inbox.smtp import MAX_MESSAGE_BYTES, SmtpSession


@pytest.fixture
def running(tmp_path: Path) -> Iterator[InboxServer]:
    with start_inbox_server("127.0.0.1", 0, tmp_path / "inbox") as running:
        yield running


def issue(subject: str = "أنهار وموانئ", language: str = "ar") -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Rivers <news@rivers.example.org>"
    mail["To"] = "reader@example.org"
    mail["Subject"] = subject
    mail["Date"] = "Tue, 04 Aug 2026 07:00:00 +0000"
    mail["List-Unsubscribe"] = "<mailto:u@rivers.example.org>, <https://rivers.example.org/u/1>"
    mail.set_content("Plain words\n")
    mail.add_alternative("<p>Rich words</p>", subtype="html")
    mail["Content-Language"] = language
    return mail


def send(running: InboxServer, mail: EmailMessage, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", running.port) as client:
        client.send_message(mail, "bounce+7@rivers.example.org", recipients or ("reader@example.org",))


def talk(running: InboxServer, said: bytes) -> list[bytes]:
    """Say everything at once, as a pipelining client does, and hear all of the answers."""
    with socket.create_connection(("127.0.0.1", running.port), 10) as client:
        client.sendall(said)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
        return heard.splitlines()


def test_a_mail_is_indexed_with_its_envelope(running: InboxServer) -> None:
    send(running, issue(), "first@example.org", "second@example.org")
    (mail,) = running.wait_for(1)
    assert mail.envelope_sender == "bounce+7@rivers.example.org"
    assert mail.recipients == ("first@example.org", "second@example.org")
    assert mail.sender == "Rivers <news@rivers.example.org>"
    assert mail.subject == "أنهار وموانئ"
    assert mail.language == "ar"
    assert mail.date == "Tue, 04 Aug 2026 07:00:00 +0000"
    assert mail.unsubscribe_url == "https://rivers.example.org/u/1"
    assert mail.size == len(running.inbox.read(mail))


def test_file_contains_the_exact_bytes_after_the_trace_headers(running: InboxServer) -> None:
    content = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nends with a dot.\r\n\r\n\xff\x00\r\n"
    with smtplib.SMTP("127.0.0.1", running.port) as client:
        client.sendmail("a@example.org", ["b@example.org"], content)
    (mail,) = running.wait_for(1)
    trace = b"Return-Path: <a@example.org>\r\nDelivered-To: b@example.org\r\n"
    assert running.inbox.read(mail) == trace + content


@given(st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"..", b"\xff"]), max_size=30))
def test_dot_stuffing_preserves_any_bytes(pieces: list[bytes]) -> None:
    content = b"".join(pieces) + b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    assert deliver(stuffed) == content


def deliver(stuffed: bytes) -> bytes:
    """What the server keeps when ``stuffed`` comes after DATA."""
    kept: list[bytes] = []

    async def keep(sender: str, recipients: tuple[str, ...], content: bytes) -> str:
        kept.append(content)
        return "id"

    async def converse() -> None:
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await SmtpSession(reader, writer, keep).run()
            writer.close()
            done.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=MAX_MESSAGE_BYTES)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n" + stuffed + b".\r\nQUIT\r\n")
            await done.wait()
            writer.close()

    asyncio.run(converse())
    (content,) = kept
    return content


def test_pipelined_commands_are_answered_in_order(running: InboxServer) -> None:
    one = b"MAIL FROM:<> SIZE=9\r\nRCPT TO:<%s@example.org>\r\nDATA\r\nSubject: s\r\n\r\n.\r\n"
    heard = talk(running, b"EHLO client\r\n" + one % b"a" + one % b"b" + b"QUIT\r\n")
    assert b"250-PIPELINING" in heard
    assert [line[:3] for line in heard if line[3:4] == b" "] == (
        [b"220", b"250"] + [b"250", b"250", b"354", b"250"] * 2 + [b"221"]
    )
    assert [mail.recipients for mail in running.messages()] == [("a@example.org",), ("b@example.org",)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"NONSENSE", b"502"),
        (b"MAIL FROM:no brackets", b"501"),
        (b"MAIL TO:<a@example.org>", b"501"),
        (b"RCPT TO:<a@example.org>", b"503"),
        (b"DATA", b"503"),
        (b"MAIL FROM:<a@example.org> SIZE=%d" % (MAX_MESSAGE_BYTES + 1), b"552"),
        ("MAIL FROM:<é@example.org>".encode(), b"553"),
        (b"MAIL FROM:<\xff@example.org>", b"500"),
        (b"NOOP " + b"x" * 3000, b"500"),
        (b'MAIL FROM:<"a>b"@example.org> BODY=8BITMIME', b"250"),
    ],
)
def test_commands_are_answered_as_in_rfc_5321(running: InboxServer, said: bytes, answer: bytes) -> None:
    *_, last, bye = talk(running, b"EHLO client\r\n" + said + b"\r\nQUIT\r\n")
    assert last.startswith(answer)
    assert bye.startswith(b"221")


def test_non_ascii_address_needs_smtputf8(running: InboxServer) -> None:
    with smtplib.SMTP("127.0.0.1", running.port) as client:
        client.sendmail("a@example.org", ["مها@example.org"], "Subject: été\r\n\r\n".encode(), ["SMTPUTF8"])
    (mail,) = running.wait_for(1)
    assert mail.recipients == ("مها@example.org",)
    assert mail.subject == "été"


def test_oversized_mail_is_refused_and_the_session_continues(running: InboxServer) -> None:
    line = b"x" * 76 + b".\r\n"
    large = line * (MAX_MESSAGE_BYTES // len(line) + 1)
    with smtplib.SMTP("127.0.0.1", running.port) as client:
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt("b@example.org")
        assert client.data(large)[0] == 552
        assert client.noop()[0] == 250
    assert running.messages() == ()


def test_unwritable_folder_is_a_temporary_failure(running: InboxServer) -> None:
    running.inbox.folder.rmdir()
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(running, issue())
    assert refused.value.smtp_code == 451
    assert running.messages() == ()


def test_mail_from_several_connections_is_all_kept(running: InboxServer) -> None:
    def many() -> None:
        with smtplib.SMTP("127.0.0.1", running.port) as client:
            for _ in range(50):
                client.sendmail("a@example.org", ["b@example.org"], b"Subject: s\r\n\r\n" + b"x" * 40_000)

    clients = [threading.Thread(target=many) for _ in range(4)]
    for client in clients:
        client.start()
    mails = running.wait_for(200, timeout=60)
    for client in clients:
        client.join()
    assert len({mail.id for mail in mails}) == 200
    assert [mail.id for mail in mails] == sorted(mail.id for mail in mails)
    assert len(list(running.inbox.folder.iterdir())) == 200


def test_the_index_is_rebuilt_from_the_folder(running: InboxServer) -> None:
    for subject in ("one", "two", "three"):
        send(running, issue(subject))
    (running.inbox.folder / ".0000000000000001.tmp").write_bytes(b"half a mail")
    (running.inbox.folder / "notes.eml").write_bytes(b"not ours")
    again = Inbox(running.inbox.folder)
    assert again.messages() == running.messages()
    assert not list(again.folder.glob(".*.tmp"))
    assert again.add("", ["b@example.org"], b"").id > again.messages()[2].id


def test_wait_timeout_reports_how_many_arrived(running: InboxServer) -> None:
    send(running, issue())
    with pytest.raises(TimeoutError, match="1 of 2 mails"):
        running.wait_for(2, timeout=0.01)


def test_stopping_frees_the_port_and_drops_idle_clients(tmp_path: Path) -> None:
    running = start_inbox_server("127.0.0.1", 0, tmp_path)
    idle = socket.create_connection(("127.0.0.1", running.port), 10)
    assert idle.recv(3) == b"220"
    running.stop()
    running.stop()
    while idle.recv(4096):
        pass
    idle.close()
    with start_inbox_server("127.0.0.1", running.port, tmp_path) as again:
        assert again.port == running.port


def test_occupied_port_is_an_error(running: InboxServer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(running.port)):
        start_inbox_server("127.0.0.1", running.port, tmp_path)


def test_trace_headers_cannot_be_forged_by_an_address(tmp_path: Path) -> None:
    mail = Inbox(tmp_path).add("a@example.org\r\nSubject: forged", ["b@example.org\nX: y"], b"Subject: s\r\n\r\n")
    assert mail.subject == "s"
    assert mail.recipients == ("b@example.orgX:y",)


def test_unsubscribe_url_must_be_http(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    hostile = inbox.add("", ["b@example.org"], b"List-Unsubscribe: <javascript:alert(1)>\r\n\r\n")
    assert hostile.unsubscribe_url == ""


def test_html_text_and_files_are_distinguished() -> None:
    mail = issue()
    html = mail.get_payload(1)
    assert isinstance(html, EmailMessage)
    html.add_related(b"\x89PNG", "image", "png", cid="<logo@x>", filename="logo.png")
    mail.add_attachment(b"<p>attached</p>", "text", "html", filename="rivières.html")
    read = parse_mail(mail.as_bytes())
    assert read.html.strip() == "<p>Rich words</p>"
    assert read.text.strip() == "Plain words"
    assert [(file.name, file.content_type, file.content_id, file.data) for file in read.attachments] == [
        ("logo.png", "image/png", "logo@x", b"\x89PNG"),
        ("rivières.html", "text/html", "", b"<p>attached</p>"),
    ]


@pytest.mark.parametrize(
    ("mail", "text"),
    [
        (b"no headers at all", "no headers at all"),
        (b"Content-Type: text/plain; charset=no-such\r\n\r\n\xc3\xa9", "é"),
        (b"Content-Type: text/plain; charset*=\x00'\x00'\x00\r\n\r\nx", "x"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever closed", "never closed"),
        (b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8", "hello"),
        (b"Content-Type: text/plain; charset=unicode-escape\r\n\r\n\\ud800", "?"),
    ],
)
def test_broken_mail_is_still_read(mail: bytes, text: str) -> None:
    assert parse_mail(mail).text == text


HEADERS = b'Subject: =?utf-8?b?4pyT?= =?x?q?=ff?=\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
PART = b"Content-Type: text/html; charset=utf-7\r\nContent-ID: <x>\r\n\r\n<b>\r\n--b--\r\n"


@given(cut=st.integers(0, len(HEADERS + PART)), length=st.integers(0, 30), other=st.binary(max_size=30))
def test_any_bytes_can_be_parsed(cut: int, length: int, other: bytes) -> None:
    whole = HEADERS + PART
    read = parse_mail(whole[:cut] + other + whole[cut + length :])
    shown = [read.html, read.text, *(file.name for file in read.attachments)]
    shown += [text for header in read.headers for text in header]
    assert "".join(shown).encode().decode() == "".join(shown)
