"""Compiles a message once per edition into literal bytes with slots, which are filled for each reader.

While a body is rendered, each slot is represented by a marker: an ASCII word that does not occur otherwise.
``compile_message`` turns headers and two bodies into a ``CompiledMessage``. Its method ``fill`` returns the
bytes for one reader, dot-stuffed and with CRLF, ready for an SMTP connection.

Base64 encodes groups of three bytes. In a base64 body, the text before each slot and the slot's value are
therefore padded with insignificant spaces to a multiple of three, and each slot is on a line of its own.
Quoted-printable needs only a soft line break around the slot (RFC 2045 sections 6.7 and 6.8).
"""

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.header import Header
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import pairwise

from mailer.domain.errors import UserError

Slot = str
"""``name`` in a header; ``name/text`` or ``name/html`` plus ``+b64`` or ``+qp`` in a body."""

GREETING_BOUNDARY = "greeting"
"""Empty slots that mark where the greeting starts and ends; ``without_greeting`` cuts between them."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


class UnsafeHeader(UserError, ValueError):
    """A header value with a line break or another control character (CVE-2024-6923)."""


def marker(nonce: str, name: str) -> str:
    """Return the word that represents a slot while an edition is rendered."""
    return f"slot{nonce}{name}x"


_FOLDABLE_ASCII = re.compile(r"(?!.*=\?)[!-~]{1,60}( [!-~]{1,60})*")
"""ASCII text that needs no encoding and can be folded at each space."""


def header_text(value: str, name: str = "") -> bytes:
    """Return a header's value, encoded if necessary (RFC 2047) and folded. Raises UnsafeHeader."""
    _reject_control_characters(value, name or "A header")
    return _encode_folded(value, "us-ascii" if _FOLDABLE_ASCII.fullmatch(value) else "utf-8", name)


def _reject_control_characters(value: str, name: str) -> None:
    if match := _CONTROL.search(value):
        raise UnsafeHeader(f"{name} contains the control character {match.group()!r}")


def _encode_folded(value: str, charset: str, name: str) -> bytes:
    # Not EmailMessage: on some Python versions its folding loses spaces between encoded words.
    folded = Header(value, charset, header_name=name, maxlinelen=76).encode()
    return folded.replace("\n", "\r\n").encode("ascii")


_ATOM_TEXT = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+")


def mailbox(display: str, address: str, name: str = "") -> bytes:
    """Return ``display <address>`` as a header value. A non-ASCII address stays UTF-8 (RFC 6532)."""
    _reject_control_characters(display + address, name or "An address")
    display = " ".join(display.split())
    address_bytes = address.encode()
    if not display:
        return address_bytes
    if len(display) > 60 or not display.isascii() or "=?" in display:
        encoded_name = _encode_folded(display, "utf-8", name)
    elif _ATOM_TEXT.fullmatch(display):
        encoded_name = display.encode()
    else:
        encoded_name = b'"' + display.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    space = b"\r\n " if len(encoded_name.rsplit(b"\n", 1)[-1]) + len(address_bytes) > 66 else b" "
    return encoded_name + space + b"<" + address_bytes + b">"


_QP_LINE = re.compile(rb".{1,72}(?<!=)(?<!=.)")
"""A piece of a quoted-printable line that does not cut an escape in two. With an escaped first dot and a
soft line break it has at most 76 characters (RFC 2045 section 6.7)."""


def _qp(data: bytes) -> bytes:
    """Return a piece of a body as quoted-printable with CRLF. No line begins with a dot."""
    return b"\r\n".join(map(_qp_line, data.split(b"\r\n")))


@lru_cache(maxsize=4096)  # the editions of an issue share most lines
def _qp_line(line: bytes) -> bytes:
    encoded = binascii.b2a_qp(line).replace(b"=\n", b"")
    return b"=\r\n".join(
        [b"=2E" + piece[1:] if piece.startswith(b".") else piece for piece in _QP_LINE.findall(encoded)]
    )


_NEEDS_NO_ENCODING = re.compile(r"[A-Za-z0-9+/_@-](?:[A-Za-z0-9+/_@. -]{0,60}[A-Za-z0-9+/_@-])?")
"""Values that need no encoding in quoted-printable or HTML: most addresses, names and tokens."""


def _qp_value(value: str) -> bytes:
    return _qp(_CONTROL.sub(" ", value).encode())


def _b64_value(value: str) -> bytes:
    data = _CONTROL.sub(" ", value).encode()
    encoded = binascii.b2a_base64(data + b" " * (-len(data) % 3), newline=False)
    if len(encoded) <= 76:
        return encoded
    return b"\r\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))


def _escape_html(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


ENCODERS: Mapping[str, Callable[[str], bytes]] = {
    "text+qp": _qp_value,
    "text+b64": _b64_value,
    "html+qp": lambda value: _qp_value(_escape_html(value)),
    "html+b64": lambda value: _b64_value(_escape_html(value)),
}
"""Functions that encode a slot's value, by MIME part and transfer encoding."""


class _CannotPad(ValueError):
    """There is no space before a slot to pad."""


def _pad(data: bytes, kind: str, by: int) -> bytes:
    """Insert ``by`` insignificant spaces: at the end of a line of text, or next to a space in HTML.

    In HTML, the last space before a slot separates words or attributes.
    """
    if not by:
        return data
    at = data.rfind(b"\r\n") if kind == "text" else max(data.rfind(b" "), data.rfind(b"\r\n"))
    if at < 0:
        raise _CannotPad
    return data[:at] + b" " * by + data[at:]


def _base64_lines(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[at : at + 76] for at in range(0, len(encoded), 76)])


_Piece = bytes | Slot


@lru_cache(maxsize=16)  # editions compiled together have the same markers
def _marker_pattern(markers: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"(%s)" % b"|".join(map(re.escape, markers)))


def _pieces(body: bytes, kind: str, markers: Mapping[bytes, str], encoding: str) -> list[_Piece]:
    """Return an encoded body as literal bytes and slots in turn. ``markers``: marker → slot name."""
    segments = _marker_pattern(tuple(markers)).split(body) if markers else [body]
    pieces: list[_Piece] = []
    after_value = False  # whether the previous slot has a value, which is a line of its own
    for number, data in enumerate(segments):
        if number % 2:
            pieces.append(f"{markers[data]}/{kind}+{encoding}")
            after_value = markers[data] != GREETING_BOUNDARY
            continue
        last = number == len(segments) - 1
        if encoding == "b64":
            encoded = _base64_lines(data if last else _pad(data, kind, -len(data) % 3))
            before = b"\r\n" if after_value and encoded else b""
            after = b"" if last or not encoded else b"\r\n"
            if not encoded and after_value and not last:  # two slots side by side
                after = b"\r\n"
            pieces.append(before + encoded + after)
        else:
            pieces.append((b"=\r\n" if after_value else b"") + _qp(data) + (b"" if last else b"=\r\n"))
    return pieces


_QP_LITERALS = bytes(byte for byte in range(32, 127) if byte != ord("=")) + b"\r\n"
"""Bytes that quoted-printable does not change."""


def _mime_part(body: bytes, kind: str, markers: Mapping[bytes, str]) -> list[_Piece]:
    """Return a MIME part in the shorter encoding: quoted-printable for Latin text, else base64."""
    # Base64 adds one byte to every three. Quoted-printable adds two to each escaped byte, and line breaks.
    encoding = "b64" if 5 * len(body.translate(None, _QP_LITERALS)) > len(body) else "qp"
    try:
        pieces = _pieces(body, kind, markers, encoding)
    except _CannotPad:
        encoding = "qp"
        pieces = _pieces(body, kind, markers, encoding)
    head = b'Content-Type: text/%s; charset="utf-8"\r\nContent-Transfer-Encoding: %s\r\n\r\n' % (
        b"plain" if kind == "text" else b"html",
        b"base64" if encoding == "b64" else b"quoted-printable",
    )
    return [head, *pieces, b"\r\n"]


def _with_crlf(body: str) -> bytes:
    """Return a body as bytes. Every line ends in CRLF, including the last."""
    data = body.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (data if data.endswith(b"\n") else data + b"\n").replace(b"\n", b"\r\n")


# The start of the first and second part, as compile_message writes them.
_MULTIPART = re.compile(
    rb'MIME-Version: 1\.0\r\nContent-Type: multipart/alternative;\r\n boundary="=_[0-9a-f]{32}"\r\n\r\n'
    rb"--=_[0-9a-f]{32}\r\n"
)
_HTML_PART = re.compile(rb"--=_[0-9a-f]{32}\r\nContent-Type: text/html")


@dataclass(frozen=True)
class CompiledMessage:
    """A compiled message: literals and slots in turn, with one literal more than slots."""

    literals: tuple[bytes, ...]
    slots: tuple[Slot, ...]

    @cached_property
    def size(self) -> int:
        """The length in bytes without the slots' values."""
        return sum(map(len, self.literals))

    @cached_property
    def _boundary_values(self) -> dict[Slot, bytes]:
        return {slot: b"" for slot in self.slots if slot.partition("/")[0] == GREETING_BOUNDARY}

    @cached_property
    def _body_slots(self) -> Sequence[tuple[str, Sequence[Slot], Sequence[Slot]]]:
        """For each slot name in the bodies, its quoted-printable slots and its other slots."""
        by_name: dict[str, tuple[list[Slot], list[Slot]]] = {}
        for slot in dict.fromkeys(self.slots):
            name, _, form = slot.partition("/")
            if form and name != GREETING_BOUNDARY:
                by_name.setdefault(name, ([], []))[not form.endswith("+qp")].append(slot)
        return [(name, *slots) for name, slots in by_name.items()]

    def encode_slots(self, texts: Mapping[str, str]) -> dict[Slot, bytes]:
        """Return the encoded values of all slots in the bodies. ``texts`` must have every slot name."""
        values = self._boundary_values.copy()
        for name, printable, others in self._body_slots:
            text = texts[name]
            if _NEEDS_NO_ENCODING.fullmatch(text):
                plain = text.encode()
                for slot in printable:
                    values[slot] = plain
            else:
                others = (*printable, *others)
            for slot in others:
                values[slot] = ENCODERS[slot.partition("/")[2]](text)
        return values

    @cached_property
    def text_only(self) -> "CompiledMessage":
        """The message with its text part only, for readers who do not want HTML."""
        head = next(n for n, literal in enumerate(self.literals) if _MULTIPART.search(literal))
        tail = next(n for n, literal in enumerate(self.literals) if _HTML_PART.search(literal))
        literals = list(self.literals[: tail + 1])
        literals[tail] = _HTML_PART.split(literals[tail], maxsplit=1)[0]
        literals[head] = _MULTIPART.sub(b"MIME-Version: 1.0\r\n", literals[head], count=1)
        return CompiledMessage(tuple(literals), self.slots[:tail])

    @cached_property
    def without_greeting(self) -> "CompiledMessage":
        """The message without the greeting, for readers without a name."""
        literals, slots, within = [self.literals[0]], list[Slot](), False
        for slot, literal in zip(self.slots, self.literals[1:], strict=True):
            within ^= slot in self._boundary_values
            if not within:
                slots.append(slot)
                literals.append(literal)
        return CompiledMessage(tuple(literals), tuple(slots))

    def fill(self, values: Mapping[Slot, bytes]) -> list[bytes]:
        """Return the message for one reader as segments in order. ``values`` must have every slot."""
        segments: list[bytes] = [b""] * (2 * len(self.slots) + 1)
        segments[::2] = self.literals
        segments[1::2] = [values[slot] for slot in self.slots]
        return segments

    def serialize(self) -> tuple[bytes, list[list[object]]]:
        """Return the joined literals and ``[offset, slot]`` pairs, for storage."""
        offsets: list[list[object]] = []
        at = 0
        for literal, slot in zip(self.literals, self.slots, strict=False):
            at += len(literal)
            offsets.append([at, slot])
        return b"".join(self.literals), offsets

    @classmethod
    def deserialize(cls, message: bytes, offsets: Sequence[Sequence[object]]) -> "CompiledMessage":
        """Return the message that ``serialize`` stored."""
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
    """Compile a multipart/alternative message: text first, then HTML (RFC 2046 section 5.1.4).

    ``headers`` are names and values; a value is a sequence of literal bytes and slots. ``markers`` maps a
    marker in the bodies to its slot.
    """
    plain, rich = _with_crlf(text), _with_crlf(html)
    # No encoded body contains "=_" (RFC 2045 section 6.7). The hash only distinguishes messages.
    boundary = b"=_" + sha256(plain).hexdigest()[:32].encode()
    names = {marker.encode(): name for marker, name in markers.items()}
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
