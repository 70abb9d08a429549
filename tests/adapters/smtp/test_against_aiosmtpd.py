"""Tests against aiosmtpd, an independent server: TLS, login, SMTPUTF8, SIZE, no PIPELINING."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailer.adapters.smtp import Relay, Tls, Transport
from mailer.domain.outcomes import Stage
from tests.support.scripted_smtp import (
    Peer,
    RecordingObserver,
    ScriptedServer,
    envelope,
    envelopes,
    relay,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass
class Certificate:
    path: Path
    server: ssl.SSLContext
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(path))
    return Certificate(path, server, trusting)


@dataclass
class Mailbox:
    """An aiosmtpd handler that keeps what it gets."""

    got: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, received: Any) -> str:
        self.got.append((received.mail_from, received.rcpt_tos, received.content))
        return "250 2.0.0 taken"

    async def handle_RCPT(self, server: Any, session: Any, received: Any, address: str, options: Any) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        received.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret \xc3\xbc", handled=False)


@contextmanager
def listening(mailbox: Mailbox, implicit: ssl.SSLContext | None = None, **options: Any) -> Iterator[int]:
    """An aiosmtpd server on a port that the system chooses, in a thread and on a loop of its own."""
    options.setdefault("auth_require_tls", False)
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        return await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0, ssl=implicit)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield server.sockets[0].getsockname()[1]
        loop.call_soon_threadsafe(server.close)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def deliver(settings: Relay, count: int = 3, context: ssl.SSLContext | None = None) -> RecordingObserver:
    heard = RecordingObserver()
    transport = Transport(settings, context)
    await transport.send(envelopes(count), heard, heard.on_result)
    await transport.close()
    return heard


ACCEPTED = {0: "accepted", 1: "accepted", 2: "accepted"}
RELAY = dict.fromkeys(ACCEPTED, "relay")


def test_messages_arrive_unchanged(run: Run) -> None:
    async def scenario(port: int) -> RecordingObserver:
        heard = RecordingObserver()
        transport = Transport(relay(port))
        sent = [envelope(0), envelope(1, recipient="nobody@example.org"), envelope(2), envelope(3, sender="")]
        sent += [envelope(4, recipient="лев@example.org"), envelope(5, size=40_000_000)]
        await transport.send(sent, heard, heard.on_result)
        await transport.close()
        return heard

    mailbox = Mailbox()
    with listening(mailbox, enable_SMTPUTF8=True) as port:
        heard = run(scenario(port))
    good = {0: "accepted", 2: "accepted", 3: "accepted", 4: "accepted"}
    assert heard.outcomes() == good | {1: "hard", 5: "message"}
    assert [(sender, to) for sender, to, _ in mailbox.got] == [
        ("bounce@news.example", ["reader0@example.org"]),
        ("bounce@news.example", ["reader2@example.org"]),
        ("<>", ["reader3@example.org"]),
        ("bounce@news.example", ["лев@example.org"]),
    ]
    assert mailbox.got[0][2] == b"Key: 0\r\n\r\n.dots\r\n"


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_certificates_are_checked(run: Run, certificate: Certificate, tls: Tls) -> None:
    mailbox = Mailbox()
    how: dict[str, Any] = {"implicit": certificate.server}
    if tls is Tls.STARTTLS:
        how = {"tls_context": certificate.server, "require_starttls": True}
    with listening(mailbox, **how) as port:
        refused = run(deliver(relay(port, tls=tls)))
        assert refused.outcomes() == RELAY
        assert "certificate verify failed" in refused.results[0].detail
        wrong_name = run(deliver(relay(port, tls=tls, host="localhost"), 3, certificate.trusting))
        assert wrong_name.outcomes() == RELAY
        assert "localhost" in wrong_name.results[0].detail
        assert mailbox.got == []
        accepted = run(deliver(relay(port, tls=tls, max_connections=2), 3, certificate.trusting))
    assert accepted.outcomes() == ACCEPTED
    assert len(mailbox.got) == 3


def test_no_tls_where_the_relay_demands_it(run: Run, certificate: Certificate) -> None:
    mailbox = Mailbox()
    with listening(mailbox, tls_context=certificate.server, require_starttls=True) as port:
        heard = run(deliver(relay(port)))
    assert heard.outcomes() == RELAY
    assert heard.results[0].stage is Stage.MAIL
    assert mailbox.got == []


def test_tls_is_never_skipped(run: Run) -> None:
    mailbox = Mailbox()
    with listening(mailbox) as port:
        heard = run(deliver(relay(port, tls=Tls.STARTTLS)))
    assert heard.outcomes() == RELAY
    assert heard.results[0].stage is Stage.STARTTLS
    assert mailbox.got == []


@pytest.mark.parametrize("injected", ["250 ok\r\n", "250-half"])
def test_plain_text_before_the_handshake_is_ignored(run: Run, certificate: Certificate, injected: str) -> None:
    """Bytes that came in the clear must not pass for bytes that came through TLS."""

    async def script(peer: Peer) -> None:
        await peer.greet("STARTTLS")
        await peer.expect("STAR")
        peer.send(f"220 go\r\n{injected}".encode())
        assert await peer.read_to_end() == b""

    async def scenario() -> None:
        async with ScriptedServer(script).running() as server:
            heard = await deliver(relay(server.port, tls=Tls.STARTTLS), 3, certificate.trusting)
        assert heard.outcomes() == RELAY

    run(scenario())


@pytest.mark.parametrize("excluded", [[], ["PLAIN"]])
@pytest.mark.parametrize("password", ["s3cret ü", "wrong"])
def test_logging_in(run: Run, excluded: list[str], password: str) -> None:
    mailbox = Mailbox()
    options: dict[str, Any] = {
        "authenticator": mailbox.authenticate,
        "auth_exclude_mechanism": excluded,
    }
    with listening(mailbox, **options) as port:
        heard = run(deliver(relay(port, username="news", password=password)))
    good = password != "wrong"
    assert heard.outcomes() == (ACCEPTED if good else RELAY)
    assert mailbox.logins == [(b"news", password.encode())]
    if not good:
        reply = heard.results[0].reply
        assert reply is not None
        assert reply.code == 535
        assert heard.results[0].stage is Stage.AUTH


@pytest.mark.parametrize(
    ("refusal", "next_is"),
    [
        ("504 5.5.4 Unrecognized authentication type", "AUTH LOGIN"),
        ("534 5.7.9 Authentication mechanism is too weak", "AUTH LOGIN"),
        ("535 Authentication mechanism not supported", "AUTH LOGIN"),
        ("535 5.7.8 Authentication credentials invalid", ""),
        ("454 4.7.0 Temporary authentication failure", ""),
    ],
)
def test_login_is_tried_where_plain_is_not_supported_after_all(run: Run, refusal: str, next_is: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("AUTH PLAIN LOGIN", "PIPELINING")
        assert (await peer.line()).startswith("AUTH PLAIN ")
        peer.reply(refusal)
        if not next_is:
            assert await peer.read_to_end() == b""
            return
        assert await peer.line() == next_is
        peer.reply("334 VXNlcm5hbWU6")
        assert b64decode(await peer.line()) == b"news"
        peer.reply("334 UGFzc3dvcmQ6")
        assert b64decode(await peer.line()) == b"secret"
        peer.reply("235 2.7.0 Authentication successful")
        for _ in range(3):
            await peer.accept_message()
        await peer.accept_quit()

    async def scenario() -> None:
        async with ScriptedServer(script).running() as server:
            heard = await deliver(relay(server.port, username="news", password="secret"), 3)
        assert heard.outcomes() == (ACCEPTED if next_is else RELAY)

    run(scenario())


def test_no_supported_login_method(run: Run) -> None:
    mailbox = Mailbox()
    with listening(mailbox, auth_exclude_mechanism=["PLAIN", "LOGIN"]) as port:
        heard = run(deliver(relay(port, username="news", password="x")))
    assert heard.outcomes() == RELAY
    assert "AUTH" in heard.results[0].detail


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(relay(25, username="news", password="hunter2"))


def test_many_connections_at_once(run: Run) -> None:
    mailbox = Mailbox()
    with listening(mailbox) as port:
        heard = run(deliver(relay(port, max_connections=8), count=200))
    assert heard.outcomes() == dict.fromkeys(range(200), "accepted")
    assert len(mailbox.got) == 200


def test_large_messages_under_tls(run: Run, certificate: Certificate) -> None:
    size = 3_000_000
    message = (b"x" * 998 + b"\r\n") * (size // 1000)

    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        for _ in range(3):
            await peer.expect("MAIL", "RCPT", "DATA")
            peer.reply("250 ok", "250 ok", "354 go")
            assert await peer.read_exactly(size) == message
            assert await peer.line() == "."
            peer.reply("250 taken")
        await peer.accept_quit()

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(script, tls=certificate.server).running() as server:
            transport = Transport(relay(server.port, tls=Tls.IMPLICIT), certificate.trusting)
            sent = [envelope(key, message=message, size=size) for key in range(3)]
            await transport.send(sent, heard, heard.on_result)
            await transport.close()
        assert heard.outcomes() == ACCEPTED

    run(scenario())


def test_timing_out_in_the_handshake(run: Run, certificate: Certificate) -> None:
    from dataclasses import replace

    from tests.support.scripted_smtp import LONG_TIMEOUTS

    async def script(peer: Peer) -> None:
        await peer.greet("STARTTLS")
        await peer.expect("STAR")
        peer.reply("220 go")
        await asyncio.sleep(1)

    async def scenario() -> None:
        async with ScriptedServer(script).running() as server:
            settings = relay(server.port, tls=Tls.STARTTLS, timeouts=replace(LONG_TIMEOUTS, session=0.1))
            heard = await deliver(settings, 3, certificate.trusting)
        assert heard.outcomes() == RELAY
        assert heard.results[0].detail == "timed out"

    run(scenario())
