"""Classifies SMTP replies by what they mean for a delivery.

The first matching rule applies. The enhanced code (RFC 3463; registry: RFC 5248) outranks the basic code
of RFC 5321. An enhanced code that is absent, malformed, of class 2 or X.0.0 is ignored.

====================== =========================== ========= =======================================
stage                  reply                       outcome   why
====================== =========================== ========= =======================================
connect … auth         any                         relay     no delivery has been named yet
final                  2yz                         accepted  RFC 5321 4.2.5
mail … data            1yz 2yz 3yz, not a code     retry     out of step; message was not sent
final                  1yz 3yz, not a code         unknown   out of step after the final dot
rcpt … final           4yz with X.2.2              soft      mailbox full (RFC 3463 3.3)
mail                   4yz                         relay     the relay's own state: no reader was named
                                                   busy
any                    4yz                         retry     RFC 5321 4.2.1, greylisting included
mail                   530 534 535 538             relay     our session lacks TLS or a login (RFC 3207,
                                                             RFC 4954 6): no reader was named
any                    5yz with 4.X.X              as 4yz    the enhanced code outranks the basic one
rcpt … final           5.1.7 5.1.8                 sender    our sender's address is bad (RFC 3463 3.2);
                                                             some say so only where readers are named
rcpt … final           554, and the text says that sender    Amazon SES
                       an address is not verified
rcpt … final           550 551 553 554, and the    relay     it does not relay for us: seldom one reader's
                       text says that relaying     refused   fault (see mailer.domain.decisions)
                       is denied
mail                   5.5.X, or 500 502 503 504   relay     our session is at fault (RFC 3463 3.6);
                       without such a code                   501 is about our sender
rcpt … final           5.5.X, or 500 to 504        relay     the same
                       without such a code         refused
rcpt … final           5.1.1 5.1.2 5.1.3 5.1.6     hard      the address is bad, moved or disabled
                       5.1.10 5.2.1 5.4.4                    (RFC 3463 3.2, 3.3, 3.5; RFC 7505: null MX)
rcpt … final           5.1.351                     hard      Exchange Online: the remote server knows no such
                                                             mailbox
rcpt                   5.1.0 5.3.0 5.5.0, and the  hard      says in words what its code leaves open
                       says there is no such box
rcpt … final           5.2.2                       soft      mailbox full
any                    5.3.4                       message   too big for the system (RFC 3463 3.4)
any                    5.6.7 5.6.8 5.6.9           rejected  this address needs SMTPUTF8 (RFC 6531):
                                                             the message suits everybody else
any                    other 5.6.X                 message   the content is at fault (RFC 3463 3.7)
mail                   any other 5.X.X             sender    no reader was named: all would be refused
rcpt … final           5.7.X                       policy    security or policy (RFC 3463 3.8)
rcpt … final           any other 5.X.X             rejected
====================== =========================== ========= =======================================

A 5yz without an enhanced code:

====================== =========================== ========= =======================================
rcpt … final           550 551 553, and the text   policy    550 is also "rejected for policy reasons"
                       speaks of policy or sender            (RFC 5321 4.2.3)
rcpt                   550 551 553, and the text   hard      nothing less may suppress a reader
                       says there is no such box
rcpt                   556                         hard      the domain takes no mail (RFC 7504)
rcpt … final           554, and the text says that hard      Yahoo
                       there is no such account
rcpt                   552                         soft      storage exceeded (RFC 5321 4.2.3)
data, final            552, and the text speaks of soft      the same
                       a full mailbox or quota
mail, data, final      552                         message   over the size limit (RFC 1870 6)
mail                   anything else               sender    our sender is refused (RFC 5321 3.3)
rcpt … final           anything else, 554 too      rejected
====================== =========================== ========= =======================================

Nothing is ``hard`` if its text names another cause: an enhanced code that is not hard, a full mailbox (soft),
policy, reputation, authentication or a rate (policy), or a condition that passes, such as greylisting (rejected).
In doubt nobody is suppressed.
"""

import re
from enum import StrEnum
from typing import NamedTuple


class Stage(StrEnum):
    """The command that a reply answers. ``final`` is the dot that ends the message."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL = "final"


class Outcome(StrEnum):
    """The outcome of one attempt to transfer a message to a relay."""

    ACCEPTED = "accepted"
    """The relay accepted responsibility (RFC 5321 section 6.1)."""
    DEFERRED = "retry"
    """Not accepted yet: a 4yz reply, or a connection lost before the final dot."""
    HARD_BOUNCE = "hard"
    """The address is invalid: suppress it."""
    MAILBOX_FULL = "soft"
    """The mailbox is full: count it. Retry after a 4yz ``Reply.code``, not after a 5yz."""
    CONTENT_REJECTED = "message"
    """The message itself was refused: stop the issue."""
    POLICY = "policy"
    """Refused by policy or authentication: open the domain's breaker, suppress nobody."""
    SENDER_REJECTED = "sender"
    """Our sender is refused for every recipient: stop the issue, do not count an attempt."""
    REJECTED = "rejected"
    """Permanently refused for another reason: the delivery fails, the address is not suppressed."""
    UNKNOWN = "unknown"
    """Final dot sent, no reply: the delivery is uncertain. Never retry automatically."""
    RELAY_UNAVAILABLE = "relay"
    """The relay cannot be used. Nothing was transferred, and no attempt is counted."""
    RELAY_BUSY = "relay busy"
    """A 4yz reply before any recipient was named: slow the relay down, count no attempt."""
    RELAY_REFUSED = "relay refused"
    """Refused for a reason that seldom concerns one recipient: no permission to relay, or a protocol error."""
    NOT_SENT = "withheld"
    """Not sent by our own decision: no longer allowed, or cancelled."""


class Reply(NamedTuple):
    """An SMTP reply."""

    code: int
    """Three digits."""
    enhanced: str
    """Such as ``5.1.1``, or empty."""
    text: str
    """One printable line, without the codes."""

    def __str__(self) -> str:
        enhanced = f" {self.enhanced}" if self.enhanced else ""
        return f"{self.code:03}{enhanced} {self.text}" if self.text else f"{self.code:03}{enhanced}"


def redact_addresses(text: str) -> str:
    """Replace the addresses in a reply's text by ``…``."""
    # A pattern that searches for @ inside a word would take quadratic time.
    return _WORD.sub(lambda word: "…" if "@" in word[0][1:-1] else word[0], text) if "@" in text else text


_WORD = re.compile(r"[^\s<>\"']+")


def read_reply(text: str, status: str = "") -> Reply:
    """Return the reply that a text stands for: a stored one, or the words of a notice beside its ``status``.

    A status that says no more than that it failed gives way to the code in the text.
    """
    specific = [*enhanced_codes(status), *enhanced_codes(text)]
    enhanced = specific[0] if specific else status
    code = _BASIC_CODE.search(text)
    basic = int(code[0]) if code else 450 if enhanced.startswith("4") else 550
    return Reply(basic, enhanced, " ".join(text.split()))


_SESSION_STAGES = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})
_SESSION_REFUSAL_CODES = frozenset({530, 534, 535, 538})
_MAILBOX_REFUSAL_CODES = frozenset({550, 551, 553})
_RELAYING_DENIED_CODES = frozenset({550, 551, 553, 554})
_PROTOCOL_ERROR_CODES = frozenset({500, 501, 502, 503, 504})

_OUTCOME_BY_DETAIL = {
    "1.7": Outcome.SENDER_REJECTED,
    "1.8": Outcome.SENDER_REJECTED,
    "1.1": Outcome.HARD_BOUNCE,
    "1.2": Outcome.HARD_BOUNCE,
    "1.3": Outcome.HARD_BOUNCE,
    "1.6": Outcome.HARD_BOUNCE,
    "1.10": Outcome.HARD_BOUNCE,
    "1.351": Outcome.HARD_BOUNCE,
    "2.1": Outcome.HARD_BOUNCE,
    "4.4": Outcome.HARD_BOUNCE,
    "2.2": Outcome.MAILBOX_FULL,
    "3.4": Outcome.CONTENT_REJECTED,
    "6.7": Outcome.REJECTED,
    "6.8": Outcome.REJECTED,
    "6.9": Outcome.REJECTED,
}
_MAILBOX_SUBJECTS = frozenset({"1", "2", "4"})
"""Of enhanced codes: address, mailbox, and the network between the servers."""
_OUTCOME_BY_SUBJECT = {"5": Outcome.RELAY_REFUSED, "6": Outcome.CONTENT_REJECTED, "7": Outcome.POLICY}

_ENHANCED_CODE = re.compile(r"[45]\.(?!0\.0$)\d{1,3}\.\d{1,3}", re.ASCII)
_CODE_IN_TEXT = re.compile(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?!\.?\d)", re.ASCII)
_BASIC_CODE = re.compile(r"\b[45]\d\d\b", re.ASCII)
_UNSPECIFIC_DETAILS = frozenset({"0.0", "1.0"})
_UNSPECIFIC_MAILBOX_DETAILS = frozenset({"1.0", "3.0", "5.0"})
_SAYS_POLICY = re.compile(
    r"\bsender\b|spam|block|black ?list|denied|polic|relay(?! recipient table)|reputation|unsolicited|prohibited"
    r"|too (?:many|much|fast|frequent)|throttl|exceed|suspicious|virus|malware|phish|abus|banned|security|authenti"
    r"|\b(?:rate|limits?|limited|spf|dkim|dmarc|dnsbl|rbl|ptr)\b",
    re.IGNORECASE,
)
_SAYS_TEMPORARY = re.compile(
    r"gr[ae]y[- ]?list|\btry(?:ing)? (?:it |this )?(?:again|later)\b|\blater\b|\bretry|temporar|tempfail|transient"
    r"|\bdefer|time(?:d|-)? ?out|not complete|lookup fail|malformed|\bloop",
    re.IGNORECASE,
)
_SAYS_NO_SUCH_MAILBOX = re.compile(
    r"\bno (?:such|mailbox)|\b(?:does not|doesn't|not) exist|\bdisabled\b"
    r"|\b(?:unknown|invalid) (?:user|recipient|mailbox|address(?! error)|account)"
    r"|\b(?:user|recipient|mailbox|address|addressee|account) (?:is )?(?:unknown|invalid|not (?:found|known))"
    r"|\bnot a (?:known|valid) (?:user|recipient|mailbox|address)",
    re.IGNORECASE,
)
_SAYS_MAILBOX_UNAVAILABLE = re.compile(r"\bmailbox unavailable\b", re.IGNORECASE)
_SAYS_NO_ACCOUNT = re.compile(
    r"\buser (?:does not|doesn't) have an? (?:\S{1,255} )?account\b|\baccount has been (?:disabled|discontinued)\b",
    re.IGNORECASE,
)
_SAYS_RELAYING_DENIED = re.compile(
    r"\brelay(?:ing)? (?:access )?(?:is )?(?:denied|not (?:permitted|allowed)|prohibited|disabled)"
    r"|\b(?:unable|not (?:permitted|allowed)|refus\w+) to relay\b|\bdo(?:es)? not relay\b|\brcpthosts\b",
    re.IGNORECASE,
)
_SAYS_NOT_VERIFIED = re.compile(r"\baddress is not verified\b", re.IGNORECASE)
_SAYS_FULL = re.compile(r"quota|\bfull\b|storage", re.IGNORECASE)
_SAYS_IN_NOTICE = re.compile(
    r"\b(?:spf|dkim|dmarc|dnsbl|rbl)\b|block ?list|black ?list|gr[ae]y[- ]?list|over ?quota|quota exceed\w*"
    r"|mailbox (?:is )?full|rate.?limit\w*|reputation|\bspam\b",
    re.IGNORECASE,
)
_SAYS_RECIPIENT_REJECTED = re.compile(r"\brecipient address rejected: access denied\b", re.IGNORECASE)
_SAYS_SENDING_QUOTA = re.compile(
    r"\bsender\b|spam|block|reputation|too many|\brate\b|\bper (?:hour|minute|day)|hourly|daily"
    r"|\b(?:spf|dkim|dmarc|rbl)\b",
    re.IGNORECASE,
)
_QUOTED_HOST = re.compile(r"\bhost \S{1,255}(?:\s\([^()]{0,255}\)|\s\[[^\[\]]{0,255}\])?(?:\ssaid)?:", re.IGNORECASE)


def classify(reply: Reply, stage: Stage) -> Outcome:
    """Return the outcome of an attempt that ended with a reply at a stage. See the module's table."""
    if stage in _SESSION_STAGES:
        return Outcome.RELAY_UNAVAILABLE
    match reply.code // 100:
        case 2 if stage is Stage.FINAL:
            return Outcome.ACCEPTED
        case 4:
            return _transient(reply.enhanced[2:], stage)
        case 5:
            return _permanent(reply, stage)
        case _:
            return Outcome.UNKNOWN if stage is Stage.FINAL else Outcome.DEFERRED


def _transient(detail: str, stage: Stage) -> Outcome:
    if stage is Stage.MAIL:
        return Outcome.RELAY_BUSY
    return Outcome.MAILBOX_FULL if detail == "2.2" else Outcome.DEFERRED


def enhanced_codes(text: str) -> list[str]:
    """Return the enhanced codes in a text that say more than that something failed, in order."""
    return [code for code in _CODE_IN_TEXT.findall(text) if code[2:] not in _UNSPECIFIC_DETAILS]


def find_other_cause(text: str) -> Outcome | None:
    """Return what a refusal is for if its words name another cause than a missing mailbox; None if they do not."""
    text = _without_names(text)
    if _SAYS_FULL.search(text):
        return Outcome.MAILBOX_FULL
    if _SAYS_POLICY.search(text):
        return Outcome.POLICY
    return Outcome.REJECTED if _SAYS_TEMPORARY.search(text) else None


def find_other_cause_in_notice(text: str) -> Outcome | None:
    """Return what a refusal is for if the words of a whole notice name another cause; None if they do not.

    A notice explains much, so that only words count that are about nothing else.
    """
    found = _SAYS_IN_NOTICE.search(_without_names(text))
    return find_other_cause(found[0]) if found else None


def is_mailbox_refusal(text: str, is_bounce: bool) -> bool:
    """Return whether a refusal is about the recipient's mailbox or domain, even if that may pass: a full mailbox.

    If many issues in a row are refused like this, nobody reads them. Refusals by policy and for our own fault never
    count, nor do our own words. ``is_bounce``: the receiving server said it, not our relay, whose delays are its own.
    """
    if not (is_bounce or _BASIC_CODE.match(text)):
        return False
    reply = read_reply(text)
    subject = reply.enhanced[2:].partition(".")[0]
    outcome = classify(reply, Stage.RCPT)
    match outcome:
        case Outcome.HARD_BOUNCE:
            return True
        case Outcome.MAILBOX_FULL:
            return not _SAYS_SENDING_QUOTA.search(_without_names(reply.text))
        case Outcome.REJECTED if reply.enhanced[2:] == "4.1" and _SAYS_RECIPIENT_REJECTED.search(reply.text):
            return True  # Exchange Online about mailboxes that do not exist
        case Outcome.REJECTED if subject in _MAILBOX_SUBJECTS:
            return find_other_cause(reply.text) is not Outcome.POLICY
        case Outcome.REJECTED if subject in ("", "0") and reply.code in _MAILBOX_REFUSAL_CODES:
            return find_other_cause(reply.text) is not Outcome.POLICY
        case Outcome.DEFERRED if is_bounce and subject in _MAILBOX_SUBJECTS:
            return find_other_cause(reply.text) is not Outcome.POLICY
    return False


def _without_names(text: str) -> str:
    """Return a text without addresses and hosts, whose names may be any word."""
    return _QUOTED_HOST.sub("", redact_addresses(text))


def says_no_such_mailbox(text: str) -> bool:
    """Return whether a text says that there is no such mailbox."""
    return bool(_SAYS_NO_SUCH_MAILBOX.search(text) or _SAYS_NO_ACCOUNT.search(text))


def _permanent(reply: Reply, stage: Stage) -> Outcome:
    outcome = _permanent_by_code(reply, stage)
    if outcome is not Outcome.HARD_BOUNCE:
        return outcome
    for code in enhanced_codes(reply.text):
        other = _outcome_of_code(code, reply.text, stage)
        if other is not Outcome.HARD_BOUNCE:
            return other
    return find_other_cause(reply.text) or outcome


def _permanent_by_code(reply: Reply, stage: Stage) -> Outcome:
    if stage is Stage.MAIL and reply.code in _SESSION_REFUSAL_CODES:
        return Outcome.RELAY_UNAVAILABLE
    if reply.code == 554 and _SAYS_NOT_VERIFIED.search(reply.text):
        return Outcome.SENDER_REJECTED
    if stage is not Stage.MAIL and reply.code in _RELAYING_DENIED_CODES and _SAYS_RELAYING_DENIED.search(reply.text):
        return Outcome.RELAY_REFUSED
    has_enhanced = _ENHANCED_CODE.fullmatch(reply.enhanced) is not None
    protocol_error = reply.enhanced.startswith("5.5.") if has_enhanced else reply.code in _PROTOCOL_ERROR_CODES
    if stage is Stage.MAIL and protocol_error and reply.code != 501:
        return Outcome.RELAY_UNAVAILABLE
    if not has_enhanced:
        return _permanent_without_enhanced(reply, stage)
    return _outcome_of_code(reply.enhanced, reply.text, stage)


def _outcome_of_code(enhanced: str, text: str, stage: Stage) -> Outcome:
    category, _, detail = enhanced.partition(".")
    if category == "4":
        return _transient(detail, stage)
    subject = detail.partition(".")[0]
    at_rcpt = stage is Stage.RCPT
    if at_rcpt and detail in _UNSPECIFIC_MAILBOX_DETAILS and says_no_such_mailbox(text):
        return Outcome.HARD_BOUNCE
    if detail == "5.0" and _SAYS_MAILBOX_UNAVAILABLE.search(text):
        return Outcome.HARD_BOUNCE if at_rcpt else Outcome.REJECTED
    if stage is Stage.MAIL and detail != "3.4" and subject != "6":
        return Outcome.SENDER_REJECTED
    return _OUTCOME_BY_DETAIL.get(detail) or _OUTCOME_BY_SUBJECT.get(subject, Outcome.REJECTED)


def _permanent_without_enhanced(reply: Reply, stage: Stage) -> Outcome:
    at_rcpt = stage is Stage.RCPT
    if stage is Stage.MAIL and reply.code != 552:
        return Outcome.SENDER_REJECTED
    if reply.code in _PROTOCOL_ERROR_CODES:
        return Outcome.RELAY_REFUSED
    if reply.code in _MAILBOX_REFUSAL_CODES:
        if _SAYS_POLICY.search(reply.text):
            return Outcome.POLICY
        return Outcome.HARD_BOUNCE if at_rcpt and says_no_such_mailbox(reply.text) else Outcome.REJECTED
    if reply.code == 552:
        full = at_rcpt or (stage is not Stage.MAIL and _SAYS_FULL.search(reply.text))
        return Outcome.MAILBOX_FULL if full else Outcome.CONTENT_REJECTED
    if (reply.code == 556 and at_rcpt) or (reply.code == 554 and _SAYS_NO_ACCOUNT.search(reply.text)):
        return Outcome.HARD_BOUNCE
    return Outcome.REJECTED
