"""From a host name to a connection that takes messages: connect, greeting, EHLO, STARTTLS, AUTH."""

import base64
import ssl
from dataclasses import dataclass

from mailer.adapters.smtp.channel import LineConnection
from mailer.adapters.smtp.relay import Relay, Tls
from mailer.adapters.smtp.replies import build_reply
from mailer.domain.outcomes import Reply, Stage


class RelayUnusable(Exception):
    """the relay cannot be used"""

    def __init__(self, stage: Stage, detail: str, reply: Reply | None = None) -> None:
        super().__init__(f"{stage}: {detail or reply}")
        self.stage = stage
        self.detail = detail
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What EHLO offered. ``size`` is the largest message in bytes, 0 when no limit is known."""

    pipelining: bool = False
    size_parameter: bool = False
    size: int = 0
    eightbit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, lines: list[bytes]) -> "Capabilities":
        """From the text of the reply's lines; the first one names the server."""
        offers: dict[str, list[str]] = {}
        for line in lines[1:]:
            # Some old servers write AUTH=LOGIN.
            keyword, *values = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split() or [
                ""
            ]
            offers.setdefault(keyword, []).extend(values)
        size = "".join(offers.get("SIZE", [])[:1])
        return cls(
            pipelining="PIPELINING" in offers,
            size_parameter="SIZE" in offers,
            size=int(size) if size.isdecimal() else 0,
            eightbit="8BITMIME" in offers,
            smtputf8="SMTPUTF8" in offers,
            dsn="DSN" in offers,
            starttls="STARTTLS" in offers,
            auth=frozenset(offers.get("AUTH", [])),
        )


async def open_session(channel: LineConnection, relay: Relay, context: ssl.SSLContext | None) -> Capabilities:
    """Bring a connection that was just made to where it takes messages. Raises Unusable."""
    session = _Session(channel, relay)
    try:
        return await session.open(context)
    except TimeoutError as trouble:
        raise RelayUnusable(session.stage, "timed out") from trouble
    except OSError as trouble:
        raise RelayUnusable(session.stage, str(trouble) or type(trouble).__name__) from trouble


class _Session:
    def __init__(self, channel: LineConnection, relay: Relay) -> None:
        self.stage = Stage.GREETING
        self._channel = channel
        self._relay = relay

    async def open(self, context: ssl.SSLContext | None) -> Capabilities:
        relay, seconds = self._relay, self._relay.timeouts.session
        await self._command(Stage.GREETING, None, relay.timeouts.greeting)
        offered = await self._ehlo()
        if relay.tls is Tls.STARTTLS:
            self.stage = Stage.STARTTLS
            if not offered.starttls or context is None:
                raise RelayUnusable(Stage.STARTTLS, "STARTTLS is not offered")
            await self._command(Stage.STARTTLS, b"STARTTLS\r\n", seconds)
            await self._channel.start_tls(context, relay.host, seconds)
            offered = await self._ehlo()
        if relay.username:
            await self._authenticate(offered)
        return offered

    async def _command(
        self, stage: Stage, line: bytes | None, seconds: float, expect: int = 2
    ) -> list[bytes]:
        self.stage = stage
        code, lines = await self._channel.send_command(line, seconds)
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
        """AUTH PLAIN (RFC 4616), else LOGIN."""
        seconds = self._relay.timeouts.session
        username, password = self._relay.username.encode(), self._relay.password.encode()
        if "PLAIN" in capabilities.auth:
            token = base64.b64encode(b"\0%b\0%b" % (username, password))
            await self._command(Stage.AUTH, b"AUTH PLAIN %b\r\n" % token, seconds)
        elif "LOGIN" in capabilities.auth:
            await self._command(Stage.AUTH, b"AUTH LOGIN\r\n", seconds, expect=3)
            await self._command(Stage.AUTH, base64.b64encode(username) + b"\r\n", seconds, expect=3)
            await self._command(Stage.AUTH, base64.b64encode(password) + b"\r\n", seconds)
        else:
            raise RelayUnusable(Stage.AUTH, "neither AUTH PLAIN nor AUTH LOGIN is offered")
