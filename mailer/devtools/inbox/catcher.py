"""The SMTP server of the inbox. It runs in a thread and accepts every mail."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from mailer.devtools.inbox.mail_store import CaughtMail, Inbox
from mailer.devtools.inbox.smtp import MAX_MESSAGE_BYTES, SmtpSession


class InboxServer:
    """An inbox with a running SMTP server. ``stop()``, or leaving the ``with`` block, stops it; mail stays."""

    def __init__(self, inbox: Inbox, host: str, port: int) -> None:
        """Listen on a port, 0 for a free one. Raises OSError if the port is in use."""
        self.inbox = inbox
        self.host = host
        self._loop = asyncio.new_event_loop()
        # A single writer thread keeps the event loop free and the mail in order.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox-writer")
        self._thread = threading.Thread(target=self._loop.run_forever, name="inbox", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve_client, host, port, limit=MAX_MESSAGE_BYTES)
        try:
            # Not in the caller's thread, which may run an event loop of its own.
            self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        except BaseException:
            self._stop_loop()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]

    def messages(self) -> tuple[CaughtMail, ...]:
        """Return all mail, oldest first."""
        return self.inbox.messages()

    def wait_for(self, count: int, timeout: float = 10.0) -> tuple[CaughtMail, ...]:
        """Wait for at least ``count`` mails. Raises TimeoutError after ``timeout`` seconds."""
        return self.inbox.wait_for(count, timeout)

    def stop(self) -> None:
        """Stop listening, close connections and end the thread. Mail acknowledged with 250 is kept."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._stop_loop()

    def _stop_loop(self) -> None:
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

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await SmtpSession(reader, writer, self._store).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client disconnected, or the inbox is stopping
        finally:
            writer.close()

    async def _store(self, sender: str, recipients: tuple[str, ...], content: bytes) -> str:
        add = partial(self.inbox.add, sender, recipients, content)
        return (await asyncio.get_running_loop().run_in_executor(self._writer, add)).id

    async def _close(self) -> None:
        self._server.close()
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


def start_inbox_server(host: str, port: int, folder: Path) -> InboxServer:
    """Open the inbox in ``folder`` and receive mail in a thread."""
    return InboxServer(Inbox(folder), host, port)
