"""With randomly misbehaving servers, every envelope has one correct result."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, repeat

import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailer.adapters.smtp import Transport
from tests.support.scripted_smtp import (
    LONG_TIMEOUTS,
    Peer,
    RecordingObserver,
    ScriptedServer,
    envelopes,
    relay,
)

actions = st.sampled_from(
    ["ok"] * 12
    + [
        "451 4.3.0 no",
        "550 5.1.1 no",
        "550 5.7.1 no",
        "552 5.3.4 no",
        "421 4.3.2 bye",
        "close",
        "reset",
        "stall",
    ]
    + ["split", "take and close", "take and reset", "noise"]
)


class Chaos:
    """An SMTP server in every connection's place; draws what to do with each command from a script and
    obliges when that is used up. ``taken`` is what it took responsibility for, as often as it did."""

    def __init__(self, script: list[str], pipelining: bool) -> None:
        self._actions: Iterator[str] = chain(script, repeat("ok"))
        self._pipelining = pipelining
        self.taken: list[int] = []

    async def __call__(self, peer: Peer) -> None:
        try:
            await self._serve(peer)
        except StopAsyncIteration:
            return

    async def _serve(self, peer: Peer) -> None:
        await self._answer(peer, "220 here")
        mail = rcpt = False
        while True:
            line = await peer.line()
            verb = line[:4]
            if verb == "QUIT":
                peer.reply("221 bye")
                return
            if verb == "EHLO":
                await self._answer(peer, "250-here\r\n250 PIPELINING" if self._pipelining else "250 here")
            elif verb == "HELO":
                await self._answer(peer, "250 here")
            elif verb == "RSET":
                mail = rcpt = False
                await self._answer(peer, "250 ok")
            elif verb == "MAIL":
                assert not mail, "nested MAIL"
                mail = await self._answer(peer, "250 ok")
                rcpt = False
            elif verb == "RCPT":
                rcpt = mail and await self._answer(peer, "250 ok")
                if not mail:
                    peer.reply("503 MAIL first")
            elif verb == "DATA":
                # A go-ahead without a recipient is allowed (RFC 2920 3.1), and done by some.
                if mail and await self._answer(peer, "354 go"):
                    body = await peer.body()
                    valid, mail = mail and rcpt, False
                    if valid:
                        await self._take(peer, int(body.split()[1]))
                    else:
                        assert body == "", "a body without a recipient"
                        peer.reply("554 no recipients")
                elif not mail:
                    peer.reply("503 MAIL first")
            else:
                raise AssertionError(f"no command: {line}")

    async def _answer(self, peer: Peer, good: str) -> bool:
        """Whether the good answer was given."""
        action = next(self._actions)
        if action in ("close", "take and close"):
            raise StopAsyncIteration
        if action in ("reset", "take and reset"):
            peer.reset()
            raise StopAsyncIteration
        if action == "stall":
            await peer.read_to_end()
            raise StopAsyncIteration
        if action == "noise":
            peer.reply("what?")
            await peer.read_to_end()
            raise StopAsyncIteration
        if action == "split":
            for at in range(len(good)):
                peer.send(good[at : at + 1].encode())
                await asyncio.sleep(0)
            peer.send(b"\r\n")
            return True
        if action == "ok":
            peer.reply(good)
            return True
        peer.reply(action)
        if action.startswith("421"):
            raise StopAsyncIteration
        return False

    async def _take(self, peer: Peer, key: int) -> None:
        action = next(self._actions)
        if action in ("ok", "split", "take and close", "take and reset"):
            self.taken.append(key)
        self._actions = chain([action], self._actions)
        await self._answer(peer, "250 taken")


BRIEF = replace(LONG_TIMEOUTS, session=0.05, greeting=0.05, mail=0.05, rcpt=0.05, data=0.05, final=0.05)


async def play(script: list[str], pipelining: bool, connections: int, batches: int, most: int) -> None:
    chaos = Chaos(script, pipelining)
    heard = RecordingObserver()
    async with ScriptedServer(chaos).running() as server:
        transport = Transport(
            relay(server.port, max_connections=connections, timeouts=BRIEF, max_messages_per_connection=most)
        )
        all_of_them = envelopes(12)
        async with asyncio.timeout(20):
            await asyncio.gather(
                *(transport.send(all_of_them[at::batches], heard, heard.on_result) for at in range(batches))
            )
        heard.assert_true_to(chaos.taken, 12)
        await transport.close()


loops: list[Callable[[], asyncio.AbstractEventLoop]] = [uvloop.new_event_loop, asyncio.new_event_loop]


@settings(max_examples=min(120, settings().max_examples), suppress_health_check=[HealthCheck.too_slow])
@example(["ok", "ok", "stall", "550 5.7.1 no"], False, 3, 1, 1000, uvloop.new_event_loop)
@given(
    st.lists(actions, max_size=60),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from(loops),
)
def test_every_envelope_has_exactly_one_correct_result(
    script: list[str],
    pipelining: bool,
    connections: int,
    batches: int,
    most: int,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play(script, pipelining, connections, batches, most))
