"""The headers that mailbox providers require of bulk mail (RFC 2369, 2919, 8058)."""

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from mailer.domain import headers
from mailer.domain.headers import SenderIdentity, edition_headers
from mailer.domain.message import CompiledMessage, UnsafeHeader, compile_message, mailbox

ORIGIN = SenderIdentity(
    sender_name="The Lumen Basin Quarterly",
    sender_address="quarterly@lumen-basin.example.org",
    reply_to="answers@example.org",
    list_id="quarterly.lumen-basin.example.org",
    list_name="lumen-basin",
    bounce_domain="bounces.example.org",
    page_url_prefix="https://news.example.org/",
    feedback_id="7:sr-Latn:lumen-basin",
    archive_url="https://news.example.org/archive/lumen-basin",
)
HOSTILE = "News\r\nBcc: everybody@example.org"
TOKEN = "AbCdEfGhIjKlMnOpQrSt-_"
MAIL_TOKEN = "abcdefghijklmnopqrstuvwxyz"


def raw(origin: SenderIdentity = ORIGIN, subject: str = "News", reader: str = "ann", token: str = TOKEN) -> bytes:
    template: CompiledMessage = compile_message(edition_headers(origin, subject, "sr-Latn"), "text", "<p>html", {})
    values = {
        headers.TO: mailbox(reader.title(), f"{reader}@example.org", "To"),
        headers.DATE: b"Wed, 30 Sep 2026 09:00:00 +0000",
        headers.MESSAGE_ID: MAIL_TOKEN.encode(),
        headers.UNSUBSCRIBE: token.encode(),
        headers.MAILTO_UNSUBSCRIBE: MAIL_TOKEN.encode(),
    }
    assert set(template.slots) == set(values)
    return b"".join(template.fill(values))


def parsed(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, policy=email.policy.default)


def field(message: bytes, name: str) -> bytes:
    """A header's value as it stands on the wire, folds and all."""
    head = message.split(b"\r\n\r\n", 1)[0]
    lines = head.split(b"\r\n")
    at = next(at for at, line in enumerate(lines) if line.startswith(name.encode() + b": "))
    value = [lines[at].removeprefix(name.encode() + b": ")]
    for line in lines[at + 1 :]:
        if not line.startswith(b" "):
            break
        value.append(line)
    return b"\r\n".join(value)


def test_every_header_occurs_once() -> None:
    message = parsed(raw())
    names = [name.lower() for name in message]
    assert len(names) == len(set(names))
    required = ["date", "from", "to", "subject", "message-id", "mime-version", "content-type"]
    assert set(required) <= set(names)


def test_unsubscribing_takes_one_click() -> None:
    message = raw()
    assert field(message, "List-Unsubscribe-Post") == b"List-Unsubscribe=One-Click"
    assert field(message, "List-Unsubscribe") == (
        b"<https://news.example.org/u/AbCdEfGhIjKlMnOpQrSt-_>,\r\n"
        b" <mailto:unsubscribe+abcdefghijklmnopqrstuvwxyz@bounces.example.org?subject=unsubscribe>"
    )


def test_a_long_public_address_is_neither_encoded_nor_folded() -> None:
    long = "https://" + "newsletters." * 12 + "example.org/" + "letters-from-the-river/" * 8
    value = field(raw(replace(ORIGIN, page_url_prefix=long)), "List-Unsubscribe")
    assert b"=?" not in value
    assert [part.strip() for part in value.split(b"\r\n")] == [
        b"<%su/%s>," % (long.encode(), TOKEN.encode()),
        b"<mailto:unsubscribe+%s@bounces.example.org?subject=unsubscribe>" % MAIL_TOKEN.encode(),
    ]


def test_the_list_is_named() -> None:
    message = raw()
    assert field(message, "List-ID") == b"lumen-basin <quarterly.lumen-basin.example.org>"
    assert field(message, "List-Help") == b"<mailto:answers@example.org?subject=help>"
    assert field(message, "List-Owner") == b"<mailto:answers@example.org>"
    assert field(message, "List-Archive") == b"<https://news.example.org/archive/lumen-basin>"
    assert b"List-Archive" not in raw(replace(ORIGIN, archive_url="")), "a private newsletter has none"
    assert field(message, "Content-Language") == b"sr-Latn"
    assert field(message, "Precedence") == b"bulk"
    assert field(message, "Auto-Submitted") == b"auto-generated"
    assert field(message, "Message-ID") == b"<abcdefghijklmnopqrstuvwxyz@bounces.example.org>"


def test_feedback_is_grouped_by_four_values_that_name_no_person() -> None:
    ann, bea = raw(reader="ann"), raw(reader="bea", token="B" * 22)
    assert field(ann, "Feedback-ID") == field(bea, "Feedback-ID") == b"7:sr-Latn:lumen-basin:quarterlylumenb"


def test_reply_to_is_the_sender_unless_set() -> None:
    assert field(raw(), "Reply-To") == b"answers@example.org"
    for reply_to in ("", ORIGIN.sender_address):
        message = raw(replace(ORIGIN, reply_to=reply_to))
        assert parsed(message)["Reply-To"] is None
        assert field(message, "List-Owner") == b"<mailto:quarterly@lumen-basin.example.org>"


def test_sender_and_subject_in_any_script() -> None:
    message = raw(replace(ORIGIN, sender_name="Лумен, слив"), "Потписана повеља о реци – 2026/3")
    found = parsed(message)
    assert found["Subject"] == "Потписана повеља о реци – 2026/3"
    assert found["From"].addresses[0].addr_spec == ORIGIN.sender_address
    assert found["From"].addresses[0].display_name == "Лумен, слив"
    assert found["To"].addresses[0].addr_spec == "ann@example.org"


@pytest.mark.parametrize("change", [{"subject": HOSTILE}, {"origin": replace(ORIGIN, sender_name=HOSTILE)}])
def test_a_line_break_in_a_header_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UnsafeHeader):
        raw(**change)
