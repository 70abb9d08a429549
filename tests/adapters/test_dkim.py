"""Signatures are verified by dkimpy, which is checked with the example of RFC 8463."""

from base64 import b64decode, b64encode
from hashlib import sha256

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.adapters.dkim import InvalidKey, Key, Signer, new_private_key
from mailer.domain import headers
from mailer.domain.dkim import KeyKind
from mailer.domain.headers import SenderIdentity, edition_headers
from mailer.domain.message import ENCODERS, Slot, compile_message, mailbox, marker


class Invalid(Exception):
    """A signature does not hold."""


def tags_of(value: str) -> dict[str, str]:
    """Section 3.2. Blanks inside values mean nothing in the tags that are used here."""
    found: dict[str, str] = {}
    for one in value.strip().removesuffix(";").split(";"):
        name, _, said = one.partition("=")
        assert name.strip() not in found
        found[name.strip()] = "".join(said.split())
    return found


def fields_of(head: bytes) -> list[bytes]:
    """Each field with its folding and its line end."""
    fields: list[bytes] = []
    for line in head.splitlines(keepends=True):
        if line[:1] in (b" ", b"\t"):
            fields[-1] += line
        else:
            fields.append(line)
    return fields


def verified(message: bytes, records: dict[str, str]) -> list[dict[str, str]]:
    """The tags of each signature of a message, which dkimpy finds valid. Raises Invalid."""
    fields = fields_of(message.partition(b"\r\n\r\n")[0] + b"\r\n")
    ours = [field for field in fields if field.lower().startswith(b"dkim-signature:")]
    for number in range(len(ours)):
        try:
            holds = dkim.DKIM(message).verify(number, lambda name, timeout: records[name.decode().rstrip(".")])
        except dkim.ValidationError as error:
            raise Invalid("body" if "body hash" in str(error) else str(error)) from None
        if not holds:
            raise Invalid("head")
    return [tags_of(field.split(b":", 1)[1].decode()) for field in ours]


# The example of RFC 8463, appendix A.

RFC_MESSAGE = """\
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

""".replace("\n", "\r\n").encode()
RFC_ED25519 = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
""".replace("\n", "\r\n").encode()
RFC_RSA = """\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
""".replace("\n", "\r\n").encode()
RFC_RECORDS = {
    "brisbane._domainkey.football.example.com": ("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    "test._domainkey.football.example.com": (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/b"
        "yYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKr"
        "M3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K"
        "4w3QIDAQAB"
    ),
}
RFC_PRIVATE = Ed25519PrivateKey.from_private_bytes(b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))


def pem(key: rsa.RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_verifier_accepts_the_example_of_the_standard() -> None:
    assert len(verified(RFC_ED25519 + RFC_RSA + RFC_MESSAGE, RFC_RECORDS)) == 2
    with pytest.raises(Invalid, match="body"):
        verified(RFC_ED25519 + RFC_MESSAGE.replace(b"lost", b"won"), RFC_RECORDS)
    for field in (RFC_ED25519, RFC_RSA):
        with pytest.raises(Invalid, match="head"):
            verified(field + RFC_MESSAGE.replace(b"dinner", b"lunch"), RFC_RECORDS)


def test_signature_with_the_standards_key_verifies_with_its_record() -> None:
    key = Key("football.example.com", "brisbane", pem(RFC_PRIVATE))
    assert {key.txt_name: key.txt_record}.items() <= RFC_RECORDS.items()
    assert verified(Signer([key]).sign([RFC_MESSAGE]) + RFC_MESSAGE, RFC_RECORDS)[0]["d"] == key.domain


# Our own messages.

KEYS = [Key("example.org", f"s-{kind}", new_private_key(kind)) for kind in KeyKind]
SIGNER = Signer(KEYS)
RECORDS = {key.txt_name: key.txt_record for key in KEYS}
ORIGIN = SenderIdentity(
    "Алдева", "news@example.org", "desk@example.org", "news.example.org", "news", "bounces.example.org",
    "https://news.example.org/", "7:sr-Cyrl:news",
)  # fmt: skip
MARKERS = {marker("0a1b2c", name): name for name in ("name", "unsubscribe")}


def filled(subject: str, text: str, html: str, name: str) -> list[bytes]:
    template = compile_message(edition_headers(ORIGIN, subject, "sr-Cyrl"), text, html, MARKERS)
    token = "t" * 22
    values: dict[Slot, bytes] = {
        headers.TO: mailbox(name, "ann@example.org", "To"),
        headers.DATE: b"Wed, 30 Sep 2026 09:00:00 +0000",
        headers.MESSAGE_ID: b"0" * 32,
        headers.UNSUBSCRIBE: token.encode(),
        headers.MAILTO_UNSUBSCRIBE: b"1" * 32,
    }
    for slot in template.slots:
        word, _, form = slot.partition("/")
        if form:
            values[slot] = ENCODERS[form]({"name": name, "unsubscribe": f"u/{token}"}[word])
    return template.fill(values)


LATIN = filled("Treća povelja", "Zdravo!\n\n.\n", "<p>  Zdravo, reko  </p>\n" * 400, "Ana")
CYRILLIC = filled("Трећа повеља " * 20, "Здраво!\n" * 50, "<p>  Здраво, реко  </p>\n" * 400, "Ана")
SHORT_OF_TEXT = filled("", "", "", "")

_WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
_LINE = st.text(st.sampled_from("Ждравоаяéa .=\t-<>&,"), max_size=90)
_BODY = st.lists(_LINE | st.sampled_from([*MARKERS, ".", " ", ".."]), max_size=12).map("\n".join)


@given(_WORD, _BODY, _BODY, _WORD)
@example("Ж" * 300, "ж" * 200, ".\n..\n" + next(iter(MARKERS)), ".")
@example("x" * 1200, "", "", "Ж" * 200)
def test_any_message_verifies_with_each_key(subject: str, text: str, html: str, name: str) -> None:
    segments = filled(subject, text, html, name)
    message = b"".join(segments)
    lines = message.split(b"\r\n")
    assert not any(line.startswith(b".") for line in lines), "SMTP would double its dot"
    body = message.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert not any(line.endswith((b" ", b"\t")) for line in body), "a relay might cut its blanks"
    found = verified(SIGNER.sign(segments) + message, RECORDS)
    assert [tags["a"] for tags in found] == ["rsa-sha256", "ed25519-sha256"]


@pytest.mark.parametrize("segments", [LATIN, CYRILLIC, SHORT_OF_TEXT], ids=["latin", "cyrillic", "empty"])
def test_segment_boundaries_do_not_change_the_signature(segments: list[bytes]) -> None:
    message = b"".join(segments)
    for pieces in ([message], [message[at : at + 1] for at in range(len(message))]):
        assert len(verified(SIGNER.sign(pieces) + message, RECORDS)) == 2


@pytest.mark.parametrize("body", [b"", b"\r\n", b"a", b"a\r\n", b"a\r\n\r\n\r\n", b"\r\n\r\na\r\n"])
def test_empty_lines_at_the_end_do_not_count(body: bytes) -> None:
    head = b"From: a@example.org\r\nSubject: x\r\n\r\n"
    signature = SIGNER.sign([head + body])
    assert verified(signature + head + body, RECORDS)
    assert verified(signature + head + body + b"\r\n" * (3 if body[-2:] == b"\r\n" else 0), RECORDS)


def test_bare_line_end_is_not_an_empty_line() -> None:
    """dkimpy reads bare line ends as whole ones, so that its word does not count here."""
    body = b"a\n\r\r\n"
    signature = SIGNER.sign([b"From: a@example.org\r\n\r\n" + body])
    for field in fields_of(signature):
        assert tags_of(field.split(b":", 1)[1].decode())["bh"] == b64encode(sha256(body).digest()).decode()


def test_the_field_is_folded_dated_and_without_a_length() -> None:
    signature = SIGNER.sign(CYRILLIC)
    assert max(map(len, signature.split(b"\r\n"))) <= 78
    assert len(fields_of(signature)) == 2
    for tags in verified(signature + b"".join(CYRILLIC), RECORDS):
        assert tags["c"] == "relaxed/simple"
        assert tags["d"] == "example.org"
        assert tags["t"].isdecimal()
        assert "l" not in tags


COVERED = [
    "From",
    "To",
    "Subject",
    "Date",
    "Reply-To",
    "Message-ID",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-ID",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Language",
]


@pytest.mark.parametrize("name", COVERED)
def test_a_signed_field_can_be_neither_changed_nor_removed(name: str) -> None:
    message, signature = b"".join(LATIN), SIGNER.sign(LATIN)
    found = [f for f in fields_of(message.split(b"\r\n\r\n")[0] + b"\r\n") if f.startswith(f"{name}:".encode())]
    assert len(found) == 1
    changed = found[0].replace(b"\r\n", b"x\r\n", 1)
    for instead in (b"", changed):
        with pytest.raises(Invalid, match="head"):
            verified(signature + message.replace(found[0], instead, 1), RECORDS)


@pytest.mark.parametrize("name", ["From", "To", "Subject", "Date", "Reply-To"])
@pytest.mark.parametrize("reply_to", [True, False])
def test_a_field_that_occurs_once_cannot_be_added(name: str, reply_to: bool) -> None:
    message = b"".join(LATIN)
    if not reply_to:
        message = message.replace(b"Reply-To: desk@example.org\r\n", b"")
        assert b"Reply-To" not in message
    signature = SIGNER.sign([message])
    assert verified(signature + message, RECORDS)
    with pytest.raises(Invalid, match="head"):
        verified(signature + f"{name}: eve@example.net\r\n".encode() + message, RECORDS)


def test_every_field_of_a_repeated_name_is_signed() -> None:
    message = b"List-ID: <other.example.org>\r\n" + b"".join(LATIN)
    signature = SIGNER.sign([message])
    assert len(verified(signature + message, RECORDS)) == 2
    with pytest.raises(Invalid, match="head"):
        verified(signature + b"".join(LATIN), RECORDS)


def test_header_changes_by_relays_keep_the_signature_valid() -> None:
    message = b"".join(CYRILLIC)
    signature = SIGNER.sign(CYRILLIC)
    received = b"Received: from a\r\n\tby b; Wed, 30 Sep 2026 09:00:01 +0000\r\n"
    assert len(verified(received + signature + message, RECORDS)) == 2
    head, body = (signature + message).split(b"\r\n\r\n", 1)
    again = head.replace(b"\r\n ", b" \r\n\t ").replace(b"Subject: ", b"SUBJECT:   ")
    assert again != head
    assert len(verified(again + b"\r\n\r\n" + body, RECORDS)) == 2


@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_body_cannot_be_changed(at: float) -> None:
    head, body = b"".join(LATIN).split(b"\r\n\r\n", 1)
    cut = int(at * len(body))
    with pytest.raises(Invalid, match="body"):
        verified(SIGNER.sign(LATIN) + head + b"\r\n\r\n" + body[:cut] + b"x" + body[cut:], RECORDS)


def test_non_ascii_address_is_signed_as_its_bytes() -> None:
    message = b"".join(LATIN).replace(b"ann@example.org", "грета@example.org".encode())
    assert "грета".encode() in message
    assert len(verified(SIGNER.sign([message]) + message, RECORDS)) == 2


def test_without_keys_no_signature_is_added() -> None:
    assert Signer([]).sign(LATIN) == b""


# Keys.


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "not contain a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not contain a private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA and Ed25519"),
        (pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (
            RFC_PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
            "password",
        ),
    ],
    ids=["empty", "broken", "elliptic", "short", "encrypted"],
)
def test_a_key_that_cannot_sign_is_refused(held: bytes, said: str) -> None:
    with pytest.raises(InvalidKey, match=said):
        Key("example.org", "s1", held)


def test_key_in_pkcs1_format_is_accepted() -> None:
    made = rsa.generate_private_key(65537, 2048)
    held = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert held.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    key = Key("example.org", "s1", held)
    message = b"".join(LATIN)
    assert verified(Signer([key]).sign(LATIN) + message, {key.txt_name: key.txt_record})
