"""A fast SMTP server that keeps nothing: counts what it accepts, logs it, and misbehaves on request.

    python bench/sink.py --port 0 --log accepted.log --reply 451=0.02 --drop-after 0.01

prints the port on the first line and, when it is stopped, the counts as JSON. A line of the log is the
Message-ID of an accepted message, written before 250 is answered.
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
    """With ``probability``, answer ``reply`` at ``stage`` (``mail``, ``rcpt``, ``data`` or ``final``)."""

    stage: str
    reply: str
    probability: float
    domain: str = ""
    """Only for recipients there; not at ``mail``, where nobody is named yet."""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """From ``451=0.02`` (at the final dot) or ``rcpt:550 5.1.1 no such user=0.1``."""
        what, _, probability = text.rpartition("=")
        stage, colon, reply = what.rpartition(":")
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
    """What the sink offers, and how often it fails: probabilities from 0 to 1, times in seconds."""

    pipelining: bool = True
    size: int = 50_000_000
    faults: list[Fault] = field(default_factory=list)
    drop_data: float = 0.0
    """Cut the connection instead of asking for the message."""
    drop_before: float = 0.0
    """Cut the connection in the body, before the final dot."""
    drop_after: float = 0.0
    """Accept and log the message, then cut the connection instead of answering."""
    drop_lost: float = 0.0
    """Cut the connection after the final dot without accepting the message."""
    stall: float = 0.0
    """Wait ``stall_seconds`` before the answer to the final dot."""
    stall_seconds: float = 30.0
    latency: float = 0.0
    """Before every packet of replies."""


@dataclass(slots=True)
class Counts:
    connections: int = 0
    accepted: int = 0
    refused: int = 0
    dropped: int = 0
    unanswered: int = 0
    """Messages that came whole and were dropped instead of answered."""
    bytes: int = 0


class Sink:
    """Starts on a port, and counts. ``log`` is the path of a file to append to."""

    def __init__(
        self, behaviour: Behaviour | None = None, log: str | None = None, seed: int | None = None
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.counts = Counts()
        self.random_float = random.Random(seed).random
        self.sessions: set[Session] = set()
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def refuse(self) -> None:
        """Listen no more and cut every connection, until it is started again."""
        if self._server is not None:
            self._server.close()
            for session in list(self.sessions):
                session.abort()
            await self._server.wait_closed()
            self._server = None

    async def stop(self) -> None:
        await self.refuse()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def accept(self, head: bytes) -> None:
        self.counts.accepted += 1
        if self._log is not None:
            found = MESSAGE_ID.search(head)
            os.write(self._log, (found[1].strip() if found else b"-") + b"\n")

    def fault(self, stage: str, recipient: bytes = b"") -> bytes | None:
        """The reply to give instead of the good one, if chance will have it so."""
        for fault in self.behaviour.faults:
            concerned = fault.stage == stage and recipient.endswith(fault.domain.encode())
            if concerned and self.random_float() < fault.probability:
                self.counts.refused += 1
                return fault.reply.encode() + b"\r\n"
        return None


class Session(asyncio.Protocol):
    """One client. Commands are read line by line; a body is only searched for its end."""

    def __init__(self, sink: Sink) -> None:
        self.client = ""
        """What it called itself in EHLO."""
        self._sink = sink
        self._buffer = b""
        self._in_body = False
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
        self._transport = cast(asyncio.Transport, transport)
        self._sink.sessions.add(self)
        self._sink.counts.connections += 1
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.sessions.discard(self)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._stalling:
            self._held_data.append(data)
            return
        while data and not self._transport.is_closing():
            data = self._read_body(data) if self._in_body else self._read_commands(data)
            if self._stalling:
                self._held_data.append(data)
                break
        if self._replies:
            self._answer(b"".join(self._replies))
            self._replies.clear()

    def _answer(self, replies: bytes) -> None:
        loop = asyncio.get_running_loop()
        # Never ahead of an answer that still waits, also when the latency is changed.
        self._answer_at = max(loop.time() + self._sink.behaviour.latency, self._answer_at + 1e-6)
        if self._answer_at > loop.time() and not self._stalling:
            loop.call_at(self._answer_at, self._transport.write, replies)
        else:
            self._transport.write(replies)

    def _read_commands(self, data: bytes) -> bytes:
        """Answer whole lines until the body begins; what is left over is returned or kept."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        start = 0
        while (end := data.find(b"\r\n", start)) >= 0:
            line = data[start:end]
            start = end + 2
            self._handle_command(line[:4].upper(), line)
            if self._in_body:
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
            elif (
                self._sink.behaviour.drop_data and self._sink.random_float() < self._sink.behaviour.drop_data
            ):
                self._drop()
            elif (fault := self._sink.fault("data", self._recipient)) is None:
                self._in_body, self._tail = True, b"\r\n"
                self._head, self._head_size = [], 0
                reply(b"354 go ahead\r\n")
            else:
                self._refuse(fault)
        elif verb == b"EHLO":
            self.client = line[4:].strip().decode("ascii", "replace")
            offers = [b"sink.example", b"SIZE %d" % self._sink.behaviour.size, b"8BITMIME", b"SMTPUTF8"]
            offers += [b"PIPELINING"] if self._sink.behaviour.pipelining else []
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
        """Look for the end of the body; what follows it is returned."""
        sink = self._sink
        seam = self._tail + data[:4]
        at = seam.find(END_OF_DATA)
        end = data.find(END_OF_DATA) + len(END_OF_DATA) if at < 0 else at + len(END_OF_DATA) - len(self._tail)
        found = at >= 0 or end >= len(END_OF_DATA)
        body = data[:end] if found else data
        sink.counts.bytes += len(body)
        if self._head_size < 16_384:
            self._head.append(body)
            self._head_size += len(body)
        if sink.behaviour.drop_before and sink.random_float() < sink.behaviour.drop_before:
            self._drop()
            return b""
        if not found:
            self._tail = (self._tail + data)[-4:] if len(data) < 4 else data[-4:]
            return b""
        self._in_body = self._sender = False
        self._recipients = 0
        self._end_of_data()
        return data[end:]

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
        held = b"".join(self._held_data)
        self._held_data.clear()
        if held:
            self.data_received(held)

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
        return self._sink.counts

    def connections(self, client: str = "") -> int:
        """How many are open; with a name, those of that client."""
        return sum(client in ("", session.client) for session in list(self._sink.sessions))

    def refuse(self) -> None:
        """Cut every connection and refuse new ones, until ``listen``."""
        self._run(self._sink.refuse())

    def listen(self) -> None:
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
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(await sink.start(host, port), flush=True)
    await stopped.wait()
    await sink.stop()
    print(json.dumps(asdict(sink.counts)), flush=True)


def main() -> None:
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
    parser.add_argument("--seed", type=int)
    asked = parser.parse_args()
    behaviour = Behaviour(
        pipelining=asked.pipelining,
        size=asked.size,
        faults=asked.reply,
        drop_data=asked.drop_data,
        drop_before=asked.drop_before,
        drop_after=asked.drop_after,
        drop_lost=asked.drop_lost,
        stall=asked.stall,
        stall_seconds=asked.stall_seconds,
        latency=asked.latency,
    )
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(Sink(behaviour, asked.log, asked.seed), asked.host, asked.port))
    else:
        uvloop.run(serve(Sink(behaviour, asked.log, asked.seed), asked.host, asked.port))


if __name__ == "__main__":
    main()
