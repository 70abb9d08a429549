"""Notices of mail servers are untrusted: they are recognized in every form, and parsed in bounded work."""

import base64
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.dsn import DeliveryStatus, is_automatic_reply, parse_dsn
from mailer.domain.outcomes import Outcome

ANN = "ann@example.org"
STATUS = (
    "Reporting-MTA: dns; mx.example.net\n\n"
    f"Final-Recipient: rfc822; {ANN}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n"
)


def notice(said: str, action: str = "failed", status: str = "5.1.1", words: str = "") -> bytes:
    return (
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\r\n\r\n'
        f"--=_b\r\n\r\n{words}\r\n"
        "--=_b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {ANN}\r\n"
        f"Action: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {said}\r\n\r\n--=_b--\r\n"
    ).encode()


def read(message: str | bytes) -> DeliveryStatus:
    found = parse_dsn(message.encode() if isinstance(message, str) else message)
    assert found
    return found


def test_long_words_are_read_in_linear_time() -> None:
    # A million letters and no sign: what looks for an address from each of them takes half an hour.
    found = read(notice("550 <ann@example.org> unknown " + "x" * 1_000_000))
    assert found.outcome is Outcome.HARD_BOUNCE
    assert found.reply.startswith("5.1.1 550 … unknown xxx")
    assert len(found.reply) < 400


def test_unprintable_characters_are_removed() -> None:
    found = read(notice("550 no\0such \x1b[2Juser", "fai\x1bled"))
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


@pytest.mark.parametrize(
    ("said", "status", "outcome"),
    [
        ("550 5.7.1 Your address 192.0.2.7 is on our list", "5.1.1", Outcome.POLICY),
        ("552 5.2.2 too much mail", "5.1.1", Outcome.MAILBOX_FULL),
        ("553 https://dnsbl.example/query/ip/192.0.2.7", "5.1.3", Outcome.POLICY),
        ("5.1.0 - Unknown address error 550-'5.2.2 Mailbox full'", "5.0.0", Outcome.MAILBOX_FULL),
        ("5.1.0 - Unknown address error 550-'5.1.1 no such user'", "5.0.0", Outcome.HARD_BOUNCE),
        ("550 5.1.1 user unknown", "4.4.7", Outcome.DEFERRED),
        ("450 unknown for now", "5.1.1", Outcome.DEFERRED),
        ("550 5.1.1 user unknown", "", Outcome.HARD_BOUNCE),
        ("550 5.1.1", "5.0.0", Outcome.HARD_BOUNCE),
        ("", "5.1.1", Outcome.HARD_BOUNCE),
        ("", "5.0.0", Outcome.REJECTED),
        ("550 Requested action not taken: mailbox unavailable", "5.5.0", Outcome.HARD_BOUNCE),
        ("550 5.5.0 Requested action not taken: mailbox unavailable", "5.5.0", Outcome.HARD_BOUNCE),
        ("554 delivery error: dd This user doesn't have a b.example account", "5.0.0", Outcome.HARD_BOUNCE),
        ("550 5.1.351 Remote server returned unknown recipient", "5.1.351", Outcome.HARD_BOUNCE),
        ("Host or domain name not found. Name service error for name=gone.example", "5.4.4", Outcome.HARD_BOUNCE),
    ],
)
def test_status_and_reply_must_agree_on_a_hard_bounce(said: str, status: str, outcome: Outcome) -> None:
    assert read(notice(said, status=status)).outcome is outcome


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Your mail did not arrive.\r\nSPF", Outcome.POLICY),
        ("The mailbox is full.", Outcome.MAILBOX_FULL),
        (
            "Please check the address and try again. Your policies may be read at https://b.example.",
            Outcome.HARD_BOUNCE,
        ),
    ],
)
def test_explanatory_text_may_name_another_cause(words: str, outcome: Outcome) -> None:
    assert read(notice("550 5.1.1 user unknown", words=words)).outcome is outcome


def encoded(kind: str, encoding: str) -> str:
    body = base64.encodebytes(STATUS.encode()).decode() if encoding == "base64" else STATUS + "X: =3D\n"
    return (
        f"Content-Type: multipart/report; boundary=b\n\n--b\n\nIt failed.\n--b\nContent-Type: {kind}\n"
        f"Content-Transfer-Encoding: {encoding}\n\n{body}\n--b--\n"
    )


WRAPPED = (
    "Content-Type: multipart/mixed; boundary=outer\n\nSeen by a gateway.\n--outer\n"
    f"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{STATUS}\n--b--\n"
    "--outer--\n"
)
MIXED = f"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{STATUS}\n--b--\n"
QMAIL = (
    "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\n"
    "Hi. This is the qmail-send program at mx.example.net.\n"
    "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n"
    f"<{ANN}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
    "--- Below this line is a copy of the message.\n\nReceived: by us\n\nno quota, no SPF\n"
)
EXIM = (
    f"X-Failed-Recipients: {ANN}\nFrom: Mail Delivery System <Mailer-Daemon@mx.example.net>\n"
    "Subject: Mail delivery failed: returning message to sender\n\n"
    "A message that you sent could not be delivered to one or more of its\nrecipients.\n\n"
    f"  {ANN}\n    SMTP error from remote mail server after RCPT TO:<{ANN}>:\n"
    "    host mx.spam.example [192.0.2.9]: 550 5.1.1 User unknown\n\n"
    "------ This is a copy of the message, including all the headers. ------\n\nSubject: bob@example.org\n"
)
HTML = (
    "From: postmaster@example.net\nSubject: Undeliverable\nContent-Type: text/html\n\n"
    f"<p>Delivery failed</p><p>&lt;{ANN}&gt;: 550 no such user</p>"
)
IN_TEXT = f"From: postmaster@example.net\nSubject: =?utf-8?Q?Unzustellbar?=\n\nDetails:\n\n{STATUS}"


@pytest.mark.parametrize(
    "message",
    [
        MIXED,
        WRAPPED,
        encoded("message/delivery-status", "base64"),
        encoded("message/delivery-status", "quoted-printable"),
        encoded("message/global-delivery-status", "base64"),
        encoded("message/global-delivery-status", "8bit"),
        QMAIL,
        EXIM,
        HTML,
        IN_TEXT,
    ],
)
def test_each_kind_of_notice_is_recognized(message: str) -> None:
    for line_end in ("\n", "\r\n"):
        found = read(message.replace("\n", line_end))
        assert (found.action, found.outcome, found.recipients) == ("failed", Outcome.HARD_BOUNCE, frozenset({ANN}))
        assert "@" not in found.reply


def test_a_warning_in_words_is_a_delay() -> None:
    found = read(
        "From: MAILER-DAEMON@example.net\nSubject: Warning: could not send message for past 4 hours\n\n"
        f"<{ANN}>: retrying"
    )
    assert (found.action, found.outcome) == ("delayed", Outcome.DEFERRED)


@pytest.mark.parametrize(
    "message",
    [
        "From: ann@example.org\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away. No such user.",
        "From: ann@example.org\nSubject: Undeliverable: 5.1.1\n\n550 5.1.1 no such user",
        "From: ann@example.org\nSubject: Automatic reply\nReturn-Path: <>\n\nYour mail was not delivered to anybody.",
        "From: postmaster@example.net\nSubject: Hello\n\nThank you.",
        "",
    ],
)
def test_other_mail_is_not_a_notice(message: str) -> None:
    assert parse_dsn(message.encode()) is None


def test_automatic_replies_are_recognized_by_their_headers() -> None:
    assert is_automatic_reply(b"Auto-Submitted: auto-replied; x=y\n\n")
    assert is_automatic_reply(b"X-Autoreply: yes\n\n")
    assert not is_automatic_reply(b"Auto-Submitted: no\n\n")
    assert not is_automatic_reply(b"Subject: hello\n\nAuto-Submitted: auto-replied\n")


def test_worst_of_several_recipients_counts_but_is_not_hard() -> None:
    second = b"\r\n\r\nFinal-Recipient: rfc822; b@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--=_b--"
    for action in ("delayed", "delivered", "failed"):
        found = read(notice("", action).replace(b"\r\n\r\n--=_b--", second))
        assert (found.action, found.outcome) == ("failed", Outcome.REJECTED)
        assert found.recipients == {ANN, "b@example.org"}


other_causes = st.sampled_from(
    ["over quota", "Greylisted", "try again", "SPF", "rate limit", "on a block list", "4.2.1", "5.7.1", "denied"]
)
hard_words = st.sampled_from(["no such user", "user unknown", "this user doesn't have a b.example account", ""])


@given(
    st.sampled_from(["5.1.1", "5.1.2", "5.2.1", "5.4.4", "5.0.0", "5.5.0", ""]),
    st.sampled_from(["550", "554", "550 5.1.1", ""]),
    hard_words,
    other_causes,
)
def test_other_cause_is_never_a_hard_bounce(status: str, code: str, words: str, cause: str) -> None:
    for said in (f"{code} {words} {cause}", f"{code} {cause} {words}"):
        assert read(notice(said, status=status)).outcome is not Outcome.HARD_BOUNCE
        in_words = f"From: MAILER-DAEMON@example.net\nSubject: failure notice\n\n<{ANN}>:\n{said}\n"
        assert read(in_words).outcome is not Outcome.HARD_BOUNCE


@given(st.sampled_from(["delayed", "delivered", "relayed", "expanded"]), hard_words)
def test_only_failures_are_hard_bounces(action: str, words: str) -> None:
    assert read(notice(f"550 5.1.1 {words}", action)).outcome is not Outcome.HARD_BOUNCE


@given(st.binary(max_size=2_000))
def test_any_bytes_can_be_parsed(message: bytes) -> None:
    for start in (
        b"",
        b"From: mailer-daemon\nContent-Type: text/html\n\n",
        b"Content-Type: message/delivery-status\n\n",
    ):
        parse_dsn(start + message)


def count_calls(work: Callable[[], object]) -> int:
    """Return how many functions are called, those of the interpreter included."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return calls


@pytest.mark.parametrize(
    "message",
    [
        "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(30_000)),
        "Content-Type: multipart/report" + ";" * 160_000 + "\n\n",
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\nContent-Type: multipart/mixed;;;;;;;;\n\n" * 30_000,
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n" * 250_000,
        "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
        + "Final-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 5.1.1\n\n" * 15_000,
        "A: b\n" * 200_000,
        "From: mailer-daemon\n\n" + "a@b " * 250_000,
        "From: mailer-daemon\n\n" + "\n\n550 no such user" * 60_000,
    ],
    ids=["deep", "semicolons", "parts", "boundaries", "recipients", "headers", "addresses", "paragraphs"],
)
def test_work_is_bounded_for_hostile_mail(message: str) -> None:
    data = message.encode()
    assert len(data) > 150_000
    assert count_calls(lambda: parse_dsn(data)) < 100_000
