"""The connections behind ``send``: kept, shared, replaced, given up, closed."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from mailer.adapters.smtp import Envelope, Timeouts, TransferResult, Transport
from mailer.domain.outcomes import Outcome, Stage
from tests.support.scripted_smtp import (
    Peer,
    RecordingObserver,
    ScriptedServer,
    envelope,
    envelopes,
    relay,
    run_scripts,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def obliging(peer: Peer) -> None:
    """Takes everything, pipelined, until the client says QUIT."""
    await peer.greet("PIPELINING")
    while True:
        verb = await peer.line()
        if verb == "QUIT":
            peer.reply("221 bye")
            return
        if verb == "DATA":
            peer.reply("354 go")
            await peer.body()
        peer.reply("250 ok")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_connections_are_kept_between_calls_and_shared(run: Run) -> None:
    async def scenario() -> None:
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port, max_connections=2))
            for _ in range(3):
                heard = RecordingObserver()
                await transport.send(envelopes(10), heard, heard.on_result)
                assert set(heard.outcomes().values()) == {"accepted"}
            at_once = [RecordingObserver() for _ in range(5)]
            await asyncio.gather(*(transport.send(envelopes(20), each, each.on_result) for each in at_once))
            for each in at_once:
                assert each.outcomes() == dict.fromkeys(range(20), "accepted")
            await transport.close()
            assert server.connections == 2

    run(scenario())


def test_one_message_needs_one_connection(run: Run) -> None:
    heard, server = run(run_scripts(obliging, max_connections=8))
    assert heard.outcomes() == {0: "accepted"}
    assert server.connections == 1


def test_there_are_no_more_connections_than_messages(run: Run) -> None:
    heard, server = run(run_scripts(obliging, count=4, max_connections=8))
    assert set(heard.outcomes().values()) == {"accepted"}
    assert server.connections <= 4


def test_nothing_to_send_opens_no_connection(run: Run) -> None:
    heard, server = run(run_scripts(obliging, batch=[]))
    assert (heard.events, server.connections) == ([], 0)


@pytest.mark.parametrize("pipelining", [True, False])
def test_connection_is_replaced_after_its_message_limit(run: Run, pipelining: bool) -> None:
    seen: list[int] = []

    async def counting(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        seen.append(0)
        while (verb := await peer.line()) != "QUIT":
            if verb == "DATA":
                seen[-1] += 1
                peer.reply("354 go")
                await peer.body()
            peer.reply("250 ok")
        peer.reply("221 bye")

    heard, _server = run(run_scripts(counting, count=10, max_messages_per_connection=4, pipelining=pipelining))
    assert set(heard.outcomes().values()) == {"accepted"}
    assert seen == [4, 4, 2]


@pytest.mark.parametrize("ending", ["close", "reset", "421", "doubled reply"])
def test_a_connection_that_died_while_idle_fails_nothing(run: Run, ending: str) -> None:
    async def dies(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()
        await asyncio.sleep(0.02)
        if ending == "421":
            peer.reply("421 4.4.2 idle for too long")
        elif ending == "doubled reply":
            peer.reply("250 taken")
            await peer.read_to_end()
        elif ending == "reset":
            peer.reset()

    async def scenario() -> None:
        async with ScriptedServer(dies, obliging).running() as server:
            transport = Transport(relay(server.port))
            for pause in (0.2, 0):
                heard = RecordingObserver()
                await transport.send(envelopes(1), heard, heard.on_result)
                assert heard.outcomes() == {0: "accepted"}
                await asyncio.sleep(pause)
            await transport.close()
            assert server.connections == 2

    run(scenario())


def test_a_connection_that_dies_as_it_is_used_again_fails_nothing(run: Run) -> None:
    async def dies(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()
        await peer.line()
        peer.reset()

    async def scenario() -> None:
        async with ScriptedServer(dies, obliging).running() as server:
            transport = Transport(relay(server.port))
            for _ in range(2):
                heard = RecordingObserver()
                await transport.send(envelopes(1), heard, heard.on_result)
                assert heard.outcomes() == {0: "accepted"}
            await transport.close()

    run(scenario())


def test_a_connection_that_was_idle_for_long_is_not_used_again(run: Run) -> None:
    async def scenario() -> None:
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port, max_idle_seconds=0.05))
            for _ in range(2):
                heard = RecordingObserver()
                await transport.send(envelopes(1), heard, heard.on_result)
                assert heard.outcomes() == {0: "accepted"}
                await asyncio.sleep(0.1)
            await transport.close()
            assert server.connections == 2

    run(scenario())


async def busy(peer: Peer) -> None:
    peer.reply("554 5.3.2 no service here")


async def shuts_down(peer: Peer) -> None:
    peer.reply("421 4.3.2 try later")


async def silent(peer: Peer) -> None:
    await peer.read_to_end()


async def gone(peer: Peer) -> None:
    peer.reset()


async def no_ehlo(peer: Peer) -> None:
    peer.reply("220 here")
    await peer.line()
    peer.reply("421 4.3.2 try later")


@pytest.mark.parametrize(
    ("script", "stage", "says"),
    [
        (busy, Stage.GREETING, "554 5.3.2 no service here"),
        (shuts_down, Stage.GREETING, "421 4.3.2 try later"),
        (silent, Stage.GREETING, "timed out"),
        (gone, Stage.GREETING, ""),
        (no_ehlo, Stage.EHLO, "421 4.3.2 try later"),
    ],
)
def test_unusable_relay_is_tried_once_for_many_messages(
    run: Run, script: Callable[[Peer], Any], stage: Stage, says: str
) -> None:
    from dataclasses import replace

    from tests.support.scripted_smtp import LONG_TIMEOUTS

    heard, server = run(
        run_scripts(script, count=500, max_connections=4, timeouts=replace(LONG_TIMEOUTS, greeting=0.1))
    )
    assert heard.outcomes() == dict.fromkeys(range(500), "relay")
    result = heard.results[499]
    assert result.stage is stage
    assert says in (str(result.reply) if result.reply else result.detail)
    assert result.reply or result.detail
    assert heard.final_dots == set()
    assert server.connections == 1


@pytest.mark.parametrize("fields", [{"host": "x" * 64}, {"host": "nobody.invalid"}, {"ehlo_name": "x" * 64}])
def test_invalid_settings_are_refused(run: Run, fields: dict[str, Any]) -> None:
    heard, _ = run(run_scripts(obliging, count=20, **fields))
    assert heard.outcomes() == dict.fromkeys(range(20), "relay")
    assert heard.results[0].detail


def test_a_closed_port(run: Run) -> None:
    async def scenario() -> None:
        transport = Transport(relay(closed_port(), max_connections=4))
        for _ in range(2):
            heard = RecordingObserver()
            await transport.send(envelopes(50), heard, heard.on_result)
            assert heard.outcomes() == dict.fromkeys(range(50), "relay")
            assert heard.results[0].stage is Stage.CONNECT
            assert heard.results[0].detail
        await transport.close()

    run(scenario())


def test_a_relay_that_allows_fewer_connections_is_used_with_those(run: Run) -> None:
    async def one_only(peer: Peer) -> None:
        if peer.number == 0:
            await obliging(peer)
        else:
            peer.reply("421 4.7.0 too many connections")

    heard, _ = run(run_scripts(one_only, count=200, max_connections=4))
    assert heard.outcomes() == dict.fromkeys(range(200), "accepted")


def test_unresponsive_relay_times_out(run: Run) -> None:
    """It takes whole messages and hangs up: no more than a few may become unknown."""

    async def swallows(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()

    heard, server = run(run_scripts(swallows, count=300, max_connections=4))
    outcomes = heard.outcomes()
    assert set(outcomes.values()) == {"unknown", "relay"}
    assert heard.final_dots == {key for key, outcome in outcomes.items() if outcome == "unknown"}
    assert 8 <= len(heard.final_dots) <= server.connections < 16


def test_a_message_that_kills_its_connections_does_not_stop_the_others(run: Run) -> None:
    async def allergic(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        while (verb := await peer.line()) != "QUIT":
            if "reader7@" in verb:
                return
            if verb == "DATA":
                peer.reply("354 go")
                await peer.body()
            peer.reply("250 ok")
        peer.reply("221 bye")

    for connections in (1, 3):
        heard, _ = run(run_scripts(allergic, count=40, max_connections=connections))
        assert heard.outcomes() == dict.fromkeys(range(40), "accepted") | {7: "retry"}


def test_may_send_is_checked_just_before_sending(run: Run) -> None:
    asked: list[object] = []

    async def scenario() -> None:
        heard = RecordingObserver()

        def may_send(one: Envelope) -> bool:
            asked.append(one.key)
            # No more than the message under way and the one ahead of it have begun and not ended.
            assert len(set(asked)) - len(heard.results) <= 2
            return one.key != 3

        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port))
            await transport.send(envelopes(10), heard, heard.on_result, may_send)
            await transport.close()
        assert heard.outcomes() == dict.fromkeys(range(10), "accepted") | {3: "withheld"}
        assert 3 not in heard.final_dots

    run(scenario())
    assert set(asked) == set(range(10))


def test_may_send_is_checked_again_after_a_slow_message(run: Run) -> None:
    """Its commands are out when the reader unsubscribes; its body must not follow."""
    unsubscribed: set[object] = set()

    async def slow(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        await peer.expect("MAIL", "RCPT", "DATA")
        unsubscribed.add(1)
        peer.reply("250 taken", "250 ok", "250 ok", "354 go")
        assert await peer.read_to_end() == b""

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(slow, obliging).running() as server:
            transport = Transport(relay(server.port))
            sent = envelopes(3)
            await transport.send(sent, heard, heard.on_result, lambda one: one.key not in unsubscribed)
            await transport.close()
        assert heard.outcomes() == {0: "accepted", 1: "withheld", 2: "accepted"}
        assert heard.final_dots == {0, 2}

    run(scenario())


def test_may_send_is_checked_again_after_a_lost_connection(run: Run) -> None:
    async def dies(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL")

    async def scenario() -> None:
        answers = iter([True, False])
        heard = RecordingObserver()
        async with ScriptedServer(dies, obliging).running() as server:
            transport = Transport(relay(server.port))
            await transport.send(envelopes(1), heard, heard.on_result, lambda _: next(answers))
            await transport.close()
        assert heard.outcomes() == {0: "withheld"}

    run(scenario())


@pytest.mark.parametrize("length", [0, 1, 100])
def test_envelopes_are_consumed_lazily(run: Run, length: int) -> None:
    heard = RecordingObserver()

    def lazily() -> Iterator[Envelope]:
        for one in envelopes(length):
            # One under way, one ahead, one at hand.
            assert int(str(one.key)) - len(heard.results) <= 3
            yield one

    async def scenario() -> None:
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port))
            await transport.send(lazily(), heard, heard.on_result)
            assert heard.outcomes() == dict.fromkeys(range(length), "accepted")
            await transport.close()

    run(scenario())


class Broken(Exception):
    """made by a test"""


@pytest.mark.parametrize("where", ["source", "may_send", "on_result", "after_reply"])
def test_error_in_a_callback_cancels_the_rest(run: Run, where: str) -> None:
    def fails_at(key: object, place: str) -> None:
        if place == where and key == 5:
            raise Broken

    class Fragile(RecordingObserver):
        def after_reply(self, key: Any, reply: Any) -> None:
            super().after_reply(key, reply)
            fails_at(key, "after_reply")

        def on_result(self, result: TransferResult) -> None:
            super().on_result(result)
            fails_at(result.key, "on_result")

    def source() -> Iterator[Envelope]:
        for one in envelopes(20):
            fails_at(one.key, "source")
            yield one

    def may_send(one: Envelope) -> bool:
        fails_at(one.key, "may_send")
        return True

    async def scenario() -> None:
        heard, other = Fragile(), RecordingObserver()
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port))
            beside = asyncio.create_task(transport.send(envelopes(30), other, other.on_result))
            with pytest.raises(Broken):
                await transport.send(source(), heard, heard.on_result, may_send)
            await beside
            await transport.close()
        assert other.outcomes() == dict.fromkeys(range(30), "accepted")
        outcomes = heard.outcomes()
        assert set(outcomes) == set(range(5 if "source" in where else 20))
        assert set(outcomes.values()) <= {"accepted", "withheld"}
        assert {key for key, outcome in outcomes.items() if outcome == "accepted"} == heard.final_dots

    run(scenario())


@pytest.mark.parametrize("stage", ["connecting", "mail", "final"])
def test_cancelling_gives_every_message_a_result(run: Run, stage: str) -> None:
    reached = asyncio.Event()
    late = asyncio.Event()

    async def slow(peer: Peer) -> None:
        if stage == "connecting":
            reached.set()
            await peer.read_to_end()
            return
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        if stage == "final":
            peer.reply("250 ok", "250 ok", "354 go")
            await peer.body()
            await peer.expect("MAIL", "RCPT", "DATA")
            reached.set()
            await late.wait()
            peer.reply("250 taken", "250 ok", "250 ok", "354 go")
        else:
            reached.set()
            await late.wait()
            peer.reply("250 ok", "250 ok", "354 go")
        # Nothing can take the go-ahead back but to hang up.
        assert await peer.read_to_end() == b""

    async def scenario() -> None:
        heard, after = RecordingObserver(), RecordingObserver()
        async with ScriptedServer(slow, obliging).running() as server:
            transport = Transport(relay(server.port))
            sending = asyncio.create_task(transport.send(envelopes(10), heard, heard.on_result))
            await reached.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            first = "unknown" if stage == "final" else "withheld"
            assert heard.outcomes() == dict.fromkeys(range(10), "withheld") | {0: first}
            count = len(heard.events)
            late.set()
            if stage != "connecting":
                await transport.send(envelopes(3), after, after.on_result)
                assert after.outcomes() == dict.fromkeys(range(3), "accepted")
            await transport.close()
            assert len(heard.events) == count
            assert len(heard.outcomes()) == 10

    run(scenario())


def test_cancelling_one_send_leaves_the_other(run: Run) -> None:
    async def scenario() -> None:
        one, other = RecordingObserver(), RecordingObserver()
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port))
            first = asyncio.create_task(transport.send(envelopes(500), one, one.on_result))
            second = asyncio.create_task(transport.send(envelopes(500), other, other.on_result))
            while len(one.results) < 20:
                await asyncio.sleep(0)
            first.cancel()
            await second
            await transport.close()
        assert set(one.results) == set(range(500))
        assert set(one.outcomes().values()) <= {"accepted", "unknown", "withheld"}
        assert other.outcomes() == dict.fromkeys(range(500), "accepted")

    run(scenario())


def test_closing_lets_messages_finish_and_withholds_the_rest(run: Run) -> None:
    at_dot = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        await peer.expect("MAIL", "RCPT", "DATA")
        at_dot.set()
        await asyncio.sleep(0.05)
        peer.reply("250 taken", "250 ok", "250 ok", "354 go")
        await peer.body()
        peer.reply("250 taken")
        await peer.accept_quit()

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(script).running() as server:
            transport = Transport(relay(server.port))
            sending = asyncio.create_task(transport.send(envelopes(9), heard, heard.on_result))
            await at_dot.wait()
            await transport.close()
            await sending
            assert heard.outcomes() == dict.fromkeys(range(9), "withheld") | {0: "accepted", 1: "accepted"}
            with pytest.raises(RuntimeError, match="closed"):
                await transport.send(envelopes(1), heard, heard.on_result)

    run(scenario())


def test_closing_has_a_time_limit(run: Run) -> None:
    at_dot = asyncio.Event()

    async def stuck(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        at_dot.set()
        await peer.read_to_end()

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(stuck).running() as server:
            transport = Transport(relay(server.port))
            sending = asyncio.create_task(transport.send(envelopes(4), heard, heard.on_result))
            await at_dot.wait()
            await transport.close(seconds=0.05)
            await sending
        outcomes = heard.outcomes()
        assert outcomes[0] == Outcome.UNKNOWN
        assert set(outcomes.values()) == {"unknown", "withheld"}
        assert heard.final_dots == {0}

    run(scenario())


def test_each_batch_gets_its_turn(run: Run) -> None:
    """A small send does not wait for a large one that began before it."""

    async def scenario() -> None:
        large, small = RecordingObserver(), RecordingObserver()
        async with ScriptedServer(obliging).running() as server:
            transport = Transport(relay(server.port))
            first = asyncio.create_task(transport.send(envelopes(1000), large, large.on_result))
            await transport.send([envelope("one")], small, small.on_result)
            assert len(large.results) < 1000
            await first
            await transport.close()
        assert set(large.outcomes().values()) == {"accepted"}

    run(scenario())


def test_a_transfer_without_a_result_for_too_long_is_ended(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """No time-out ends it: the relay takes a little of the body again and again."""
    size = 40_000_000  # more than the buffers of sockets hold
    large = envelope(0, message=b"x" * (size - 2) + b"\r\n", size=size)

    async def sips(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        while True:
            await peer.read_exactly(50_000)
            await asyncio.sleep(0.05)

    brief = Timeouts(connect=0.1, session=0.1, greeting=0.1, mail=0.1, rcpt=0.1, data=0.1, block=2, final=0.1, quit=0.1)

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(sips, obliging).running() as server:
            transport = Transport(relay(server.port, timeouts=brief))
            await transport.send([large], heard, heard.on_result)
            assert heard.outcomes() == {0: "retry"}
            assert heard.results[0].detail == "no result within 3 seconds"
            assert (transport.ended_transfers, transport.watched_at is None) == (1, False)
            assert f"127.0.0.1:{server.port}: 1 transfers had no result" in caplog.text
            again = RecordingObserver()
            await transport.send(envelopes(3), again, again.on_result)
            assert again.outcomes() == dict.fromkeys(range(3), "accepted")
            await transport.close()

    run(scenario())


def test_connections_grow_to_the_ceiling_at_a_distance_and_are_given_back(run: Run) -> None:
    async def distant(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        while (verb := await peer.line()) != "QUIT":
            if verb == "DATA":
                peer.reply("354 go")
                await peer.body()
                await asyncio.sleep(0.05)
            peer.reply("250 ok")
        peer.reply("221 bye")

    async def scenario() -> None:
        heard = RecordingObserver()
        async with ScriptedServer(distant).running() as server:
            transport = Transport(relay(server.port, min_connections=2, max_connections=8, max_idle_seconds=0.2))
            sending = asyncio.create_task(transport.send(envelopes(100_000), heard, heard.on_result))
            while transport.open_connections < 8:
                await asyncio.sleep(0.01)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert server.connections == 8
            while transport.open_connections:
                await asyncio.sleep(0.01)
            await transport.close()

    run(scenario())
