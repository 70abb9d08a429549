"""Relays whose replies do not match the commands: doubled, missing, early, nonsense, or half a line."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import pytest
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
    run_scripts,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def orderly(peer: Peer) -> None:
    """Accept every message, pipelined, until the client quits."""
    await peer.greet("PIPELINING")
    while (verb := await peer.line()) != "QUIT":
        if verb == "DATA":
            peer.reply("354 go")
            await peer.body()
        peer.reply("250 ok")
    peer.reply("221 bye")


def first_then_orderly(*replies: str) -> list[Callable[[Peer], Any]]:
    """Return the scripts of a relay that answers the first commands so, and is orderly on later connections."""

    async def first(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(*replies)
        await peer.read_to_end()

    return [first, orderly]


@pytest.mark.parametrize(
    "replies",
    [
        ["250 ok", "250 ok", "250 ok"],
        ["250 ok", "250 ok", "300 what"],
        ["250 ok", "250 ok", "100 wait"],
        ["250 ok", "250 ok", "999 what"],
        ["250 ok", "250 ok", "250 ok", "354 go"],
        ["250 ok", "250 ok", "354 go", "250 taken"],
        ["250 ok", "250 ok", "354 go", "451 not taken"],
        ["250 ok", "354 go"],
        ["354 go"],
        ["100 wait"],
    ],
)
def test_a_message_is_sent_on_another_connection_if_its_replies_are_impossible(run: Run, replies: list[str]) -> None:
    heard, server = run(run_scripts(*first_then_orderly(*replies), count=3))
    assert heard.outcomes() == dict.fromkeys(range(3), "accepted")
    assert server.connections == 2


@pytest.mark.parametrize("reply", ["250 ok", "300 what", "100 wait"])
def test_a_relay_that_never_gives_a_possible_reply_to_data_defers(run: Run, reply: str) -> None:
    heard, _ = run(run_scripts(first_then_orderly("250 ok", "250 ok", reply)[0], count=2))
    assert set(heard.outcomes().values()) == {"retry"}
    assert "out of step" in heard.results[0].detail
    assert heard.final_dots == set()


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        (["354 go"], "unknown"),
        (["100 wait"], "unknown"),
        # The commands of the second message are here: any of these may be the reply to the first one's final dot.
        (["250 taken", "250 taken", "250 ok", "250 ok", "354 go"], "unknown"),
        (["250 taken", "450 not taken", "250 ok", "250 ok", "354 go"], "unknown"),
        (["250 taken", "250 taken", "250 ok", "250 ok"], "unknown"),
        (["250 ok", "250 ok", "354 go"], "unknown"),
        (["250 taken", "550 no", "250 ok"], "unknown"),
        (["421 closing"], "retry"),
        (["250 taken", "421 closing"], "accepted"),
        (["250 taken", "250 ok", "250 ok", "354 go"], "accepted"),
    ],
)
def test_a_message_is_uncertain_if_the_reply_to_its_final_dot_may_be_another(
    run: Run, replies: list[str], outcome: str
) -> None:
    async def first(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(*replies)
        if replies[-1] == "354 go" and outcome == "accepted":
            await peer.body()
            peer.reply("250 taken")
            await peer.accept_quit()
        else:
            await peer.read_to_end()

    heard, _ = run(run_scripts(first, orderly, count=2))
    assert heard.outcomes() == {0: outcome, 1: "accepted"}


def test_the_time_out_of_a_reply_is_not_prolonged_by_parts_of_it(run: Run) -> None:
    async def trickles(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        while True:
            peer.send(b"250-still thinking\r\n")
            await asyncio.sleep(0.02)

    brief = replace(LONG_TIMEOUTS, mail=0.2)
    heard, server = run(run_scripts(trickles, timeouts=brief))
    assert heard.outcomes() == {0: "retry"}
    assert heard.results[0].detail == "timed out"
    assert server.connections == 2


# Any replies at all.

REFUSALS = ("451 4.3.0 no", "550 5.1.1 no")
perturbations = st.sampled_from(
    ["as it should"] * 14
    + ["twice", "twice, later", "never", "early", "noise", "half a line", "half, then stall", "split", "close", "reset"]
    + ["100 what", "250 2.0.0 ok", "300 what", "354 go", *REFUSALS, "999 what"]
)


class OutOfStep:
    """A relay that knows what it accepted, and perturbs its replies. ``accepted`` has a key for each acceptance.

    Replies to commands that arrived together are written together. The reply to a final dot is perturbed only if it
    is positive, and no other reply code takes its place: nobody could tell that from a truthful relay. For the same
    reason a relay that is sent bodies with BDAT, before its replies to MAIL and RCPT are read, refuses in earnest
    where its reply is a refusal.
    """

    def __init__(self, script: list[str], offers: tuple[str, ...]) -> None:
        self._script: Iterator[str] = chain(script, repeat("as it should"))
        self._offers = offers
        self.accepted: list[int] = []

    async def __call__(self, peer: Peer) -> None:
        peer.reply("220 here")
        await peer.expect("EHLO")
        peer.reply(*(f"250-{offer}" for offer in ("here", *self._offers)), "250 ENHANCEDSTATUSCODES")
        sender = recipient = False
        replies = ""
        while True:
            if not peer.has_line():
                peer.send(replies.encode())
                replies = ""
            line = await peer.line()
            verb = line[:4]
            if verb == "QUIT":
                peer.send(replies.encode() + b"221 bye\r\n")
                return
            if verb == "RSET":
                sender = recipient = False
                reply = "250 2.0.0 reset"
            elif verb == "MAIL" and not sender:
                sender = self._takes()
                reply = "250 2.1.0 sender" if sender else "451 4.3.0 no"
            elif verb == "RCPT" and sender and not recipient:
                recipient = self._takes()
                reply = "250 2.1.5 recipient" if recipient else "550 5.1.1 no"
            elif verb == "DATA" and recipient:
                reply = "354 go" if self._takes() else "451 4.3.0 no"
                if reply == "354 go":
                    action = next(self._script)
                    if action in ("early", "twice"):
                        # What follows the go-ahead at once cannot answer the final dot.
                        second = reply if action == "twice" else "250 2.0.0 taken"
                        peer.send(f"{replies}{reply}\r\n{second}\r\n".encode())
                    else:
                        peer.send(replies.encode() + await self._perturbed(peer, reply, action))
                    replies = ""
                    body = await peer.body()
                    sender = recipient = False
                    if not body:  # The client saw a refusal of the recipient.
                        replies += "554 5.5.1 no content\r\n"
                        continue
                    if not self._takes():
                        replies += "451 4.3.0 not taken\r\n"
                        continue
                    self.accepted.append(int(body.split()[1]))
                    reply = "250 2.0.0 taken"
            elif verb == "BDAT":
                body = (await peer.read_exactly(int(line.split()[1]))).decode()
                valid, sender, recipient = sender and recipient, False, False
                if not valid:
                    replies += "503 5.5.1 no recipient\r\n"
                    continue
                if not self._takes():
                    replies += "451 4.3.0 not taken\r\n"
                    continue
                self.accepted.append(int(body.split()[1]))
                reply = "250 2.0.0 taken"
            else:
                reply = "503 5.5.1 bad sequence"
            action = next(self._script)
            if reply.endswith("taken") and action[:1].isdigit():
                action = "as it should"
            if "CHUNKING" in self._offers and action in REFUSALS:
                recipient = False
                sender = sender and verb != "MAIL"
            if action in ("close", "reset", "half a line", "half, then stall", "twice, later"):
                peer.send(replies.encode())
                replies = ""
            replies += (await self._perturbed(peer, reply, action)).decode()

    def _takes(self) -> bool:
        return next(self._script) not in REFUSALS

    async def _perturbed(self, peer: Peer, reply: str, action: str) -> bytes:
        """Return what to write in place of a reply. Raises EOFError to close the connection."""
        if action[:1].isdigit():
            return f"{action}\r\n".encode()
        match action:
            case "twice" | "early":
                return f"{reply}\r\n{reply}\r\n".encode()
            case "twice, later":
                peer.reply(reply)
                await asyncio.sleep(0.005)
            case "never":
                return b""
            case "noise":
                return b"what?\r\n"
            case "half a line" | "half, then stall":
                peer.send(reply[:5].encode())
                if action == "half, then stall":
                    await peer.read_to_end()
                raise EOFError
            case "split":
                peer.send(reply[:5].encode())
                await asyncio.sleep(0.005)
                return f"{reply[5:]}\r\n".encode()
            case "close":
                raise EOFError
            case "reset":
                peer.reset()
                raise EOFError
        return f"{reply}\r\n".encode()


BRIEF = replace(LONG_TIMEOUTS, session=0.05, greeting=0.05, mail=0.05, rcpt=0.05, data=0.05, block=0.05, final=0.05)


async def play(script: list[str], offers: tuple[str, ...], connections: int, window: int) -> None:
    server_side = OutOfStep(script, offers)
    heard = RecordingObserver()
    async with ScriptedServer(server_side).running() as server:
        transport = Transport(relay(server.port, max_connections=connections, window=window, timeouts=BRIEF))
        async with asyncio.timeout(20):
            await transport.send(envelopes(8), heard, heard.on_result)
        heard.assert_true_to(server_side.accepted, 8)
        await transport.close()


@settings(max_examples=min(150, settings().max_examples), suppress_health_check=[HealthCheck.too_slow])
@example(["as it should"] * 5 + ["twice"], ("PIPELINING",), 1, 1, uvloop.new_event_loop)
@example(["as it should"] * 4 + ["250 2.0.0 ok"], ("PIPELINING",), 1, 1, uvloop.new_event_loop)
@example(
    ["as it should", REFUSALS[0], "as it should", "never", "as it should", "never"],
    ("PIPELINING", "CHUNKING"),
    1,
    4,
    uvloop.new_event_loop,
)
@given(
    st.lists(perturbations, max_size=60),
    st.sampled_from([("PIPELINING",), ("PIPELINING", "CHUNKING"), ()]),
    st.integers(1, 3),
    st.sampled_from([1, 4]),
    st.sampled_from([uvloop.new_event_loop, asyncio.new_event_loop]),
)
def test_whatever_a_relay_replies_each_envelope_has_one_result_and_no_false_one(
    script: list[str],
    offers: tuple[str, ...],
    connections: int,
    window: int,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play(script, offers, connections, window))
