import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.outcomes import Outcome, Reply, Stage, classify, redact_addresses

SESSION = [Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH]
TRANSACTION = [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL]
PERMANENT = {Outcome.HARD_BOUNCE, Outcome.CONTENT_REJECTED, Outcome.POLICY, Outcome.REJECTED}

numbers = st.integers(0, 20)
enhanced_codes = st.one_of(
    st.just(""),
    st.builds("{}.{}.{}".format, st.sampled_from([2, 4, 5]), numbers, numbers),
    st.text(max_size=8),
)
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["no such user", "mailbox unavailable", "over quota", "blocked by policy", "user unknown"]),
)
replies = st.builds(Reply, st.integers(0, 999), enhanced_codes, texts)
transaction_stages = st.sampled_from(TRANSACTION)


@given(replies, st.sampled_from(Stage))
def test_any_reply_has_an_outcome(reply: Reply, stage: Stage) -> None:
    assert classify(reply, stage) in Outcome


@given(replies, st.integers(400, 499), st.sampled_from(Stage))
def test_a_4yz_never_becomes_permanent(reply: Reply, code: int, stage: Stage) -> None:
    assert classify(Reply(code, reply.enhanced, reply.text), stage) not in PERMANENT


@given(st.integers(500, 599), numbers, texts, st.sampled_from(Stage))
def test_a_policy_refusal_never_suppresses(code: int, detail: int, text: str, stage: Stage) -> None:
    outcome = classify(Reply(code, f"5.7.{detail}", text), stage)
    assert outcome in (Outcome.POLICY, Outcome.SENDER_REJECTED, Outcome.RELAY_UNAVAILABLE)
    assert outcome is not Outcome.RELAY_UNAVAILABLE or stage in SESSION or stage is Stage.MAIL


@given(replies, st.sampled_from(Stage))
def test_only_a_2yz_to_the_final_dot_is_accepted(reply: Reply, stage: Stage) -> None:
    accepted = classify(reply, stage) is Outcome.ACCEPTED
    assert accepted == (stage is Stage.FINAL and 200 <= reply.code < 300)


@given(replies)
def test_nobody_is_suppressed_before_they_are_named(reply: Reply) -> None:
    assert classify(reply, Stage.MAIL) not in (Outcome.HARD_BOUNCE, Outcome.MAILBOX_FULL)


@given(replies, st.sampled_from(SESSION))
def test_what_happens_before_mail_is_never_a_deliverys_fault(reply: Reply, stage: Stage) -> None:
    assert classify(reply, stage) is Outcome.RELAY_UNAVAILABLE


NAMED_STAGES = [Stage.RCPT, Stage.DATA, Stage.FINAL]
HARD_DETAILS = ["1.1", "1.2", "1.3", "1.6", "1.10", "1.351", "2.1", "4.4"]
hard_replies = st.builds(
    Reply,
    st.sampled_from([550, 551, 553, 554]),
    st.sampled_from(["", *(f"5.{detail}" for detail in HARD_DETAILS)]),
    st.sampled_from(
        ["", "No such user here", "User unknown in relay recipient table", "mailbox <a@b.example> unknown"]
    ),
)
other_causes = st.sampled_from(
    [
        "Your address 192.0.2.7 is on our block list",
        "see https://dnsbl.example/query/ip/192.0.2.7",
        "192.0.2.7 has sent to too many recipients this hour",
        "receiving mail at a rate that prevents additional messages",
        "rate limited",
        "Over quota",
        "mailbox is full",
        "Greylisted",
        "graylist in action",
        "please try again",
        "try later",
        "Host lookup did not complete",
        "connection timed out",
        "temporarily disabled",
        "SPF check failed",
        "poor reputation",
        "against our policy",
        "looks like spam",
        "(5.7.1)",
        "550-'5.2.2 full'",
        "host said 4.2.1",
    ]
)


@given(st.integers(500, 599), st.sampled_from(HARD_DETAILS), st.sampled_from(["", "no such user", "unknown"]))
def test_bad_addresses_are_hard_whatever_the_basic_code_says(code: int, detail: str, text: str) -> None:
    for stage in NAMED_STAGES:
        assert classify(Reply(code, f"5.{detail}", text), stage) is Outcome.HARD_BOUNCE


@given(hard_replies, other_causes, st.booleans(), st.sampled_from(NAMED_STAGES))
def test_words_of_another_cause_never_suppress(reply: Reply, cause: str, first: bool, stage: Stage) -> None:
    text = f"{cause} {reply.text}" if first else f"{reply.text}: {cause.upper()}"
    assert classify(reply._replace(text=text), stage) is not Outcome.HARD_BOUNCE


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "stage", "outcome"),
    [
        (250, "2.0.0", "Ok: queued as 4Xabc", Stage.FINAL, Outcome.ACCEPTED),
        (250, "5.1.1", "odd", Stage.FINAL, Outcome.ACCEPTED),
        (354, "", "go ahead", Stage.FINAL, Outcome.UNKNOWN),
        (450, "4.2.0", "greylisted", Stage.RCPT, Outcome.DEFERRED),
        (450, "5.1.1", "contradicts itself", Stage.RCPT, Outcome.DEFERRED),
        (451, "4.7.1", "try again", Stage.RCPT, Outcome.DEFERRED),
        (421, "4.4.2", "bye", Stage.FINAL, Outcome.DEFERRED),
        (452, "4.2.2", "over quota", Stage.RCPT, Outcome.MAILBOX_FULL),
        (552, "5.2.2", "over quota", Stage.RCPT, Outcome.MAILBOX_FULL),
        (550, "4.2.2", "contradicts itself", Stage.RCPT, Outcome.MAILBOX_FULL),
        (554, "4.4.7", "contradicts itself", Stage.FINAL, Outcome.DEFERRED),
        (554, "5.2.2", "", Stage.FINAL, Outcome.MAILBOX_FULL),
        (552, "5.3.4", "too big", Stage.MAIL, Outcome.CONTENT_REJECTED),
        (554, "5.6.0", "bad MIME", Stage.FINAL, Outcome.CONTENT_REJECTED),
        (553, "5.6.7", "this address needs SMTPUTF8", Stage.RCPT, Outcome.REJECTED),
        (550, "5.7.26", "unauthenticated", Stage.FINAL, Outcome.POLICY),
        (550, "5.7.1", "no such user here, or so we say", Stage.RCPT, Outcome.POLICY),
        (530, "5.7.0", "Must issue a STARTTLS command first", Stage.MAIL, Outcome.RELAY_UNAVAILABLE),
        (550, "5.1.1", "no such user", Stage.MAIL, Outcome.SENDER_REJECTED),
        (550, "5.1.8", "Sender address rejected: Domain not found", Stage.MAIL, Outcome.SENDER_REJECTED),
        (550, "5.1.8", "Sender address rejected: Domain not found", Stage.RCPT, Outcome.SENDER_REJECTED),
        (553, "5.1.7", "bad sender", Stage.FINAL, Outcome.SENDER_REJECTED),
        (501, "5.5.4", "bad address syntax", Stage.MAIL, Outcome.SENDER_REJECTED),
        (451, "4.3.2", "system not accepting messages", Stage.MAIL, Outcome.RELAY_BUSY),
        (450, "", "too many connections", Stage.MAIL, Outcome.RELAY_BUSY),
        (421, "4.7.0", "closing", Stage.MAIL, Outcome.RELAY_BUSY),
        (554, "5.7.1", "<ann@example.org>: Relay access denied", Stage.RCPT, Outcome.RELAY_REFUSED),
        (550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain", Stage.RCPT, Outcome.RELAY_REFUSED),
        (550, "", "relay not permitted", Stage.RCPT, Outcome.RELAY_REFUSED),
        (553, "", "sorry, that domain isn't in my list of allowed rcpthosts", Stage.RCPT, Outcome.RELAY_REFUSED),
        (504, "5.5.2", "Helo command rejected: need fully-qualified name", Stage.RCPT, Outcome.RELAY_REFUSED),
        (503, "5.5.1", "send HELO first", Stage.MAIL, Outcome.RELAY_UNAVAILABLE),
        (500, "", "command unrecognised", Stage.DATA, Outcome.RELAY_REFUSED),
        (502, "", "not implemented", Stage.MAIL, Outcome.RELAY_UNAVAILABLE),
        (501, "5.1.3", "bad recipient address syntax", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.7.1", "not yours", Stage.MAIL, Outcome.SENDER_REJECTED),
        (553, "5.6.7", "not sent: SMTPUTF8 is not offered", Stage.MAIL, Outcome.REJECTED),
        (554, "", "Message rejected: Email address is not verified.", Stage.FINAL, Outcome.SENDER_REJECTED),
        (550, "5.0.0", "no such user", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.1.351", "Remote server returned unknown recipient", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.4.4", "Host or domain name not found", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.4.4", "Host not found, try again", Stage.RCPT, Outcome.REJECTED),
        (550, "5.4.1", "Recipient address rejected: Access denied", Stage.RCPT, Outcome.REJECTED),
        (550, "5.5.0", "Requested action not taken: mailbox unavailable", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.5.0", "mailbox unavailable, sender blocked", Stage.RCPT, Outcome.POLICY),
        (550, "5.5.0", "mailbox unavailable", Stage.FINAL, Outcome.REJECTED),
        (550, "5.5.0", "protocol error", Stage.RCPT, Outcome.RELAY_REFUSED),
        (550, "5.1.0", "no such user", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.1.0", "Unknown address error 550-'not you'", Stage.RCPT, Outcome.REJECTED),
        (550, "5.1.1", "Unknown address error 550-'5.1.1 user unknown'", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.1.1", "User unknown in relay recipient table", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.1.1", "<spam@b.example>: host spam.b.example said: 550 unknown", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "5.1.1", "quota exceeded", Stage.RCPT, Outcome.MAILBOX_FULL),
        (550, "5.1.1", "on a block list", Stage.RCPT, Outcome.POLICY),
        (550, "5.1.1", "4.94.2 tells nothing of 5.1.1.9", Stage.RCPT, Outcome.DEFERRED),
        (550, "5.1.1", "192.0.5.1.1 tells nothing either", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "", "mailbox unavailable", Stage.RCPT, Outcome.REJECTED),
        (554, "", "delivery error: dd This user doesn't have a b.example account", Stage.FINAL, Outcome.HARD_BOUNCE),
        (554, "", "This user doesn't have a b.example account, sender denied", Stage.FINAL, Outcome.POLICY),
        (550, "", "No such user here", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "", "User unknown", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "", "recipient address does not exist", Stage.RCPT, Outcome.HARD_BOUNCE),
        (550, "", "No such user here", Stage.FINAL, Outcome.REJECTED),
        (550, "", "Sender verify failed: unknown user", Stage.RCPT, Outcome.POLICY),
        (553, "", "sorry, relaying denied", Stage.RCPT, Outcome.RELAY_REFUSED),
        (553, "", "mailbox name not allowed", Stage.RCPT, Outcome.REJECTED),
        (553, "", "sender not allowed", Stage.MAIL, Outcome.SENDER_REJECTED),
        (551, "", "user not local", Stage.RCPT, Outcome.REJECTED),
        (552, "", "message size exceeds fixed maximum", Stage.MAIL, Outcome.CONTENT_REJECTED),
        (552, "", "exceeded storage allocation", Stage.RCPT, Outcome.MAILBOX_FULL),
        (552, "", "message too large", Stage.FINAL, Outcome.CONTENT_REJECTED),
        (552, "", "mailbox is full", Stage.FINAL, Outcome.MAILBOX_FULL),
        (554, "", "transaction failed", Stage.FINAL, Outcome.REJECTED),
        (554, "", "no such user", Stage.RCPT, Outcome.REJECTED),
        (556, "", "domain does not accept mail", Stage.RCPT, Outcome.HARD_BOUNCE),
        (503, "5.5.1", "MAIL first", Stage.RCPT, Outcome.RELAY_REFUSED),
        (555, "", "parameters not recognised", Stage.MAIL, Outcome.SENDER_REJECTED),
    ],
)
def test_outcome_table(code: int, enhanced: str, text: str, stage: Stage, outcome: Outcome) -> None:
    assert classify(Reply(code, enhanced, text), stage) is outcome


def test_reply_text_is_unchanged() -> None:
    assert str(Reply(550, "5.1.1", "no such user")) == "550 5.1.1 no such user"
    assert str(Reply(250, "", "")) == "250"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("550 5.1.1 <ann@example.org>: mailbox unknown", "550 5.1.1 <…>: mailbox unknown"),
        ("no 'ann@example.org' here, ask \"bob@x\"", "no '…' here, ask \"…\""),
        ("ann@example.org,bob@example.org are unknown", "… are unknown"),
        ("at most 10 @ once", "at most 10 @ once"),
        # From each letter anew, this would take minutes.
        ("@ " + "x" * 1_000_000, "@ " + "x" * 1_000_000),
    ],
)
def test_addresses_are_redacted_from_replies(said: str, kept: str) -> None:
    assert redact_addresses(said) == kept
