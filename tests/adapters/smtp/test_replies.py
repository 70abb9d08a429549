import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.adapters.smtp.replies import MAX_REPLY_BYTES, ProtocolError, ReplyReader, build_reply
from mailer.adapters.smtp.session import Capabilities
from mailer.domain.outcomes import Reply

lines = st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))
replies = st.tuples(st.integers(200, 599), st.lists(lines, min_size=1, max_size=4))


def encode(code: int, texts: list[bytes]) -> bytes:
    last = len(texts) - 1
    return b"".join(b"%d%b%b\r\n" % (code, b" " if at == last else b"-", text) for at, text in enumerate(texts))


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(replies, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_replies_do_not_depend_on_packet_boundaries(wanted: list[tuple[int, list[bytes]]], at: list[int]) -> None:
    reader = ReplyReader()
    stream = b"".join(encode(code, texts) for code, texts in wanted)
    got = [reply for packet in cut(stream, at) for reply in reader.feed(packet)]
    assert got == wanted
    assert not reader.pending


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_are_read_or_refused(packets: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        found = [reply for packet in packets for reply in reader.feed(packet)]
    except ProtocolError:
        return
    assert all(0 <= code <= 999 and build_reply(code, texts).text.isprintable() for code, texts in found)


@pytest.mark.parametrize("bad", [b"\r\n", b"ok\r\n", b"25x ok\r\n", b"250ok\r\n", b"\xb2\xb2\xb2 ok\r\n"])
def test_invalid_reply_is_refused(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyReader().feed(bad)


@pytest.mark.parametrize("endless", [b"2" * (MAX_REPLY_BYTES + 1), b"250-more\r\n" * MAX_REPLY_BYTES])
def test_endless_reply_is_refused(endless: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyReader().feed(endless)


@pytest.mark.parametrize(
    ("line", "code", "texts"),
    [(b"250\r\n", 250, [b""]), (b"250 ok\n", 250, [b"ok"]), (b"354 \r\n", 354, [b""])],
)
def test_bare_line_feeds_are_accepted(line: bytes, code: int, texts: list[bytes]) -> None:
    assert ReplyReader().feed(line) == [(code, texts)]


@pytest.mark.parametrize(
    ("texts", "reply"),
    [
        ([b"2.0.0 Ok: queued"], Reply(250, "2.0.0", "Ok: queued")),
        ([b"5.1.1 a", b"5.1.1 b"], Reply(250, "5.1.1", "a b")),
        ([b"", b"5.1.1"], Reply(250, "5.1.1", "")),
        ([b"5.1 no code"], Reply(250, "", "5.1 no code")),
        ([b"1.2.3.4 is an address"], Reply(250, "", "1.2.3.4 is an address")),
        ([b"5.1.1.7 is one too"], Reply(250, "", "5.1.1.7 is one too")),
        ([b"5.1.1000 too long"], Reply(250, "", "5.1.1000 too long")),
    ],
)
def test_enhanced_code_is_separated_from_the_text(texts: list[bytes], reply: Reply) -> None:
    assert build_reply(250, texts) == reply


def test_ehlo_extensions_are_parsed() -> None:
    offers = b"PIPELINING|size 1000|8BitMime|SMTPUTF8|DSN|ENHANCEDSTATUSCODES|STARTTLS|AUTH PLAIN LOGIN"
    odd = [b"AUTH=CRAM-MD5", b"", b"\xff"]
    offered = Capabilities.parse([b"here", *offers.split(b"|"), *odd])
    assert offered == Capabilities(
        pipelining=True,
        size_parameter=True,
        size=1000,
        eightbit=True,
        smtputf8=True,
        dsn=True,
        starttls=True,
        auth=frozenset({"PLAIN", "LOGIN", "CRAM-MD5"}),
    )
    assert Capabilities.parse([b"PIPELINING"]) == Capabilities()
    assert Capabilities.parse([b"x", b"SIZE"]) == Capabilities(size_parameter=True)
    assert Capabilities.parse([b"x", b"SIZE 0"]) == Capabilities(size_parameter=True)
