"""A fast SMTP server that discards messages, logs their ids, and can fail on request.

    python bench/sink.py --port 0 --log accepted.log --reply 451=0.02 --drop-after 0.01

prints the port on the first line and, when it is stopped, the counts as JSON. Each line of the log is the
Message-ID of an accepted message, written before the 250 reply.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import threading
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from typing import Self, TypeVar, cast

MESSAGE_ID = re.compile(rb"(?:^|\n)message-id:\s*([^\r\n]+)", re.IGNORECASE)
END_OF_DATA = b"\r\n.\r\n"
T = TypeVar("T")
REPLY_TEXTS = {"421": "closing", "450": "try later", "451": "try later", "452": "full", "550": "refused"}


@dataclass(slots=True)
class Fault:
    """A reply to give at ``stage`` (mail, rcpt, data or final) with ``probability`` (0 to 1)."""

    stage: str
    reply: str
    probability: float
    domain: str = ""
    """Limits the fault to recipients at this domain; no effect at ``mail``."""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Parse ``451=0.02`` (at the final dot) or ``rcpt:550 5.1.1 no such user=0.1``."""
        stage_and_reply, _, probability = text.rpartition("=")
        stage, colon, reply = stage_and_reply.rpartition(":")
        stage = stage if colon else "final"
        if stage not in ("mail", "rcpt", "data", "final") or not re.match(r"[245]\d\d", reply):
            raise ValueError(f"no such fault: {text}")
        return cls(
            stage,
            reply if " " in reply else f"{reply} {REPLY_TEXTS.get(reply, 'as asked')}",
            float(probability),
        )


@dataclass(slots=True)
class Behaviour:
    """The sink's features and failures: probabilities from 0 to 1, times in seconds."""

    pipelining: bool = True
    chunking: bool = True
    size: int = 50_000_000
    faults: list[Fault] = field(default_factory=list)
    drop_data: float = 0.0
    """Drop the connection instead of replying to DATA."""
    drop_before: float = 0.0
    """Drop the connection within the body, before the final dot."""
    drop_after: float = 0.0
    """Accept and log the message, then drop the connection instead of replying."""
    drop_lost: float = 0.0
    """Drop the connection after the final dot without accepting the message."""
    stall: float = 0.0
    """Wait ``stall_seconds`` before the reply to the final dot."""
    stall_seconds: float = 30.0
    latency: float = 0.0
    """Delay before each packet of replies."""


@dataclass(slots=True)
class Counts:
    """What the sink has done so far."""

    connections: int = 0
    accepted: int = 0
    refused: int = 0
    dropped: int = 0
    unanswered: int = 0
    """Messages received completely whose connection was dropped instead of a reply."""
    bytes: int = 0


class Sink:
    """The server and its counts. ``log``: the path of a file to append to."""

    def __init__(self, behaviour: Behaviour | None = None, log: str | None = None, seed: int | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.counts = Counts()
        self.random_float = random.Random(seed).random
        self.sessions: set[Session] = set()
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a port, and return it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def refuse(self) -> None:
        """Stop listening and drop all connections, until ``start`` is called again."""
        if self._server is not None:
            self._server.close()
            for session in list(self.sessions):
                session.abort()
            await self._server.wait_closed()
            self._server = None

    async def stop(self) -> None:
        """Stop listening, and close the log."""
        await self.refuse()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def accept(self, head: bytes) -> None:
        """Count and log a message, given its first bytes."""
        self.counts.accepted += 1
        if self._log is not None:
            message_id = MESSAGE_ID.search(head)
            os.write(self._log, (message_id[1].strip() if message_id else b"-") + b"\n")

    def fault(self, stage: str, recipient: bytes = b"") -> bytes | None:
        """Return the reply of a fault chosen at random, or None for the normal reply."""
        for fault in self.behaviour.faults:
            applies = fault.stage == stage and recipient.endswith(fault.domain.encode())
            if applies and self.random_float() < fault.probability:
                self.counts.refused += 1
                return fault.reply.encode() + b"\r\n"
        return None


class Session(asyncio.Protocol):
    """The session of one client. Commands are read by line, bodies only searched for their end."""

    def __init__(self, sink: Sink) -> None:
        self.client = ""
        """The client's name in EHLO."""
        self._sink = sink
        self._buffer = b""
        self._in_body = False
        self._chunk_bytes = 0
        """What is still to come of the body that BDAT announced."""
        self._tail = b""
        self._head: list[bytes] = []
        self._head_size = 0
        self._recipients = 0
        self._recipient = b""
        self._sender = False
        self._replies: list[bytes] = []
        self._held_data: list[bytes] = []
        self._stalling = False
        self._answer_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting."""
        self._transport = cast(asyncio.Transport, transport)
        self._sink.sessions.add(self)
        self._sink.counts.connections += 1
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the session."""
        self._sink.sessions.discard(self)

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle commands and bodies, and write the replies together."""
        if self._stalling:
            self._held_data.append(data)
            return
        while data and not self._transport.is_closing():
            if self._chunk_bytes:
                data = self._read_chunk(data)
            else:
                data = self._read_body(data) if self._in_body else self._read_commands(data)
            if self._stalling:
                self._held_data.append(data)
                break
        if self._replies:
            self._answer(b"".join(self._replies))
            self._replies.clear()

    def _answer(self, replies: bytes) -> None:
        loop = asyncio.get_running_loop()
        # Keep the order of replies, even if the latency is reduced meanwhile.
        self._answer_at = max(loop.time() + self._sink.behaviour.latency, self._answer_at + 1e-6)
        if self._answer_at > loop.time() and not self._stalling:
            loop.call_at(self._answer_at, self._transport.write, replies)
        else:
            self._transport.write(replies)

    def _read_commands(self, data: bytes) -> bytes:
        """Handle complete lines until a body begins. Return the bytes of the body."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        start = 0
        while (end := data.find(b"\r\n", start)) >= 0:
            line = data[start:end]
            start = end + 2
            self._handle_command(line[:4].upper(), line)
            if self._in_body or self._chunk_bytes:
                return data[start:]
            if self._transport.is_closing():
                return b""
        self._buffer = data[start:]
        return b""

    def _handle_command(self, verb: bytes, line: bytes) -> None:
        reply = self._replies.append
        if verb == b"MAIL":
            if self._sender:
                reply(b"503 5.5.1 nested MAIL\r\n")
            elif (fault := self._sink.fault("mail")) is None:
                self._sender, self._recipients = True, 0
                reply(b"250 2.1.0 Ok\r\n")
            else:
                self._refuse(fault)
        elif verb == b"RCPT":
            if not self._sender:
                reply(b"503 5.5.1 MAIL first\r\n")
            elif (fault := self._sink.fault("rcpt", self._remember_recipient(line))) is None:
                self._recipients += 1
                reply(b"250 2.1.5 Ok\r\n")
            else:
                self._refuse(fault)
        elif verb == b"DATA":
            if not self._recipients:
                reply(b"554 5.5.1 no valid recipients\r\n")
            elif self._sink.behaviour.drop_data and self._sink.random_float() < self._sink.behaviour.drop_data:
                self._drop()
            elif (fault := self._sink.fault("data", self._recipient)) is None:
                self._in_body, self._tail = True, b"\r\n"
                self._head, self._head_size = [], 0
                reply(b"354 go ahead\r\n")
            else:
                self._refuse(fault)
        elif verb == b"BDAT":
            # One chunk for a message: "BDAT 1234 LAST".
            self._chunk_bytes = int(line.split()[1])
            self._head, self._head_size = [], 0
        elif verb == b"EHLO":
            self.client = line[4:].strip().decode("ascii", "replace")
            offers = [b"sink.example", b"SIZE %d" % self._sink.behaviour.size, b"8BITMIME", b"SMTPUTF8"]
            offers += [b"PIPELINING"] if self._sink.behaviour.pipelining else []
            offers += [b"CHUNKING"] if self._sink.behaviour.chunking else []
            reply(b"".join(b"250-%b\r\n" % offer for offer in offers) + b"250 ENHANCEDSTATUSCODES\r\n")
        elif verb == b"RSET":
            self._sender, self._recipients = False, 0
            reply(b"250 2.0.0 Ok\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"".join(self._replies) + b"221 2.0.0 Bye\r\n")
            self._replies.clear()
            self._transport.close()
        elif verb in (b"HELO", b"NOOP"):
            reply(b"250 2.0.0 Ok\r\n")
        else:
            reply(b"500 5.5.2 what?\r\n")

    def _remember_recipient(self, line: bytes) -> bytes:
        self._recipient = line.partition(b">")[0].lower()
        return self._recipient

    def _refuse(self, fault: bytes) -> None:
        self._replies.append(fault)
        if fault.startswith(b"421"):
            self._transport.write(b"".join(self._replies))
            self._replies.clear()
            self._transport.close()

    def _read_body(self, data: bytes) -> bytes:
        """Search for the end of the body. Return the bytes after it."""
        sink = self._sink
        seam = self._tail + data[:4]
        at = seam.find(END_OF_DATA)
        end = data.find(END_OF_DATA) + len(END_OF_DATA) if at < 0 else at + len(END_OF_DATA) - len(self._tail)
        is_complete = at >= 0 or end >= len(END_OF_DATA)
        body = data[:end] if is_complete else data
        sink.counts.bytes += len(body)
        if self._head_size < 16_384:
            self._head.append(body)
            self._head_size += len(body)
        if sink.behaviour.drop_before and sink.random_float() < sink.behaviour.drop_before:
            self._drop()
            return b""
        if not is_complete:
            self._tail = (self._tail + data)[-4:] if len(data) < 4 else data[-4:]
            return b""
        self._in_body = self._sender = False
        self._recipients = 0
        self._end_of_data()
        return data[end:]

    def _read_chunk(self, data: bytes) -> bytes:
        """Take the bytes of the chunk, and end the message with the last one. Return the bytes after it."""
        chunk, rest = data[: self._chunk_bytes], data[self._chunk_bytes :]
        self._chunk_bytes -= len(chunk)
        self._sink.counts.bytes += len(chunk)
        if self._head_size < 16_384:
            self._head.append(chunk)
            self._head_size += len(chunk)
        if not self._chunk_bytes:
            is_valid, self._sender, self._recipients = bool(self._recipients), False, 0
            if is_valid:
                self._end_of_data()
            else:
                self._replies.append(b"503 5.5.1 no valid recipients\r\n")
        return rest

    def _end_of_data(self) -> None:
        sink = self._sink
        if sink.behaviour.drop_lost and sink.random_float() < sink.behaviour.drop_lost:
            sink.counts.unanswered += 1
            self._drop()
            return
        fault = sink.fault("final", self._recipient)
        if fault is not None:
            self._refuse(fault)
            return
        sink.accept(b"".join(self._head))
        if sink.behaviour.drop_after and sink.random_float() < sink.behaviour.drop_after:
            sink.counts.unanswered += 1
            self._drop()
            return
        self._replies.append(b"250 2.0.0 Ok: taken\r\n")
        if sink.behaviour.stall and sink.random_float() < sink.behaviour.stall:
            self._stalling = True
            replies = b"".join(self._replies)
            self._replies.clear()
            asyncio.get_running_loop().call_later(sink.behaviour.stall_seconds, self._resume, replies)

    def _resume(self, replies: bytes) -> None:
        self._transport.write(replies)
        self._stalling = False
        data = b"".join(self._held_data)
        self._held_data.clear()
        if data:
            self.data_received(data)

    def _drop(self) -> None:
        self._sink.counts.dropped += 1
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()
        self._transport.abort()


class SinkServer:
    """A sink in a thread of this process. ``behaviour`` may be changed while it runs."""

    def __init__(self, log: str, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self._sink = Sink(self.behaviour, log=log, seed=1)
        self._loop = asyncio.new_event_loop()
        self.port = self._loop.run_until_complete(self._sink.start())
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return self._sink.counts

    def connections(self, client: str = "") -> int:
        """Return the number of open connections, of one client if it is named."""
        return sum(client in ("", session.client) for session in list(self._sink.sessions))

    def refuse(self) -> None:
        """Drop all connections and refuse new ones, until ``listen`` is called."""
        self._run(self._sink.refuse())

    def listen(self) -> None:
        """Accept connections again."""
        self._run(self._sink.start(port=self.port))

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._sink.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def serve(sink: Sink, host: str, port: int) -> None:
    """Run the sink until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(await sink.start(host, port), flush=True)
    await stopped.wait()
    await sink.stop()
    print(json.dumps(asdict(sink.counts)), flush=True)


def main() -> None:
    """Run the sink with the options of the command line."""
    parser = argparse.ArgumentParser(description="A fast SMTP sink.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", help="append the Message-ID of each accepted message to this file")
    parser.add_argument("--reply", type=Fault.parse, action="append", default=[], metavar="[STAGE:]REPLY=P")
    for name in ("drop-data", "drop-before", "drop-after", "drop-lost", "stall"):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="P")
    parser.add_argument("--stall-seconds", type=float, default=30.0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--size", type=int, default=50_000_000)
    parser.add_argument("--no-pipelining", dest="pipelining", action="store_false")
    parser.add_argument("--no-chunking", dest="chunking", action="store_false")
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    behaviour = Behaviour(
        pipelining=arguments.pipelining,
        chunking=arguments.chunking,
        size=arguments.size,
        faults=arguments.reply,
        drop_data=arguments.drop_data,
        drop_before=arguments.drop_before,
        drop_after=arguments.drop_after,
        drop_lost=arguments.drop_lost,
        stall=arguments.stall,
        stall_seconds=arguments.stall_seconds,
        latency=arguments.latency,
    )
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(Sink(behaviour, arguments.log, arguments.seed), arguments.host, arguments.port))
    else:
        uvloop.run(serve(Sink(behaviour, arguments.log, arguments.seed), arguments.host, arguments.port))


if __name__ == "__main__":
    main()
