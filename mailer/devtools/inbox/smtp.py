"""The SMTP session with a client (RFC 5321, with PIPELINING, SIZE, 8BITMIME and SMTPUTF8).

aiosmtpd reads a mail line by line, 2 ms for 40 KB, which would make the inbox the bottleneck of a send.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_COMMAND_BYTES = 2_000

OnMessage = Callable[[str, tuple[str, ...], bytes], Awaitable[str]]
"""Stores a mail with its envelope sender and recipients. Returns its id, or raises OSError."""

_EXTENSIONS = ("PIPELINING", f"SIZE {MAX_MESSAGE_BYTES}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r'(FROM|TO):\s*<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: (.*))?', re.IGNORECASE)
_END_OF_DATA = b"\r\n.\r\n"


class SmtpSession:
    """An SMTP session with one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_message: OnMessage) -> None:
        """Set up the session. ``reader`` must have a limit of MAX_MESSAGE_BYTES."""
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._utf8 = False

    async def run(self) -> None:
        """Serve the client until it quits. Raises the streams' errors if it disconnects."""
        await self._reply("220 inbox.localhost ESMTP accepts every mail and delivers nothing")
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
                if len(line) > MAX_COMMAND_BYTES:
                    await self._reply("500 5.5.2 Line too long")
                    continue
                verb, _, rest = line.decode().strip().partition(" ")
            except UnicodeDecodeError:
                await self._reply("500 5.5.2 Not UTF-8")
                continue
            except asyncio.LimitOverrunError:
                await self._reply("421 4.7.0 Line too long")
                return
            match verb.upper():
                case "QUIT":
                    await self._reply("221 2.0.0 Bye")
                    return
                case "DATA":
                    await self._handle_data()
                case command:
                    await self._reply(*self._handle_command(command, rest))

    def _handle_command(self, verb: str, rest: str) -> tuple[str, ...]:
        match verb:
            case "EHLO" | "LHLO":
                self._reset()
                *first, last = ("inbox.localhost", *_EXTENSIONS)
                return (*(f"250-{line}" for line in first), f"250 {last}")
            case "HELO":
                self._reset()
                return ("250 inbox.localhost",)
            case "RSET":
                self._reset()
                return ("250 2.0.0 Reset",)
            case "NOOP":
                return ("250 2.0.0 OK",)
            case "VRFY":
                return ("252 2.1.5 Every address is accepted",)
            case "MAIL" | "RCPT":
                return (self._handle_address(verb, rest),)
        return ("502 5.5.1 Unknown command",)

    def _handle_address(self, verb: str, rest: str) -> str:
        match = _PATH.fullmatch(rest)
        if not match or match[1].upper() != {"MAIL": "FROM", "RCPT": "TO"}[verb]:
            return "501 5.5.4 Expected an address in angle brackets"
        address = match[2]
        options = dict(option.partition("=")[::2] for option in (match[3] or "").upper().split())
        if verb == "MAIL":
            if options.get("SIZE", "").isdecimal() and int(options["SIZE"]) > MAX_MESSAGE_BYTES:
                return "552 5.3.4 This mail is too large"
            self._reset()
            self._utf8 = "SMTPUTF8" in options
        if not address.isascii() and not self._utf8:
            return "553 5.6.7 This address needs SMTPUTF8"
        if verb == "MAIL":
            self._sender = address
            return "250 2.1.0 Sender accepted"
        if self._sender is None:
            return "503 5.5.1 MAIL comes first"
        if not address:
            return "501 5.1.3 Recipient is empty"
        self._recipients.append(address)
        return "250 2.1.5 Recipient accepted"

    async def _handle_data(self) -> None:
        if self._sender is None or not self._recipients:
            await self._reply("503 5.5.1 MAIL and RCPT come first")
            return
        await self._reply("354 End with a dot on a line of its own")
        try:
            content = await self._read_content()
        except asyncio.LimitOverrunError:
            await self._reply("421 4.7.0 Line too long")
            raise ConnectionAbortedError from None
        if content is None:
            await self._reply("552 5.3.4 This mail is too large")
        else:
            try:
                mail_id = await self._on_message(self._sender, tuple(self._recipients), content)
                await self._reply(f"250 2.0.0 Kept as {mail_id}")
            except OSError as error:
                await self._reply(f"451 4.3.0 The inbox cannot keep this mail: {error.strerror}")
        self._reset()

    async def _read_content(self) -> bytes | None:
        """Return the mail with its dots unstuffed, or None if it was too large."""
        # A line break in front makes a dot on the first line look like any other.
        content = bytearray(b"\r\n")
        too_large = False
        while not content.endswith(_END_OF_DATA):
            content += await self._reader.readuntil(b".\r\n")
            if len(content) > MAX_MESSAGE_BYTES + len(_END_OF_DATA):
                too_large = True
                del content[: -len(_END_OF_DATA)]
        if too_large:
            return None
        return bytes(content[: -len(b".\r\n")].replace(b"\r\n.", b"\r\n")[2:])

    async def _reply(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []
        self._utf8 = False
