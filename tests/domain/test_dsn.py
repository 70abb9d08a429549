"""Delivery status notifications are untrusted, and parsed in linear time."""

import pytest

from mailer.domain.dsn import parse_dsn
from mailer.domain.outcomes import Outcome


def notice(said: str, action: str = "failed") -> bytes:
    return (
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\r\n\r\n'
        "--=_b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Action: {action}\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; {said}\r\n\r\n--=_b--\r\n"
    ).encode()


def test_long_words_are_read_in_linear_time() -> None:
    # A million letters and no sign: what looks for an address from each of them takes half an hour.
    found = parse_dsn(notice("550 <ann@example.org> unknown " + "x" * 1_000_000))
    assert found
    assert found.outcome is Outcome.HARD_BOUNCE
    assert found.reply.startswith("5.1.1 550 … unknown xxx")
    assert len(found.reply) < 400


def test_unprintable_characters_are_removed() -> None:
    found = parse_dsn(notice("550 no\0such \x1b[2Juser", "fai\x1bled"))
    assert found
    assert found.reply == "5.1.1 550 no such [2Juser"
    assert found.action == "fai"


@pytest.mark.parametrize(
    "nested",
    [
        "".join(f"Content-Type: multipart/report; boundary=b{n}\n\n--b{n}\n" for n in range(3_000)),
        "Content-Type: multipart/report; boundary=b\n\n--b\n" + "Content-Type: message/rfc822\n\n" * 3_000,
        "Content-Type: multipart/report; boundary=b; boundary*0=b; boundary*=utf-8''b\n\n--b\n",
    ],
    ids=["multiparts", "mails", "boundaries"],
)
def test_unparsable_message_is_not_a_notification(nested: str) -> None:
    assert parse_dsn(nested.encode()) is None
