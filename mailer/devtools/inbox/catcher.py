"""The SMTP side of the inbox: a server in a thread that says yes to every mail."""

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
    """An inbox that listens. Leaving its ``with`` block, or ``stop()``, ends the server; mail stays."""

    def __init__(self, inbox: Inbox, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises OSError when the port is taken."""
        self.inbox = inbox
        self.host = host
        self._loop = asyncio.new_event_loop()
        # One writer: files are written off the loop, and in the order in which mail came.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox-writer")
        self._thread = threading.Thread(target=self._loop.run_forever, name="inbox", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve_client, host, port, limit=MAX_MESSAGE_BYTES)
        try:
            # In the thread, because the caller's may run a loop of its own.
            self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        except BaseException:
            self._stop_loop()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]

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
            pass  # The client left, or the inbox closes.
        finally:
            writer.close()

    async def _store(self, sender: str, recipients: tuple[str, ...], content: bytes) -> str:
        add = partial(self.inbox.add, sender, recipients, content)
        return (await asyncio.get_running_loop().run_in_executor(self._writer, add)).id

    async def _close(self) -> None:
        self._server.close()
        conversations = asyncio.all_tasks() - {asyncio.current_task()}
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


def start_inbox_server(host: str, port: int, folder: Path) -> InboxServer:
    """Open the inbox in ``folder`` and listen for mail in a thread of its own."""
    return InboxServer(Inbox(folder), host, port)
