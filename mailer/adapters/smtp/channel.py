"""One TCP connection that speaks in lines and replies, with a deadline."""

import asyncio
import ssl
from typing import cast

from mailer.adapters.smtp.replies import ProtocolError, ReplyReader


class LineConnection(asyncio.Protocol):
    """Asks one question at a time (``ask``); a subclass may take the replies over (``replied``)."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        """Done when the connection is closed, for whatever reason."""
        self.broken = False
        """Set as soon as nothing more may be written or read."""
        self.close_reason = "the relay closed the connection"
        """Why the connection ended, for the people who look after it."""
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._pending_reply: asyncio.Future[tuple[int, list[bytes]]] | None = self.loop.create_future()
        self._paused = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # What a subclass may override.

    def reply_received(self, code: int, lines: list[bytes]) -> None:
        """A reply arrived."""
        if self._pending_reply is None or self._pending_reply.done():
            self.abort(f"a reply to nothing: {code}")
        else:
            self._pending_reply.set_result((code, lines))

    def drained(self) -> None:
        """All replies that arrived so far were handled."""

    def writable(self) -> None:
        """The transport takes bytes again."""

    # What a user calls.

    async def send_command(self, line: bytes | None, seconds: float) -> tuple[int, list[bytes]]:
        """Send a line (None: just listen, for the greeting) and wait for its reply.

        Raises TimeoutError and ConnectionError.
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
        """Go on under TLS. Raises OSError (ssl.SSLError among them) and TimeoutError."""
        if self.broken or self._transport is None:
            raise ConnectionError(self.close_reason)
        if self._reader.pending:
            # Plain text that would be read as if it had come through TLS.
            raise ConnectionError("bytes ahead of the TLS handshake")
        async with asyncio.timeout(seconds):
            transport = await self.loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionError(self.close_reason)
        self._transport = transport

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self, reason: str) -> None:
        """Drop the connection now; ``connection_lost`` follows."""
        if not self.broken:
            self.broken = True
            self.close_reason = reason
            if self._transport is not None:
                self._transport.abort()

    def set_deadline(self, seconds: float) -> None:
        """Abort unless this is called again, or ``no_deadline``, before that many seconds are over.
        The timer is left running when the deadline moves away: a message costs no timer."""
        self._deadline = deadline = self.loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._check_deadline)

    def clear_deadline(self) -> None:
        self._deadline = None

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline is None or self.broken:
            return
        left = self._deadline - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._check_deadline)
        else:
            self.abort("timed out")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.broken:
            return
        try:
            replies = self._reader.feed(data)
        except ProtocolError as trouble:
            self.abort(f"not an SMTP reply: {trouble}")
            return
        for code, lines in replies:
            self.reply_received(code, lines)
            if self.broken:
                return
        self.drained()

    def eof_received(self) -> None:
        # Closing politely would wait for a peer that may never read what is still to be written.
        self.abort(self.close_reason)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self.broken:
            self.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.broken:
            self.close_reason = str(exc) or type(exc).__name__
        self.broken = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._pending_reply is not None and not self._pending_reply.done():
            self._pending_reply.set_exception(ConnectionError(self.close_reason))
            self._pending_reply.exception()  # nobody may be listening
        if not self.closed.done():
            self.closed.set_result(None)
