"""One SMTP conversation with a client (RFC 5321, with PIPELINING, SIZE, 8BITMIME and SMTPUTF8).

aiosmtpd reads a mail line by line, 2 ms for 40 KB, which would make the inbox the slowest part of a send.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_COMMAND_BYTES = 2_000

OnMessage = Callable[[str, tuple[str, ...], bytes], Awaitable[str]]
"""Takes envelope sender, envelope recipients and the mail; returns its id, or raises OSError."""

_EXTENSIONS = ("PIPELINING", f"SIZE {MAX_MESSAGE_BYTES}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r'(FROM|TO):\s*<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>(?: (.*))?', re.IGNORECASE)
_END_OF_DATA = b"\r\n.\r\n"


class SmtpSession:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_message: OnMessage
    ) -> None:
        """``reader`` must have a limit of LARGEST_MAIL."""
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._utf8 = False

    async def run(self) -> None:
        """Talk until the client quits. Raises what the streams raise when it leaves without a word."""
        await self._reply("220 inbox.localhost ESMTP takes every mail and delivers it to nobody")
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
                if len(line) > MAX_COMMAND_BYTES:
                    await self._reply("500 5.5.2 This line is too long")
                    continue
                verb, _, rest = line.decode().strip().partition(" ")
            except UnicodeDecodeError:
                await self._reply("500 5.5.2 This is not UTF-8")
                continue
            except asyncio.LimitOverrunError:
                await self._reply("421 4.7.0 This line never ends")
                return
            match verb.upper():
                case "QUIT":
                    await self._reply("221 2.0.0 Bye")
                    return
                case "DATA":
                    await self._handle_data()
                case known:
                    await self._reply(*self._handle_command(known, rest))

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
                return ("250 2.0.0 Forgotten",)
            case "NOOP":
                return ("250 2.0.0 Still here",)
            case "VRFY":
                return ("252 2.1.5 Every address is taken",)
            case "MAIL" | "RCPT":
                return (self._handle_address(verb, rest),)
        return ("502 5.5.1 This command is not known",)

    def _handle_address(self, verb: str, rest: str) -> str:
        found = _PATH.fullmatch(rest)
        if not found or found[1].upper() != {"MAIL": "FROM", "RCPT": "TO"}[verb]:
            return "501 5.5.4 This is no address in angle brackets"
        address = found[2]
        options = dict(option.partition("=")[::2] for option in (found[3] or "").upper().split())
        if verb == "MAIL":
            if options.get("SIZE", "").isdecimal() and int(options["SIZE"]) > MAX_MESSAGE_BYTES:
                return "552 5.3.4 This mail is too large"
            self._reset()
            self._utf8 = "SMTPUTF8" in options
        if not address.isascii() and not self._utf8:
            return "553 5.6.7 This address needs SMTPUTF8"
        if verb == "MAIL":
            self._sender = address
            return "250 2.1.0 Sender taken"
        if self._sender is None:
            return "503 5.5.1 MAIL comes first"
        if not address:
            return "501 5.1.3 This is no recipient"
        self._recipients.append(address)
        return "250 2.1.5 Recipient taken"

    async def _handle_data(self) -> None:
        if self._sender is None or not self._recipients:
            await self._reply("503 5.5.1 MAIL and RCPT come first")
            return
        await self._reply("354 Go on, and end with a dot on a line of its own")
        try:
            content = await self._read_content()
        except asyncio.LimitOverrunError:
            await self._reply("421 4.7.0 This line never ends")
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
        """The mail with its dots unstuffed, or None when it was too large and thrown away."""
        # The line break before the first line makes a dot there look like any other.
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
