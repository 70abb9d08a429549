"""Compiled messages, parsed with the standard library, have the original content."""

import email
import email.policy
import re
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.domain.message import (
    ENCODERS,
    GREETING_BOUNDARY,
    CompiledMessage,
    UnsafeHeader,
    compile_message,
    header_text,
    mailbox,
    marker,
)

MARKERS = {marker("0a1b2c", name): name for name in ("name", "address", "unsubscribe")}
WORDS = {name: word for word, name in MARKERS.items()}

_AWKWARD = [
    ".",
    "..",
    "\n.",
    "\r\n.\r\n",
    "\r",
    "\n",
    " \n",
    "\t\n",
    "=",
    "=\n",
    "=2E",
    "é",
    "Ж",
    "ж" * 90,
    "x" * 200,
    "\u00a0",
    "\u202b",
    "\u200f",
    "👩‍🔬",
    "क्षि",
    "مرحبا",
    "<b>",
    "&amp;",
    '"',
    " ",
    "--",
    "From ",
]
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_PIECE = st.sampled_from(_AWKWARD) | _TEXT | st.sampled_from(list(MARKERS))
_BODY = st.lists(_PIECE, max_size=14).map("".join)
_VALUE = st.lists(st.sampled_from(_AWKWARD) | _TEXT, max_size=6).map("".join)


def filled(template: CompiledMessage, values: dict[str, str]) -> bytes:
    heads = {slot: values[slot].encode() for slot in template.slots if "/" not in slot}
    return b"".join(template.fill(template.encode_slots(values) | heads))


def parsed(message: bytes) -> EmailMessage:
    """As an SMTP server hands it on: its dots unstuffed."""
    made = email.message_from_bytes(message.replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
    assert not made.defects
    return made


def part(message: EmailMessage, subtype: str) -> str:
    found = next(found for found in message.iter_parts() if found.get_content_subtype() == subtype)
    assert not found.defects
    return bytes(found.get_payload(decode=True)).decode()


def reduced(text: str) -> str:
    """Without blanks: compiling may widen them, and says so."""
    return re.sub(r"\s+", "", text)


def html_escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def replaced(body: str, values: dict[str, str]) -> str:
    return re.sub("|".join(MARKERS), lambda found: values[MARKERS[found[0]]], body)


HEADERS: list[tuple[str, list[bytes | str]]] = [("Subject", [b"x"]), ("To", ["to"])]


def compiled(text: str, html: str) -> CompiledMessage:
    return compile_message(HEADERS, text, html, MARKERS)


@given(_BODY, _BODY, st.fixed_dictionaries(dict.fromkeys(WORDS, _VALUE)))
@example("a" * 100 + WORDS["name"] + "b" * 100, "", {"name": "", "address": "", "unsubscribe": ""})
@example(WORDS["name"], WORDS["name"], {"name": "Александра Иванова", "address": "", "unsubscribe": ""})
@example("Ж " * 90 + WORDS["name"], "ж " * 90 + WORDS["name"], {"name": ".", "address": "", "unsubscribe": ""})
@example("ж\n" + WORDS["name"] * 2, "ж <p>" + WORDS["name"] * 2, {"name": "", "address": "", "unsubscribe": ""})
@example(
    "a" * 76 + WORDS["name"] + "." * 77 + WORDS["name"],
    "." + "b" * 74 + WORDS["name"],
    {"name": "." + "a" * 75, "address": "." * 150, "unsubscribe": ""},
)
def test_any_body_with_any_values_arrives_as_it_was(text: str, html: str, values: dict[str, str]) -> None:
    template = compiled(text, html)
    message = filled(template, values | {"to": "ann@example.org"})

    message.decode("ascii")
    lines = message.split(b"\r\n")
    assert lines[-1] == b""
    assert not any(b"\n" in line or b"\r" in line for line in lines), "a bare CR or LF"
    assert not any(line.startswith(b".") for line in lines), "a line that SMTP would change"
    assert max(map(len, lines)) <= 76

    found = parsed(message)
    values = {name: re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", value) for name, value in values.items()}
    escaped = {name: html_escaped(value) for name, value in values.items()}
    assert reduced(part(found, "plain")) == reduced(replaced(text, values))
    assert reduced(part(found, "html")) == reduced(replaced(html, escaped))


@given(_BODY, _BODY, st.sampled_from(["Hello", "Здраво"]))
@example("", "", "Здраво")
@example("ж" * 90, "ж" * 90, "Здраво")
@example("a" * 75 + ".", "." + "a" * 75, "Hello")
def test_without_a_name_only_the_greeting_is_missing(before: str, behind: str, hello: str) -> None:
    edge, name = marker("0a1b2c", GREETING_BOUNDARY), WORDS["name"]
    texts = before, f"\n{hello}, {name}\n", behind
    pages = f"<b>{before}</b>", f"\n<p>{hello}, {name}</p>\n", f"<b>{behind}</b>"
    whole = compile_message(HEADERS, edge.join(texts), edge.join(pages), MARKERS | {edge: GREETING_BOUNDARY})
    values = {"name": "Ada", "address": "ada@example.org", "unsubscribe": "x"}
    for template, parts in ((whole, slice(None)), (whole.without_greeting, slice(None, None, 2))):
        message = filled(template, values | {"to": "ann@example.org"})
        lines = message.split(b"\r\n")
        assert max(map(len, lines)) <= 76
        assert not any(line.startswith(b".") for line in lines)
        found = parsed(message)
        for one in found.iter_parts():
            if one["Content-Transfer-Encoding"] == "base64":
                assert "\n\n" not in str(one.get_payload()).strip(), "some take an empty line for the end"
        assert reduced(part(found, "plain")) == reduced(replaced("".join(texts[parts]), values))
        assert reduced(part(found, "html")) == reduced(replaced("".join(pages[parts]), values))


@given(_BODY.filter(lambda body: not any(word in body for word in MARKERS)))
def test_message_without_slots_is_unchanged(body: str) -> None:
    message = parsed(filled(compiled(body, body), {"to": "ann@example.org"}))
    expected = re.sub(r"\r\n|\r|\n", "\r\n", body if body.endswith("\n") else body + "\n")
    assert part(message, "plain") == expected
    assert part(message, "html") == expected


@pytest.mark.parametrize("opening", ["Hello", "Здравствуйте, дорогие читатели и читательницы"])
def test_blanks_are_added_only_at_line_ends_of_text_and_beside_blanks_of_html(opening: str) -> None:
    values = {
        "name": "Ada",
        "address": "ada@example.org",
        "unsubscribe": "u/" + "t" * 22,
        "to": "x@example.org",
    }
    link = f"https://news.example.org/{WORDS['unsubscribe']}"
    text = f"{opening} {WORDS['name']}!\n\n{opening}\n{link}\n{opening}\n" * 3
    html = f'<p class="a b">{opening} {WORDS["name"]}</p>\n<a title="{opening}" href="{link}">{opening}</a>\n' * 3
    message = parsed(filled(compiled(text, html), values))
    plain, rich = part(message, "plain"), part(message, "html")
    assert [re.sub(r"Ada +", "Ada", line.rstrip()) for line in plain.splitlines()] == replaced(
        text, values
    ).splitlines()
    assert re.sub(r' +(?=[<"\r])', "", re.sub(" +", " ", rich)) == replaced(html, values).replace("\n", "\r\n")
    assert f'href="{replaced(link, values)}"' in rich, "a token of 24 characters with its path needs no blank"


def test_text_comes_first_and_latin_text_stays_legible() -> None:
    template = compiled("Grüße aus Aldeva\n", "<p>Поздрав из Алдеве, прва вест данас</p>")
    message = parsed(filled(template, {"to": "ann@example.org"}))
    assert message.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in message.iter_parts()] == ["text/plain", "text/html"]
    assert [p["Content-Transfer-Encoding"] for p in message.iter_parts()] == ["quoted-printable", "base64"]


@given(_BODY, _BODY)
@settings(max_examples=min(100, settings().max_examples))
def test_serialization_is_lossless(text: str, html: str) -> None:
    template = compiled(text, html)
    assert CompiledMessage.deserialize(*template.serialize()) == template
    assert template.size == len(template.serialize()[0])


# Headers.

_SCRIPTS = "aéčŠбЖδΩعהच漢ひ한😀"
_HEADER = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120) | st.lists(
    st.text(_SCRIPTS + " -–,:;()\"'=?_.@", min_size=1, max_size=25), max_size=12
).map(" ".join)


def unfolded(name: str, value: bytes) -> EmailMessage:
    message = name.encode() + b": " + value + b"\r\n\r\n"
    message.decode("ascii")
    lines = message.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert all(line[:1] in (b" ", b"\t") for line in lines[1:-2]), "a folded line begins with a blank"
    assert all(line.strip() for line in lines[:-2]), "RFC 5322 3.2.2: no folded line of blanks alone"
    return email.message_from_bytes(message, policy=email.policy.default)


@settings(max_examples=2 * settings().max_examples)
@given(_HEADER)
@example("=?utf-8?q?hidden?=")
@example("x" * 1200)
@example("x" * 70 + " " * 90 + "y")
@example("Devet zemalja, jedna povelja o rijeci – Тромесечни билтен слива Лумена 2026/3")
@example("a" * 74 + " é")
def test_a_subject_in_any_script_arrives_as_it_was(subject: str) -> None:
    found = unfolded("Subject", header_text(subject, "Subject"))
    assert str(found["Subject"]) == subject


@pytest.mark.parametrize("mark", ["\r", "\n", "\r\nBcc: all@example.org", "\x00", "\x1b", "\x7f", "\x85", "\u2028"])
def test_header_injection_is_impossible(mark: str) -> None:
    with pytest.raises(UnsafeHeader, match="Subject"):
        header_text(f"News{mark}", "Subject")
    with pytest.raises(UnsafeHeader, match="To"):
        mailbox(f"Ann{mark}", "ann@example.org", "To")
    with pytest.raises(UnsafeHeader, match="To"):
        mailbox("Ann", f"ann{mark}@example.org", "To")


@given(_HEADER)
@example("Example, Ann")
@example('Ann "the pen" \\ Example')
@example("Ann <eve@example.net>")
@example("=?utf-8?q?Eve=0D=0ABcc=3A_all=40example=2Eorg?=")
@example("Ж" * 200)
@example('"' * 200)
@example("غيداء العيّنة")
def test_whoever_it_names_a_mailbox_has_one_address(name: str) -> None:
    made = mailbox(name, "ann@example.org", "To")
    header = unfolded("To", made)["To"]
    assert isinstance(header, AddressHeader)
    assert [address.addr_spec for address in header.addresses] == ["ann@example.org"]
    # The standard library's newer parser puts blanks between encoded words; the older does not.
    shown, _ = parseaddr(made.decode().replace("\r\n", ""))
    assert str(make_header(decode_header(shown))) == " ".join(name.split())


def test_non_ascii_address_is_unchanged() -> None:
    assert mailbox("Грета", "грета@example.org", "To").endswith("<грета@example.org>".encode())
    assert mailbox("", "ann@example.org") == b"ann@example.org"


@given(
    st.lists(st.sampled_from(["Ada ", "Žofia ", "слово ", "m1", "m2", "\n", "."]), max_size=30),
    st.sampled_from(["plain ", "это текст "]),
)
def test_the_text_alone_is_the_same_text(words: list[str], rest: str) -> None:
    markers = {"m1": "name", "m2": "address"}
    body = "".join(words) + rest * 20
    headers: list[tuple[str, list[bytes | str]]] = [("To", ["to"]), ("Subject", [b"x"])]
    whole = compile_message(headers, body, f"<p>m1 {body}</p>", markers)
    alone = whole.text_only
    values = {slot: b"V" if "/" not in slot else ENCODERS[slot.split("/")[1]]("Value") for slot in whole.slots}
    mail = email.message_from_bytes(b"".join(whole.fill(values)), policy=email.policy.default)
    text = email.message_from_bytes(b"".join(alone.fill(values)), policy=email.policy.default)
    assert text.get_content_type() == "text/plain"
    assert text["MIME-Version"] == "1.0"
    assert text["To"] == mail["To"]
    part = mail.get_body(("plain",))
    assert part is not None
    assert text.get_content().rstrip() == part.get_content().rstrip()
    assert b"text/html" not in b"".join(alone.literals)
