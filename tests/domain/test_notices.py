"""Notices are written by anybody, and read within a moment."""

from mailer.domain.notices import read_notice
from mailer.domain.outcomes import Outcome


def notice(said: str) -> bytes:
    return (
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\r\n\r\n'
        "--=_b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; {said}\r\n\r\n--=_b--\r\n"
    ).encode()


def test_a_word_of_any_length_is_read_at_once() -> None:
    # A million letters and no sign: what looks for an address from each of them takes half an hour.
    found = read_notice(notice("550 <ann@example.org> unknown " + "x" * 1_000_000))
    assert found
    assert found.outcome is Outcome.HARD
    assert found.reply.startswith("5.1.1 550 … unknown xxx")
    assert len(found.reply) < 400
