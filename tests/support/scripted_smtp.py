"""Scripted SMTP servers on loopback, and an observer that checks the order of events."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mailer.adapters.smtp import Envelope, Relay, Timeouts, TransferResult, Transport
from mailer.domain.outcomes import Outcome, Reply


class RecordingObserver:
    """A journal and an ``on_result`` callback. Records events in order, and contradictions between them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Hashable]] = []
        self.results: dict[Hashable, TransferResult] = {}
        self.final_dots: set[Hashable] = set()
        self._contradictions: list[str] = []

    def before_final_dot(self, key: Hashable) -> None:
        if key in self.final_dots or key in self.results:
            self._contradictions.append(f"{key} was finished twice, or after its result")
        self.final_dots.add(key)
        self.events.append(("dot", key))

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        if key not in self.final_dots:
            self._contradictions.append(f"{key} was answered before its final dot")
        self.events.append(("answered", key))

    def on_result(self, result: TransferResult) -> None:
        if result.key in self.results:
            self._contradictions.append(f"{result.key} has two results")
        if result.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN) and result.key not in self.final_dots:
            self._contradictions.append(f"{result.key} is {result.outcome} without a final dot")
        self.results[result.key] = result
        self.events.append(("result", result.key))

    def outcomes(self) -> dict[Hashable, str]:
        assert not self._contradictions
        return {key: str(result.outcome) for key, result in self.results.items()}

    def assert_true_to(self, accepted: Sequence[int], count: int) -> None:
        """Check that each of ``count`` messages has a result that agrees with what the relay accepted."""
        assert set(self.results) == set(range(count))
        assert len(set(accepted)) == len(accepted), "a message was accepted twice"
        for key, outcome in self.outcomes().items():
            if outcome == "accepted":
                assert key in accepted
            elif outcome != "unknown":
                assert key not in accepted


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._reader = reader
        self._writer = writer
        self.number = number
        """The number of the connection, from 0."""

    async def line(self) -> str:
        """Return the next line without its line end. Raises EOFError."""
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2].decode()
        except (asyncio.IncompleteReadError, ConnectionError) as gone:
            raise EOFError from gone

    def has_line(self) -> bool:
        """Return whether more has arrived than was read."""
        return bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def expect(self, *verbs: str) -> list[str]:
        """Return the next lines, which must begin with these verbs."""
        lines = [await self.line() for _ in verbs]
        assert [line[:4] for line in lines] == list(verbs), lines
        return lines

    async def body(self) -> str:
        """Return the message before the final dot."""
        lines: list[str] = []
        while (line := await self.line()) != ".":
            lines.append(line)
        return "".join(f"{line}\r\n" for line in lines)

    async def read_exactly(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def expect_silence(self, seconds: float = 0.05) -> None:
        """Fail if anything arrives within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                received = await self._reader.read(100)
        except TimeoutError:
            return
        raise AssertionError(f"nothing should have been sent, got {received!r}")

    async def read_to_end(self) -> bytes:
        """Return everything until the client closes the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    def reply(self, *replies: str) -> None:
        self.send("".join(f"{reply}\r\n" for reply in replies).encode())

    def send(self, data: bytes) -> None:
        """Write bytes. Raises EOFError if the connection is closed."""
        if self._writer.transport.is_closing():
            raise EOFError
        self._writer.write(data)

    async def greet(self, *offers: str) -> None:
        """Send the greeting and answer EHLO."""
        self.reply("220 here")
        await self.expect("EHLO")
        self.reply(*(f"250-{offer}" for offer in ("here", *offers)), "250 HELP")

    async def accept_message(self) -> str:
        """Accept one whole message. Return its key."""
        await self.expect("MAIL", "RCPT", "DATA")
        self.reply("250 ok", "250 ok", "354 go")
        key = (await self.body()).split()[1]
        self.reply("250 taken")
        return key

    async def accept_quit(self) -> None:
        await self.expect("QUIT")
        self.reply("221 bye")

    def close_write(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    """Plays ``scripts``, one for each connection; the last one also for all later connections.

    A connection closes when its script ends. ``check()`` raises the errors of scripts.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._errors: list[BaseException] = []
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._scripts[min(number, len(self._scripts) - 1)](Peer(reader, writer, number))
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()

    def check(self) -> None:
        for error in self._errors:
            raise error

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedServer"]:
        server = await asyncio.start_server(self._play, "127.0.0.1", 0, limit=2**20, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=1)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.check()


def envelope(key: Hashable, **other: Any) -> Envelope:
    message = [b"Key: ", str(key).encode(), b"\r\n\r\n..dots\r\n"]
    fields: dict[str, Any] = {
        "sender": "bounce@news.example",
        "recipient": f"reader{key}@example.org",
        "message": message,
        "size": sum(map(len, message)),
    }
    return Envelope(key, **(fields | other))


def envelopes(count: int) -> list[Envelope]:
    return [envelope(number) for number in range(count)]


LONG_TIMEOUTS = Timeouts(connect=5, session=5, greeting=5, mail=5, rcpt=5, data=5, block=5, final=5, quit=1)


def relay(port: int, **other: Any) -> Relay:
    fields: dict[str, Any] = {"host": "127.0.0.1", "max_connections": 1, "timeouts": LONG_TIMEOUTS}
    return Relay("test", port=port, **(fields | other))


async def run_scripts(
    *scripts: Script, count: int = 1, batch: list[Envelope] | None = None, **settings: Any
) -> tuple[RecordingObserver, ScriptedServer]:
    """Send messages to a server that plays the scripts, and close. Return the observer and the server."""
    observer = RecordingObserver()
    async with ScriptedServer(*scripts).running() as server:
        transport = Transport(relay(server.port, **settings))
        sent = envelopes(count) if batch is None else batch
        await transport.send(sent, observer, observer.on_result)
        assert set(observer.results) == {item.key for item in sent}
        await transport.close()
    return observer, server
