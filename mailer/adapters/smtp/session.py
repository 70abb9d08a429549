"""The opening of an SMTP session: greeting, EHLO, STARTTLS and AUTH."""

import base64
import ssl
from dataclasses import dataclass

from mailer.adapters.smtp.line_connection import LineConnection
from mailer.adapters.smtp.relay import Relay, Tls
from mailer.adapters.smtp.replies import build_reply
from mailer.domain.outcomes import Reply, Stage


class RelayUnusable(Exception):
    """The relay refused or failed while a session was opened."""

    def __init__(self, stage: Stage, detail: str, reply: Reply | None = None) -> None:
        super().__init__(f"{stage}: {detail or reply}")
        self.stage = stage
        self.detail = detail
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that EHLO offered. ``size``: the largest message in bytes, 0 if unknown."""

    pipelining: bool = False
    size_parameter: bool = False
    size: int = 0
    eightbit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, lines: list[bytes]) -> "Capabilities":
        """Return the capabilities in the lines of an EHLO reply; the first line names the server."""
        offers: dict[str, list[str]] = {}
        for line in lines[1:]:
            # Some old servers write AUTH=LOGIN.
            text = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ")
            keyword, *values = text.split() or [""]
            offers.setdefault(keyword, []).extend(values)
        size = "".join(offers.get("SIZE", [])[:1])
        return cls(
            pipelining="PIPELINING" in offers,
            size_parameter="SIZE" in offers,
            size=int(size) if size.isdecimal() else 0,
            eightbit="8BITMIME" in offers,
            smtputf8="SMTPUTF8" in offers,
            dsn="DSN" in offers,
            chunking="CHUNKING" in offers,
            starttls="STARTTLS" in offers,
            auth=frozenset(offers.get("AUTH", [])),
        )


async def open_session(connection: LineConnection, relay: Relay, context: ssl.SSLContext | None) -> Capabilities:
    """Open an SMTP session on a new connection. Return its capabilities. Raises RelayUnusable."""
    session = _Session(connection, relay)
    try:
        return await session.open(context)
    except TimeoutError as error:
        raise RelayUnusable(session.stage, "timed out") from error
    except OSError as error:
        raise RelayUnusable(session.stage, str(error) or type(error).__name__) from error


class _Session:
    def __init__(self, connection: LineConnection, relay: Relay) -> None:
        self.stage = Stage.GREETING
        self._connection = connection
        self._relay = relay

    async def open(self, context: ssl.SSLContext | None) -> Capabilities:
        relay, seconds = self._relay, self._relay.timeouts.session
        await self._command(Stage.GREETING, None, relay.timeouts.greeting)
        capabilities = await self._ehlo()
        if relay.tls is Tls.STARTTLS:
            self.stage = Stage.STARTTLS
            if not capabilities.starttls or context is None:
                raise RelayUnusable(Stage.STARTTLS, "STARTTLS is not offered")
            await self._command(Stage.STARTTLS, b"STARTTLS\r\n", seconds)
            await self._connection.start_tls(context, relay.host, seconds)
            capabilities = await self._ehlo()
        if relay.username:
            await self._authenticate(capabilities)
        return capabilities

    async def _command(self, stage: Stage, line: bytes | None, seconds: float, expect: int = 2) -> list[bytes]:
        self.stage = stage
        code, lines = await self._connection.send_command(line, seconds)
        if code // 100 != expect:
            raise RelayUnusable(stage, "", build_reply(code, lines))
        return lines

    async def _ehlo(self) -> Capabilities:
        name, seconds = self._relay.ehlo_name.encode("idna"), self._relay.timeouts.session
        try:
            return Capabilities.parse(await self._command(Stage.EHLO, b"EHLO %b\r\n" % name, seconds))
        except RelayUnusable as refusal:
            if refusal.reply is None or refusal.reply.code // 100 != 5:
                raise
        await self._command(Stage.EHLO, b"HELO %b\r\n" % name, seconds)
        return Capabilities()

    async def _authenticate(self, capabilities: Capabilities) -> None:
        """Authenticate with AUTH PLAIN (RFC 4616), or LOGIN if PLAIN is not offered or not supported after all."""
        seconds = self._relay.timeouts.session
        username, password = self._relay.username.encode(), self._relay.password.encode()
        if "PLAIN" in capabilities.auth:
            token = base64.b64encode(b"\0%b\0%b" % (username, password))
            try:
                await self._command(Stage.AUTH, b"AUTH PLAIN %b\r\n" % token, seconds)
                return
            except RelayUnusable as refusal:
                if refusal.reply is None or not _lacks_mechanism(refusal.reply):
                    raise
        if capabilities.auth & {"LOGIN", "PLAIN"}:
            await self._command(Stage.AUTH, b"AUTH LOGIN\r\n", seconds, expect=3)
            await self._command(Stage.AUTH, base64.b64encode(username) + b"\r\n", seconds, expect=3)
            await self._command(Stage.AUTH, base64.b64encode(password) + b"\r\n", seconds)
        else:
            raise RelayUnusable(Stage.AUTH, "neither AUTH PLAIN nor AUTH LOGIN is offered")


def _lacks_mechanism(reply: Reply) -> bool:
    """Return whether AUTH failed for its mechanism (RFC 4954 4 and 6) rather than for the user name or password."""
    return reply.code == 504 or (
        reply.code in (534, 535) and (reply.enhanced == "5.7.9" or "mechanism" in reply.text.lower())
    )
