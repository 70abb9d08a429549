"""What the sending stage and an SMTP transport say to each other."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from mailer.domain.outcomes import Outcome, Reply, Stage


@dataclass(slots=True)
class Envelope:
    """One message to one recipient.

    ``message`` is what follows DATA, whole or in segments: lines end in CRLF, the last one too, leading
    dots are doubled, the final dot is not part of it. ``size`` is its length in bytes, as announced with
    SIZE (RFC 1870). An empty ``sender`` is the null reverse-path. ``smtputf8`` says that the headers need
    RFC 6531; addresses that need it are seen without it. Without it every byte is below 128.
    """

    key: Hashable
    sender: str
    recipient: str
    message: list[bytes] | bytes
    size: int
    smtputf8: bool = False


@dataclass(slots=True)
class TransferResult:
    """What became of an envelope. ``reply`` is the one that decided, if there was one; a code with the
    text "not sent: …" is our own verdict. ``at`` is in seconds since the epoch; ``detail`` says what
    went wrong where no reply does ("connection refused")."""

    key: Hashable
    outcome: Outcome
    reply: Reply | None
    stage: Stage
    timestamp: float
    detail: str = ""


class TransferObserver(Protocol):
    """Hears of the two moments that a journal must know (RFC 1047: between them nobody can tell whether
    the relay has the message). Both are called on the event loop and must not block for long."""

    def before_final_dot(self, key: Hashable) -> None:
        """The bytes with the message's final dot are written right after this returns. If it raises,
        they are not."""

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        """The reply to the final dot has arrived."""
