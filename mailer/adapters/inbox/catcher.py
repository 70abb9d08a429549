"""The SMTP side of the inbox: a server in a thread that says yes to every mail."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mailer.adapters.inbox.folder import CaughtMail, Inbox

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

LARGEST_MAIL = 32 * 1024 * 1024


class CatcherMissing(RuntimeError):
    """The local inbox needs aiosmtpd. Install it with: pip install 'mailer[embedded]'"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class RunningInbox:
    """An inbox that listens. Leaving its ``with`` block, or ``stop()``, ends the server; mail stays."""

    def __init__(self, inbox: Inbox, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises CatcherMissing, or OSError when the port is taken."""
        self.inbox = inbox
        self.host = host
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox-writer")
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(self._listen(host, port))
        except BaseException:
            self._loop.close()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="inbox", daemon=True)
        self._thread.start()

    def messages(self) -> tuple[CaughtMail, ...]:
        """All mail, the oldest first."""
        return self.inbox.messages()

    def wait_for(self, count: int, timeout: float = 10.0) -> tuple[CaughtMail, ...]:
        """Wait until there are at least ``count`` mails; TimeoutError after ``timeout`` seconds."""
        return self.inbox.wait_for(count, timeout)

    def stop(self) -> None:
        """Stop listening, drop open connections, end the thread. Mail that was answered 250 is kept."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._writer.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        try:
            from aiosmtpd.smtp import SMTP
        except ModuleNotFoundError as error:
            raise CatcherMissing from error
        loop = asyncio.get_running_loop()
        handler = _Handler(self.inbox, self._writer)

        def connection() -> SMTP:
            return SMTP(
                handler,
                data_size_limit=LARGEST_MAIL,
                enable_SMTPUTF8=True,
                hostname="inbox.localhost",
                ident="Local inbox, delivers to nobody",
                loop=loop,
            )

        return await loop.create_server(connection, host, port)

    async def _close(self) -> None:
        self._server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class _Handler:
    """What aiosmtpd calls: its hooks are found by their names."""

    def __init__(self, inbox: Inbox, writer: ThreadPoolExecutor) -> None:
        self._inbox = inbox
        self._writer = writer

    async def handle_EHLO(  # noqa: N802
        self, server: "SMTP", session: "Session", envelope: "Envelope", hostname: str, replies: list[str]
    ) -> list[str]:
        session.host_name = hostname
        # aiosmtpd reads one line at a time from a buffer, so clients may pipeline; it only does not say so.
        return [*replies[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", replies[-1]]

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        content = envelope.original_content or b""
        sender = envelope.mail_from or ""
        loop = asyncio.get_running_loop()
        try:
            mail = await loop.run_in_executor(
                self._writer, self._inbox.add, sender, tuple(envelope.rcpt_tos), content
            )
        except OSError as error:
            return f"451 4.3.0 The inbox cannot keep this mail: {error.strerror}"
        return f"250 2.0.0 Kept as {mail.id}"


def start(host: str, port: int, folder: Path) -> RunningInbox:
    """Open the inbox in ``folder`` and listen for mail in a thread of its own."""
    return RunningInbox(Inbox(folder), host, port)
