"""What is said on one connection, reply by reply."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mailer.adapters.smtp import Timeouts, Transport
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


def test_pipelined_messages_cost_one_round_trip_each(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING", "SIZE 1000")
        lines = await peer.expect("MAIL", "RCPT", "DATA")
        assert lines[:2] == ["MAIL FROM:<bounce@news.example> SIZE=18", "RCPT TO:<reader0@example.org>"]
        await peer.expect_silence()
        peer.reply("250 ok", "250 ok", "354 go")
        assert await peer.body() == "Key: 0\r\n\r\n..dots\r\n"
        # Not answered yet, and the next message's commands are here; its body is not.
        await peer.expect("MAIL", "RCPT", "DATA")
        await peer.expect_silence()
        peer.reply("250 2.0.0 first", "250 ok", "250 ok", "354 go")
        assert await peer.body() == "Key: 1\r\n\r\n..dots\r\n"
        await peer.expect_silence()
        peer.reply("250 second")
        await peer.accept_quit()

    heard, server = run(run_scripts(script, count=2))
    assert heard.outcomes() == {0: "accepted", 1: "accepted"}
    assert str(heard.results[0].reply) == "250 2.0.0 first"
    assert heard.events == [
        ("dot", 0),
        ("answered", 0),
        ("result", 0),
        ("dot", 1),
        ("answered", 1),
        ("result", 1),
    ]
    assert server.connections == 1


def test_dsn_requests_headers_only_if_offered(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING", "DSN")
        lines = await peer.expect("MAIL", "RCPT", "DATA")
        assert lines[:2] == [
            "MAIL FROM:<bounce@news.example> RET=HDRS",
            "RCPT TO:<reader0@example.org> NOTIFY=FAILURE",
        ]
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        peer.reply("250 taken")
        await peer.accept_quit()

    heard, _ = run(run_scripts(script, count=1))
    assert heard.outcomes() == {0: "accepted"}


@pytest.mark.parametrize("offered", [True, False])
def test_without_pipelining_each_command_waits_for_its_reply(run: Run, offered: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(*(["PIPELINING"] if offered else []))
        for number in range(2):
            for verb, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
                await peer.expect(verb)
                await peer.expect_silence(0.02)
                peer.reply(reply)
            assert f"Key: {number}" in await peer.body()
            await peer.expect_silence(0.02)
            peer.reply("250 taken")
        await peer.accept_quit()

    heard, _ = run(run_scripts(script, count=2, pipelining=False))
    assert heard.outcomes() == {0: "accepted", 1: "accepted"}


def test_without_pipelining_offered_commands_are_sent_one_by_one(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("MAIL")
        await peer.expect_silence()
        peer.reply("250 ok")
        await peer.expect("RCPT")
        peer.reply("550 5.1.1 no such user")
        # The transaction is open: without RSET the next MAIL would be nested.
        await peer.expect("RSET")
        await peer.expect_silence(0.02)
        peer.reply("250 ok")
        await peer.expect("MAIL")
        peer.reply("451 4.3.0 not now")
        await peer.expect("MAIL")
        peer.reply("250 ok")
        await peer.expect("RCPT")
        peer.reply("250 ok")
        await peer.expect("DATA")
        peer.reply("451 4.3.0 not now")
        await peer.expect("RSET")
        peer.reply("250 ok")
        await peer.expect("MAIL")
        peer.reply("250 ok")
        await peer.expect("RCPT")
        peer.reply("250 ok")
        await peer.expect("DATA")
        peer.reply("354 go")
        await peer.body()
        peer.reply("250 taken")
        await peer.accept_quit()

    heard, server = run(run_scripts(script, count=4))
    assert heard.outcomes() == {0: "hard", 1: "relay busy", 2: "retry", 3: "accepted"}
    assert [heard.results[key].stage for key in range(4)] == [Stage.RCPT, Stage.MAIL, Stage.DATA, Stage.FINAL]
    assert server.connections == 1


REFUSALS = {
    "mail": (["451 4.7.1 wait", "503 5.5.1 MAIL first", "503 5.5.1 RCPT first"], "relay busy", Stage.MAIL),
    "rcpt": (["250 ok", "550 5.1.1 no such user", "554 5.5.1 no recipients"], "hard", Stage.RCPT),
    "data": (["250 ok", "250 ok", "451 4.3.0 not now"], "retry", Stage.DATA),
    "everything": (["550 5.7.1 no", "550 5.1.1 no", "554 5.6.0 no"], "sender", Stage.MAIL),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_pipeline_is_reset_before_the_next_message(run: Run, case: str) -> None:
    replies, outcome, stage = REFUSALS[case]

    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(*replies)
        await peer.expect("RSET")
        peer.reply("250 ok")
        assert await peer.accept_message() == "1"
        await peer.accept_quit()

    heard, server = run(run_scripts(script, count=2))
    assert heard.outcomes() == {0: outcome, 1: "accepted"}
    assert heard.results[0].stage is stage
    assert heard.final_dots == {1}
    assert server.connections == 1


@pytest.mark.parametrize("after_dot", ["554 5.5.1 no valid recipients", "250 ok"])
@pytest.mark.parametrize(
    "replies", [["250 ok", "550 5.1.1 no such user"], ["451 4.3.0 not now", "503 5.5.1 MAIL first"]]
)
def test_a_go_ahead_after_a_refusal_gets_only_the_dot(run: Run, replies: list[str], after_dot: str) -> None:
    """RFC 2920 3.1."""

    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(*replies, "354 go")
        assert await peer.body() == ""
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(after_dot, "250 ok", "250 ok", "354 go")
        assert "Key: 1" in await peer.body()
        peer.reply("250 taken")
        await peer.accept_quit()

    heard, server = run(run_scripts(script, count=2))
    assert heard.outcomes() == {0: "hard" if "550" in replies[1] else "relay busy", 1: "accepted"}
    assert heard.final_dots == {1}
    assert server.connections == 1


def test_connection_out_of_sync_is_not_used(run: Run) -> None:
    """With MAIL refused and RCPT accepted, even a lone dot could become an empty mail."""

    async def confused(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("451 4.3.0 not now", "250 ok", "354 go")
        assert await peer.read_to_end() == b""

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        assert await peer.accept_message() == "1"
        await peer.accept_quit()

    heard, _ = run(run_scripts(confused, sane, count=2))
    assert heard.outcomes() == {0: "relay busy", 1: "accepted"}


def test_the_message_ahead_may_be_refused_while_the_first_is_accepted(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 taken", "250 ok", "550 5.2.1 disabled", "554 5.5.1 no recipients")
        await peer.expect("RSET")
        peer.reply("250 ok")
        assert await peer.accept_message() == "2"
        await peer.accept_quit()

    heard, _ = run(run_scripts(script, count=3))
    assert heard.outcomes() == {0: "accepted", 1: "hard", 2: "accepted"}


def test_a_kept_connection_is_reset_when_its_last_message_was_refused(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "550 5.1.1 no such user", "554 5.5.1 no recipients")
        await peer.accept_quit()

    heard, _ = run(run_scripts(script))
    assert heard.outcomes() == {0: "hard"}


@pytest.mark.parametrize("pause", [0, 0.001])
def test_replies_split_over_packets_are_read(run: Run, pause: float) -> None:
    replies = (
        "250 ok\r\n250-2.1.5 one\r\n250-2.1.5 two\r\n250 2.1.5 three\r\n354 go\r\n",
        "250-2.0.0 queued\r\n250 2.0.0 as 17\r\n",
    )

    async def trickle(peer: Peer, text: str) -> None:
        for letter in text:
            peer.send(letter.encode())
            await asyncio.sleep(pause)

    async def script(peer: Peer) -> None:
        await trickle(peer, "220-here\r\n220 I am\r\n")
        await peer.expect("EHLO")
        await trickle(peer, "250-here\r\n250-PIPELINING\r\n250 HELP\r\n")
        await peer.expect("MAIL", "RCPT", "DATA")
        await trickle(peer, replies[0])
        await peer.body()
        await trickle(peer, replies[1])
        await peer.accept_quit()

    heard, _ = run(run_scripts(script))
    assert str(heard.results[0].reply) == "250 2.0.0 queued as 17"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("550 5.1.1 Empf\xe4nger unbekannt".encode(), "Empf\xe4nger unbekannt"),
        (b"550 5.1.1 \xff\x00\x1b[31m", "\ufffd\ufffd\ufffd[31m"),
        (b"550 5.1.1", ""),
        (b"550-5.1.1 The account\r\n550 5.1.1 does not exist", "The account does not exist"),
        (b"550 5.1.1 " + b"x" * 20_000, "x" * 20_000),
    ],
)
def test_the_text_of_a_reply_is_kept_printable(run: Run, line: bytes, text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok")
        peer.send(line + b"\r\n")
        peer.reply("554 no recipients")
        await peer.accept_quit()

    heard, _ = run(run_scripts(script))
    reply = heard.results[0].reply
    assert reply is not None
    assert (reply.code, reply.enhanced, reply.text) == (550, "5.1.1", text)


@pytest.mark.parametrize("noise", [b"hello?\r\n", b"25 ok\r\n", b"x" * 70_000, b"250-a\r\n" * 20_000])
def test_noise_instead_of_a_reply_ends_the_connection(run: Run, noise: bytes) -> None:
    async def noisy(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.send(noise)
        await peer.read_to_end()

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()
        await peer.accept_quit()

    heard, server = run(run_scripts(noisy, sane))
    assert heard.outcomes() == {0: "accepted"}
    assert server.connections == 2
    heard, server = run(run_scripts(noisy))
    assert heard.outcomes() == {0: "retry"}
    assert "not an SMTP reply" in heard.results[0].detail


STAGES = ["mail", "rcpt", "data", "body", "final"]


async def reach(peer: Peer, stage: str, pipelining: bool) -> None:
    """Take part in a transaction until the reply of ``stage`` is due."""
    await peer.greet(*(["PIPELINING"] if pipelining else []))
    if pipelining:
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply(*["250 ok", "250 ok", "354 go"][: {"mail": 0, "rcpt": 1, "data": 2}.get(stage, 3)])
    else:
        for at, verb in zip(("mail", "rcpt", "data"), ("MAIL", "RCPT", "DATA"), strict=True):
            await peer.expect(verb)
            if at == stage:
                return
            peer.reply("354 go" if verb == "DATA" else "250 ok")
    if stage == "body":
        await peer.read_exactly(5)
    elif stage == "final":
        await peer.body()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("ending", ["close", "reset", "421", "stall"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_connection_that_ends_at_any_stage(run: Run, stage: str, ending: str, pipelining: bool) -> None:
    """Before the final dot: once more on a new connection, then ``retry``. After it: ``unknown``."""

    async def ends(peer: Peer) -> None:
        await reach(peer, stage, pipelining)
        if ending == "421":
            peer.reply("421 4.3.2 shutting down")
        elif ending == "reset":
            peer.reset()
        elif ending == "stall":
            await peer.read_to_end()

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()
        await peer.accept_quit()

    brief = Timeouts(connect=5, session=5, greeting=5, mail=0.1, rcpt=0.1, data=0.1, block=0.1, final=0.1, quit=1)
    heard, server = run(run_scripts(ends, sane, timeouts=brief))
    result = heard.results[0]
    # The whole of a small message is written at once, so its dot is out when the body is cut.
    if stage in ("body", "final") and ending == "421":
        assert result.outcome is Outcome.DEFERRED
        assert result.reply is not None
        assert result.reply.code == 421
    elif stage in ("body", "final"):
        assert result.outcome is Outcome.UNKNOWN
        assert result.detail
    else:
        assert result.outcome is Outcome.ACCEPTED
        assert server.connections == 2
        heard, server = run(run_scripts(ends, timeouts=brief))
        closing = stage == "mail" and ending == "421"
        assert heard.results[0].outcome is (Outcome.RELAY_BUSY if closing else Outcome.DEFERRED)
        assert heard.results[0].stage == stage
        assert server.connections == 2
        assert heard.final_dots == set()
        return
    assert server.connections == 1


def test_unsent_messages_of_a_lost_connection_use_another(run: Run) -> None:
    """One dot was written and one was not: the journal and the results must tell them apart."""

    async def lost(peer: Peer) -> None:
        await reach(peer, "final", pipelining=True)
        await peer.expect("MAIL", "RCPT", "DATA")

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        assert await peer.accept_message() == "1"
        await peer.accept_quit()

    heard, _ = run(run_scripts(lost, sane, count=2))
    assert heard.outcomes() == {0: "unknown", 1: "accepted"}
    assert heard.events == [("dot", 0), ("result", 0), ("dot", 1), ("answered", 1), ("result", 1)]


def test_relay_that_disconnects_after_every_message_loses_none(run: Run) -> None:
    async def once(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()

    heard, server = run(run_scripts(once, count=12))
    assert set(heard.outcomes().values()) == {"accepted"}
    assert server.connections == 12


def test_connection_lost_within_the_body_is_not_unknown(run: Run) -> None:
    """Its final dot waits until the transport took the rest, so it is known not to be out."""
    size = 12_000_000
    large = envelope(0, message=[b"x" * 998 + b"\r\n"] * (size // 1000), size=size)

    async def cuts(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.read_exactly(100_000)
        peer.reset()

    async def takes(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        assert len(await peer.read_exactly(size)) == size
        assert await peer.line() == "."
        peer.reply("250 taken")
        await peer.accept_quit()

    heard, _ = run(run_scripts(cuts, takes, batch=[large]))
    assert heard.outcomes() == {0: "accepted"}
    heard, _ = run(run_scripts(cuts, batch=[large]))
    assert heard.outcomes() == {0: "retry"}
    assert heard.final_dots == set()


def test_half_closed_connection_is_abandoned(run: Run) -> None:
    size = 12_000_000
    large = envelope(0, message=b"x" * (size - 2) + b"\r\n", size=size)

    async def half_closes(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        peer.close_write()
        await asyncio.sleep(60)

    patient = Timeouts(connect=60, session=60, greeting=60, mail=60, rcpt=60, data=60, block=60, final=60)
    heard, _ = run(run_scripts(half_closes, batch=[large], timeouts=patient))
    assert heard.outcomes() == {0: "retry"}


def test_a_short_time_out_is_kept_after_a_long_one(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        await asyncio.sleep(0.3)
        peer.reply("250 taken")
        await peer.read_to_end()

    uneven = Timeouts(connect=60, session=60, greeting=60, mail=0.1, rcpt=60, data=60, block=60, final=60)
    heard, server = run(run_scripts(script, count=2, timeouts=uneven))
    assert heard.outcomes() == {0: "accepted", 1: "accepted"}
    assert server.connections == 2


@pytest.mark.parametrize(("reply", "outcome"), [("552 5.3.4 too big", "message"), ("421 4.3.2 bye", "retry")])
def test_a_reply_in_the_middle_of_a_body(run: Run, reply: str, outcome: str) -> None:
    size = 12_000_000
    large = envelope(0, message=b"x" * (size - 2) + b"\r\n", size=size)

    async def interrupts(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.expect("MAIL", "RCPT", "DATA")
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.read_exactly(100_000)
        peer.reply(reply)
        await asyncio.sleep(0.2)

    heard, _ = run(run_scripts(interrupts, batch=[large]))
    assert heard.outcomes() == {0: outcome}
    assert str(heard.results[0].reply) == reply
    assert heard.final_dots == set()


async def refuses_everything(peer: Peer) -> None:
    await peer.greet("PIPELINING", "SIZE 1000")
    assert await peer.accept_message() == "fine"
    await peer.accept_quit()


@pytest.mark.parametrize(
    ("fields", "outcome", "enhanced"),
    [
        ({"smtputf8": True}, "rejected", "5.6.7"),
        ({"recipient": "лев@example.org"}, "rejected", "5.6.7"),
        ({"size": 1001}, "message", "5.3.4"),
        ({"recipient": ""}, "hard", "5.1.3"),
        ({"recipient": "a@example.org>\r\nRCPT TO:<b@example.org"}, "hard", "5.1.3"),
        ({"recipient": "a@example.org> NOTIFY=NEVER <"}, "hard", "5.1.3"),
        ({"sender": "a@example.org\nDATA"}, "sender", "5.1.7"),
        ({"message": b"no end"}, "message", "5.6.0"),
        ({"message": [b"no", b"", b""]}, "message", "5.6.0"),
    ],
)
def test_message_that_the_relay_cannot_accept_is_not_sent(
    run: Run, fields: dict[str, Any], outcome: str, enhanced: str
) -> None:
    heard, _ = run(run_scripts(refuses_everything, batch=[envelope("odd", **fields), envelope("fine")]))
    assert heard.outcomes() == {"odd": outcome, "fine": "accepted"}
    reply = heard.results["odd"].reply
    assert reply is not None
    assert reply.enhanced == enhanced
    assert reply.text.startswith("not sent")
    assert heard.final_dots == {"fine"}


def test_smtputf8_and_null_sender(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("PIPELINING", "SMTPUTF8", "8BITMIME", "SIZE")
        mail, rcpt, _ = await peer.expect("MAIL", "RCPT", "DATA")
        assert mail == "MAIL FROM:<> SIZE=18 BODY=8BITMIME SMTPUTF8"
        assert rcpt == "RCPT TO:<лев@example.org>"
        peer.reply("250 ok", "250 ok", "354 go")
        await peer.body()
        peer.reply("250 taken")
        await peer.accept_quit()

    heard, _ = run(run_scripts(script, batch=[envelope(0, sender="", recipient="лев@example.org")]))
    assert heard.outcomes() == {0: "accepted"}


def test_journal_is_written_before_the_final_dot(run: Run) -> None:
    """If the journal cannot be written, nothing may go out."""
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await reach(peer, "final-not-reached", pipelining=True)
        bodies.append(await peer.read_to_end())

    class FullDisk(RecordingObserver):
        def before_final_dot(self, key: object) -> None:
            raise OSError("no space left on device")

    async def scenario() -> None:
        heard = FullDisk()
        async with ScriptedServer(script).running() as server:
            transport = Transport(relay(server.port))
            with pytest.raises(OSError, match="no space"):
                await transport.send(envelopes(5), heard, heard.on_result)
            await transport.close()
        assert heard.outcomes() == dict.fromkeys(range(5), "withheld")

    run(scenario())
    assert bodies == [b""]


def limited_to(messages: int, refusal: str, stage: str, seen: list[int], offers: list[str]) -> Callable[[Peer], Any]:
    """Return the script of a relay that takes so many messages in a session. ``seen`` counts them by connection."""

    async def script(peer: Peer) -> None:
        await peer.greet(*offers)
        seen.append(0)
        sender = recipient = False
        while (verb := (await peer.line())[:4]) != "QUIT":
            full = seen[-1] >= messages
            if verb == "MAIL" and not (full and stage == "mail"):
                sender = True
                peer.reply("250 ok")
            elif verb == "RCPT" and sender and not (full and stage == "rcpt"):
                recipient = True
                peer.reply("250 ok")
            elif verb == "RSET":
                sender = recipient = False
                peer.reply("250 ok")
            elif verb == "DATA" and recipient and not (full and stage == "data"):
                peer.reply("354 go")
                await peer.body()
                seen[-1] += 1
                sender = recipient = False
                peer.reply("250 taken")
            else:
                at_limit = full and verb == stage.upper()
                peer.reply(refusal if at_limit else "503 5.5.1 bad sequence")
                if at_limit and refusal.startswith("421"):
                    return
        peer.reply("221 bye")

    return script


@pytest.mark.parametrize("offers", [["PIPELINING"], []])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    "refusal",
    [
        "452 4.4.5 not now",
        "452 4.5.3 not now",
        "452 Too many recipients received this session",
        "421 4.5.3 too many messages",
        "421 Message limit for this connection is reached",
    ],
)
def test_a_full_session_is_replaced_by_another(run: Run, refusal: str, stage: str, offers: list[str]) -> None:
    seen: list[int] = []
    heard, _ = run(run_scripts(limited_to(4, refusal, stage, seen, offers), count=20))
    assert heard.outcomes() == dict.fromkeys(range(20), "accepted")
    assert sum(seen) == 20
    assert set(seen) <= {0, 4}


def test_a_relay_whose_every_session_is_full_defers(run: Run) -> None:
    seen: list[int] = []
    heard, server = run(run_scripts(limited_to(0, "452 4.5.3 too many", "rcpt", seen, ["PIPELINING"]), count=5))
    assert heard.outcomes() == dict.fromkeys(range(5), "retry")
    assert server.connections == 1


def test_other_limits_are_not_those_of_a_session(run: Run) -> None:
    seen: list[int] = []
    heard, server = run(run_scripts(limited_to(3, "452 4.3.1 disk full", "rcpt", seen, ["PIPELINING"]), count=5))
    assert heard.outcomes() == dict.fromkeys(range(3), "accepted") | {3: "retry", 4: "retry"}
    assert server.connections == 1


async def read_chunked(peer: Peer, reset: bool) -> str:
    """Read one message that comes with BDAT. Return its body."""
    await peer.expect(*(["RSET"] if reset else []), "MAIL", "RCPT")
    (line,) = await peer.expect("BDAT")
    assert line.endswith(" LAST")
    return (await peer.read_exactly(int(line.split()[1]))).decode()


OK = ["250 2.1.0 sender", "250 2.1.5 recipient", "250 2.0.0 taken"]
WINDOW_OFFERS = ("PIPELINING", "CHUNKING")


def test_a_window_of_messages_is_in_flight(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(*WINDOW_OFFERS)
        for number in range(3):
            # BDAT needs no doubled dots (RFC 3030).
            assert await read_chunked(peer, number > 0) == f"Key: {number}\r\n\r\n.dots\r\n"
        await peer.expect_silence()
        peer.reply(*OK)
        assert "Key: 3" in await read_chunked(peer, reset=True)
        await peer.expect_silence()
        peer.reply("250 reset", *OK, "250 reset", *OK, "250 reset", *OK)
        await peer.accept_quit()

    heard, server = run(run_scripts(script, count=4, window=3))
    assert heard.outcomes() == dict.fromkeys(range(4), "accepted")
    assert server.connections == 1


@pytest.mark.parametrize("offers", [["PIPELINING"], ["CHUNKING"], []])
def test_a_window_needs_chunking_and_pipelining(run: Run, offers: list[str]) -> None:
    seen: list[int] = []
    heard, _ = run(run_scripts(limited_to(100, "", "", seen, offers), count=8, window=4))
    assert heard.outcomes() == dict.fromkeys(range(8), "accepted")


def test_a_refused_message_spoils_no_other_in_its_window(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(*WINDOW_OFFERS)
        for number in range(4):
            await read_chunked(peer, number > 0)
        peer.reply(*OK)
        peer.reply("250 reset", "250 2.1.0 ok", "550 5.1.1 no such user", "503 5.5.1 no recipient")
        peer.reply("250 reset", "451 4.3.0 not now", "503 5.5.1 no sender", "503 5.5.1 no sender")
        peer.reply("250 reset", "250 2.1.0 ok", "250 2.1.5 ok", "452 4.3.1 disk full")
        await read_chunked(peer, reset=True)
        peer.reply("250 reset", *OK)
        await peer.accept_quit()

    heard, _ = run(run_scripts(script, count=5, window=4))
    assert heard.outcomes() == {0: "accepted", 1: "hard", 2: "relay busy", 3: "retry", 4: "accepted"}
    assert [str(heard.results[key].stage) for key in range(4)] == ["final", "rcpt", "mail", "final"]


@pytest.mark.parametrize("window", [1, 5])
def test_a_lost_connection_leaves_no_more_uncertain_than_its_window(run: Run, window: int) -> None:
    async def lost(peer: Peer) -> None:
        await peer.greet(*WINDOW_OFFERS)
        if window == 1:
            await peer.expect("MAIL", "RCPT", "DATA")
            peer.reply("250 ok", "250 ok", "354 go")
            await peer.body()
        else:
            for number in range(window):
                await read_chunked(peer, number > 0)

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        for _ in range(12 - window):
            await peer.accept_message()
        await peer.accept_quit()

    heard, _ = run(run_scripts(lost, sane, count=12, window=window))
    assert heard.outcomes() == {key: "unknown" if key < window else "accepted" for key in range(12)}


@pytest.mark.parametrize(
    "replies",
    [
        [OK[0], OK[0], OK[1], OK[2]],
        [OK[0], OK[1], OK[1], "451 4.3.0 not taken"],
        [OK[1], "451 4.3.0 not taken", "250 2.0.0 reset", OK[0]],
    ],
)
def test_shifted_replies_in_a_window_make_its_messages_uncertain(run: Run, replies: list[str]) -> None:
    async def shifted(peer: Peer) -> None:
        await peer.greet(*WINDOW_OFFERS)
        for number in range(2):
            await read_chunked(peer, number > 0)
        peer.reply(*replies)
        await peer.read_to_end()

    heard, _ = run(run_scripts(shifted, count=2, window=2))
    assert heard.outcomes() == dict.fromkeys(range(2), "unknown")


def test_a_full_session_in_a_window_is_replaced(run: Run) -> None:
    async def full(peer: Peer) -> None:
        await peer.greet(*WINDOW_OFFERS)
        for number in range(3):
            await read_chunked(peer, number > 0)
        peer.reply(*OK)
        for _ in range(2):
            peer.reply("250 reset", "452 4.5.3 too many messages", "503 5.5.1 no sender", "503 5.5.1 no sender")
        await peer.accept_quit()

    async def sane(peer: Peer) -> None:
        await peer.greet("PIPELINING")
        await peer.accept_message()
        await peer.accept_quit()

    class RetryingObserver(RecordingObserver):
        """Tries a message twice that a session refused."""

        def after_reply(self, key: Any, reply: Any) -> None:
            super().after_reply(key, reply)
            if reply.code == 452:
                self.final_dots.discard(key)

    async def scenario() -> None:
        heard = RetryingObserver()
        async with ScriptedServer(full, sane, sane).running() as server:
            transport = Transport(relay(server.port, window=3))
            await transport.send(envelopes(3), heard, heard.on_result)
            await transport.close()
            assert server.connections == 3
        assert heard.outcomes() == dict.fromkeys(range(3), "accepted")

    run(scenario())
