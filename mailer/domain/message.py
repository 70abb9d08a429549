"""A message is compiled once per edition into literal bytes with slots, and only filled per reader.

A slot in a body stands, while it is being rendered, as a marker: an ASCII word that nobody writes by
chance. ``compile_message`` turns headers and the two bodies into a ``Template``; ``Template.fill`` makes the
bytes for one reader, dot-stuffed and with CRLF, ready to be written to an SMTP connection.

Base64 works on groups of three bytes, so in a base64 body the text before each slot is padded with
blanks, where they mean nothing, to a multiple of three, and so is the slot's value: each slot is then
a line of its own. Quoted-printable needs only a soft line break around the slot (RFC 2045 sections 6.7, 6.8).
"""

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.header import Header
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import pairwise

Slot = str
"""``name`` in a header, ``name/text`` or ``name/html`` in a body with ``+b64`` or ``+qp`` behind it."""

GREETING_BOUNDARY = "greeting"
"""The slot before and behind the greeting. Nothing stands there: see ``Template.nameless``."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


class UnsafeHeader(ValueError):
    """A header value holds a line break or another control character (CVE-2024-6923)."""


def marker(nonce: str, name: str) -> str:
    """The word that stands for a slot while an edition is rendered."""
    return f"slot{nonce}{name}x"


_FOLDABLE_ASCII = re.compile(r"(?!.*=\?)[!-~]{1,60}( [!-~]{1,60})*")
"""Words that can stand as they are and be folded at each blank."""


def header_text(value: str, name: str = "") -> bytes:
    """A header's value, RFC 2047 encoded where needed and folded with CRLF. Raises UnsafeHeader."""
    _reject_control_characters(value, name or "A header")
    return _encode_folded(value, "us-ascii" if _FOLDABLE_ASCII.fullmatch(value) else "utf-8", name)


def _reject_control_characters(value: str, name: str) -> None:
    if found := _CONTROL.search(value):
        raise UnsafeHeader(f"{name} holds the control character {found.group()!r}")


def _encode_folded(value: str, charset: str, name: str) -> bytes:
    # Not EmailMessage, whose folding loses blanks between encoded words on some Python versions.
    made = Header(value, charset, header_name=name, maxlinelen=76).encode()
    return made.replace("\n", "\r\n").encode("ascii")


_ATOM_TEXT = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+")


def mailbox(display: str, address: str, name: str = "") -> bytes:
    """``display <address>`` as a header value. An address outside ASCII is left in UTF-8 (RFC 6532)."""
    _reject_control_characters(display + address, name or "An address")
    display = " ".join(display.split())
    bare = address.encode()
    if not display:
        return bare
    if len(display) > 60 or not display.isascii() or "=?" in display:
        shown = _encode_folded(display, "utf-8", name)
    elif _ATOM_TEXT.fullmatch(display):
        shown = display.encode()
    else:
        shown = b'"' + display.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    gap = b"\r\n " if len(shown.rsplit(b"\n", 1)[-1]) + len(bare) > 66 else b" "
    return shown + gap + b"<" + bare + b">"


_QP_LINE = re.compile(rb".{1,72}(?<!=)(?<!=.)")
"""Some of a line in quoted-printable, no escape cut in two: with its first dot escaped and a soft break behind it,
it is within the 76 of RFC 2045 section 6.7."""


def _qp(data: bytes) -> bytes:
    """Quoted-printable of a piece of a body, CRLF inside; never a line that begins with a dot."""
    return b"\r\n".join(map(_qp_line, data.split(b"\r\n")))


@lru_cache(maxsize=4096)  # the editions of an issue have most lines in common
def _qp_line(line: bytes) -> bytes:
    made = binascii.b2a_qp(line).replace(b"=\n", b"")
    return b"=\r\n".join(
        [b"=2E" + one[1:] if one.startswith(b".") else one for one in _QP_LINE.findall(made)]
    )


_NEEDS_NO_ENCODING = re.compile(r"[A-Za-z0-9+/_@-](?:[A-Za-z0-9+/_@. -]{0,60}[A-Za-z0-9+/_@-])?")
"""Most addresses, names and tokens: the same in quoted-printable and in HTML."""


def _qp_value(value: str) -> bytes:
    return _qp(_CONTROL.sub(" ", value).encode())


def _b64_value(value: str) -> bytes:
    data = _CONTROL.sub(" ", value).encode()
    made = binascii.b2a_base64(data + b" " * (-len(data) % 3), newline=False)
    if len(made) <= 76:
        return made
    return b"\r\n".join(made[at : at + 76] for at in range(0, len(made), 76))


def _escape_html(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


ENCODERS: Mapping[str, Callable[[str], bytes]] = {
    "text+qp": _qp_value,
    "text+b64": _b64_value,
    "html+qp": lambda value: _qp_value(_escape_html(value)),
    "html+b64": lambda value: _b64_value(_escape_html(value)),
}
"""How the value of a body's slot is written, by the part and its encoding."""


class _CannotPad(ValueError):
    """There is no blank before a slot that could be widened."""


def _pad(data: bytes, kind: str, by: int) -> bytes:
    """``data`` with ``by`` blanks more, put where they mean nothing: at the end of a line of text, or
    beside a blank of HTML (the nearest one before a slot stands between words or attributes)."""
    if not by:
        return data
    at = data.rfind(b"\r\n") if kind == "text" else max(data.rfind(b" "), data.rfind(b"\r\n"))
    if at < 0:
        raise _CannotPad
    return data[:at] + b" " * by + data[at:]


def _base64_lines(data: bytes) -> bytes:
    coded = binascii.b2a_base64(data, newline=False)
    return b"\r\n".join([coded[at : at + 76] for at in range(0, len(coded), 76)])


_Piece = bytes | Slot


@lru_cache(maxsize=16)  # the same for all editions that are compiled in a row
def _marker_pattern(markers: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"(%s)" % b"|".join(map(re.escape, markers)))


def _pieces(body: bytes, kind: str, markers: Mapping[bytes, str], encoding: str) -> list[_Piece]:
    """A body as literal bytes and slots in turn, encoded. ``markers`` maps a marker to its slot's name."""
    found = _marker_pattern(tuple(markers)).split(body) if markers else [body]
    pieces: list[_Piece] = []
    line = False  # whether a slot that takes a line of its own comes before
    for number, data in enumerate(found):
        if number % 2:
            pieces.append(f"{markers[data]}/{kind}+{encoding}")
            line = markers[data] != GREETING_BOUNDARY
            continue
        last = number == len(found) - 1
        if encoding == "b64":
            made = _base64_lines(data if last else _pad(data, kind, -len(data) % 3))
            before = b"\r\n" if line and made else b""
            after = b"" if last or not made else b"\r\n"
            if not made and line and not last:  # two slots side by side
                after = b"\r\n"
            pieces.append(before + made + after)
        else:
            pieces.append((b"=\r\n" if line else b"") + _qp(data) + (b"" if last else b"=\r\n"))
    return pieces


_QP_LITERALS = bytes(byte for byte in range(32, 127) if byte != ord("=")) + b"\r\n"
"""What quoted-printable leaves as it is."""


def _mime_part(body: bytes, kind: str, markers: Mapping[bytes, str]) -> list[_Piece]:
    """One MIME part, in the encoding that is shorter: Latin text is quoted-printable, others are base64."""
    # Base64 adds a byte to every three, quoted-printable two to each that it escapes, and soft line breaks.
    encoding = "b64" if 5 * len(body.translate(None, _QP_LITERALS)) > len(body) else "qp"
    try:
        coded = _pieces(body, kind, markers, encoding)
    except _CannotPad:
        encoding = "qp"
        coded = _pieces(body, kind, markers, encoding)
    head = b'Content-Type: text/%s; charset="utf-8"\r\nContent-Transfer-Encoding: %s\r\n\r\n' % (
        b"plain" if kind == "text" else b"html",
        b"base64" if encoding == "b64" else b"quoted-printable",
    )
    return [head, *coded, b"\r\n"]


def _with_crlf(body: str) -> bytes:
    """A body as bytes: every line ends in CRLF, also the last one."""
    data = body.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (data if data.endswith(b"\n") else data + b"\n").replace(b"\n", b"\r\n")


# How compile_message opens a message with two parts, and the second of them.
_MULTIPART = re.compile(
    rb'MIME-Version: 1\.0\r\nContent-Type: multipart/alternative;\r\n boundary="=_[0-9a-f]{32}"\r\n\r\n'
    rb"--=_[0-9a-f]{32}\r\n"
)
_HTML_PART = re.compile(rb"--=_[0-9a-f]{32}\r\nContent-Type: text/html")


@dataclass(frozen=True)
class CompiledMessage:
    """A compiled message: ``literals`` has one element more than ``slots``; they take turns."""

    literals: tuple[bytes, ...]
    slots: tuple[Slot, ...]

    @cached_property
    def size(self) -> int:
        """Bytes without the slots' values."""
        return sum(map(len, self.literals))

    @cached_property
    def _boundary_values(self) -> dict[Slot, bytes]:
        return {slot: b"" for slot in self.slots if slot.partition("/")[0] == GREETING_BOUNDARY}

    @cached_property
    def _body_slots(self) -> Sequence[tuple[str, Sequence[Slot], Sequence[Slot]]]:
        """Of each name in the bodies, its slots in quoted-printable and its others."""
        found: dict[str, tuple[list[Slot], list[Slot]]] = {}
        for slot in dict.fromkeys(self.slots):
            name, _, form = slot.partition("/")
            if form and name != GREETING_BOUNDARY:
                found.setdefault(name, ([], []))[not form.endswith("+qp")].append(slot)
        return [(name, *slots) for name, slots in found.items()]

    def encode_slots(self, texts: Mapping[str, str]) -> dict[Slot, bytes]:
        """The values of all slots in the bodies. ``words`` has every name."""
        values = self._boundary_values.copy()
        for name, printable, others in self._body_slots:
            word = texts[name]
            if _NEEDS_NO_ENCODING.fullmatch(word):
                plain = word.encode()
                for slot in printable:
                    values[slot] = plain
            else:
                others = (*printable, *others)
            for slot in others:
                values[slot] = ENCODERS[slot.partition("/")[2]](word)
        return values

    @cached_property
    def text_only(self) -> "CompiledMessage":
        """The same message with its text part alone, for readers who want no HTML."""
        whole = self.literals
        head = next(n for n, literal in enumerate(whole) if _MULTIPART.search(literal))
        tail = next(n for n, literal in enumerate(whole) if _HTML_PART.search(literal))
        literals = list(whole[: tail + 1])
        literals[tail] = _HTML_PART.split(literals[tail], maxsplit=1)[0]
        literals[head] = _MULTIPART.sub(b"MIME-Version: 1.0\r\n", literals[head], count=1)
        return CompiledMessage(tuple(literals), self.slots[:tail])

    @cached_property
    def without_greeting(self) -> "CompiledMessage":
        """The same message without the greeting, for readers without a name."""
        literals, slots, within = [self.literals[0]], list[Slot](), False
        for slot, literal in zip(self.slots, self.literals[1:], strict=True):
            within ^= slot in self._boundary_values
            if not within:
                slots.append(slot)
                literals.append(literal)
        return CompiledMessage(tuple(literals), tuple(slots))

    def fill(self, values: Mapping[Slot, bytes]) -> list[bytes]:
        """The message for one reader, as segments to be written in order. ``values`` has every slot."""
        segments: list[bytes] = [b""] * (2 * len(self.slots) + 1)
        segments[::2] = self.literals
        segments[1::2] = [values[slot] for slot in self.slots]
        return segments

    def serialize(self) -> tuple[bytes, list[list[object]]]:
        """For storage: the literals joined, and ``[offset, slot]`` pairs."""
        offsets: list[list[object]] = []
        at = 0
        for literal, slot in zip(self.literals, self.slots, strict=False):
            at += len(literal)
            offsets.append([at, slot])
        return b"".join(self.literals), offsets

    @classmethod
    def deserialize(cls, message: bytes, offsets: Sequence[Sequence[object]]) -> "CompiledMessage":
        cuts = [0, *(int(str(at)) for at, _ in offsets), len(message)]
        return cls(
            tuple(message[a:b] for a, b in pairwise(cuts)),
            tuple(str(slot) for _, slot in offsets),
        )


def compile_message(
    headers: Sequence[tuple[str, Sequence[_Piece]]],
    text: str,
    html: str,
    markers: Mapping[str, str],
) -> CompiledMessage:
    """The template of a multipart/alternative message: text first, then HTML (RFC 2046 section 5.1.4).

    ``headers``: name and value, the value as literal bytes and slots in turn. ``markers``: marker → slot.
    """
    plain, rich = _with_crlf(text), _with_crlf(html)
    # No encoded body can hold "=_" (RFC 2045 section 6.7); the rest only makes messages differ.
    boundary = b"=_" + sha256(plain).hexdigest()[:32].encode()
    names = {word.encode(): name for word, name in markers.items()}
    pieces: list[_Piece] = []
    for name, value in headers:
        pieces += [name.encode("ascii") + b": ", *value, b"\r\n"]
    pieces += [
        b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary="%s"\r\n\r\n' % boundary,
        b"--%s\r\n" % boundary,
        *_mime_part(plain, "text", names),
        b"--%s\r\n" % boundary,
        *_mime_part(rich, "html", names),
        b"--%s--\r\n" % boundary,
    ]
    literals: list[list[bytes]] = [[]]
    slots: list[Slot] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            literals[-1].append(piece)
        else:
            slots.append(piece)
            literals.append([])
    return CompiledMessage(tuple(map(b"".join, literals)), tuple(slots))
