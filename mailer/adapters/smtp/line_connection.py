"""A TCP connection that sends command lines and reads SMTP replies, with a deadline."""

import asyncio
import ssl
from typing import cast

from mailer.adapters.smtp.replies import ProtocolError, ReplyReader


class LineConnection(asyncio.Protocol):
    """A connection with one command at a time; a subclass may override ``reply_received``."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        """Resolved when the connection is closed."""
        self.broken = False
        """Whether the connection has ended: nothing more may be written or read."""
        self.close_reason = "the relay closed the connection"
        """Why the connection ended, for logs and reports."""
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._pending_reply: asyncio.Future[tuple[int, list[bytes]]] | None = self.loop.create_future()
        self._paused = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # Hooks for subclasses.

    def replies_received(self, replies: list[tuple[int, list[bytes]]]) -> None:
        """Handle replies that arrived together, in order, until the connection ends."""
        for code, lines in replies:
            self.reply_received(code, lines)
            if self.broken:
                return

    def reply_received(self, code: int, lines: list[bytes]) -> None:
        """Handle one complete reply. The default completes the pending ``send_command``."""
        if self._pending_reply is None or self._pending_reply.done():
            self.abort(f"unexpected reply: {code}")
        else:
            self._pending_reply.set_result((code, lines))

    def drained(self) -> None:
        """Continue after replies were received and all have been handled."""

    def writable(self) -> None:
        """Continue writing when the transport accepts more bytes after a pause."""

    async def send_command(self, line: bytes | None, seconds: float) -> tuple[int, list[bytes]]:
        """Send a command line and return the code and lines of its reply.

        ``line`` None sends nothing and waits for the greeting. Raises TimeoutError after ``seconds``, and
        ConnectionError if the connection ends.
        """
        if self.broken:
            raise ConnectionError(self.close_reason)
        if line is not None:
            self._pending_reply = self.loop.create_future()
            self.write(line)
        assert self._pending_reply is not None
        async with asyncio.timeout(seconds):
            return await self._pending_reply

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Upgrade the connection to TLS. Raises OSError (including ssl.SSLError) or TimeoutError."""
        if self.broken or self._transport is None:
            raise ConnectionError(self.close_reason)
        if self._reader.pending:
            # Plain text injected here would be read as if it had come over TLS (CVE-2011-0411).
            raise ConnectionError("bytes received before the TLS handshake")
        async with asyncio.timeout(seconds):
            transport = await self.loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionError(self.close_reason)
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Write bytes; do nothing once the connection is lost."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self, reason: str) -> None:
        """Drop the connection now. asyncio calls ``connection_lost`` afterwards."""
        if not self.broken:
            self.broken = True
            self.close_reason = reason
            if self._transport is not None:
                self._transport.abort()

    def set_deadline(self, seconds: float) -> None:
        """Abort the connection in ``seconds``, unless the deadline is moved or cleared before.

        A running timer is kept when the deadline moves later, so that a message needs no timer of its own.
        """
        self._deadline = deadline = self.loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._check_deadline)

    def clear_deadline(self) -> None:
        """Remove the deadline."""
        self._deadline = None

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline is None or self.broken:
            return
        remaining = self._deadline - self.loop.time()
        if remaining > 0:
            self._timer = self.loop.call_later(remaining, self._check_deadline)
        else:
            self.abort("timed out")

    # The asyncio.Protocol methods.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Handle the replies that are complete."""
        if self.broken:
            return
        try:
            replies = self._reader.feed(data)
        except ProtocolError as error:
            self.abort(f"not an SMTP reply: {error}")
            return
        self.replies_received(replies)
        if replies and not self.broken:
            self.drained()

    def eof_received(self) -> None:
        """Drop the connection: a graceful close would wait for a peer that may never read our data."""
        self.abort(self.close_reason)

    def pause_writing(self) -> None:
        """Stop writing: the transport's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Write again."""
        self._paused = False
        if not self.broken:
            self.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending command, and resolve ``closed``."""
        if exc is not None and not self.broken:
            self.close_reason = str(exc) or type(exc).__name__
        self.broken = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._pending_reply is not None and not self._pending_reply.done():
            self._pending_reply.set_exception(ConnectionError(self.close_reason))
            self._pending_reply.exception()  # mark as retrieved: perhaps nothing awaits it
        if not self.closed.done():
            self.closed.set_result(None)
