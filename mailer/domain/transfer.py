"""Envelopes and results: the interface between the sending stage and an SMTP transport."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from mailer.domain.outcomes import Outcome, Reply, Stage


@dataclass(slots=True)
class Envelope:
    """One message to one recipient."""

    key: Hashable
    sender: str
    """Empty for the null reverse-path."""
    recipient: str
    message: list[bytes] | bytes
    """The data after DATA, as one piece or segments. Every line ends in CRLF, leading dots are doubled, and
    the final dot is not included."""
    size: int
    """The length of the message in bytes, for SIZE (RFC 1870)."""
    smtputf8: bool = False
    """Whether the headers need SMTPUTF8 (RFC 6531). If not, every byte is below 128. Addresses that need it
    are detected without this flag."""


@dataclass(slots=True)
class TransferResult:
    """The result of transferring an envelope."""

    key: Hashable
    outcome: Outcome
    reply: Reply | None
    """The reply that decided the outcome. A text "not sent: …" is our own decision."""
    stage: Stage
    timestamp: float
    """Seconds since the epoch."""
    detail: str = ""
    """What went wrong if there is no reply, such as "connection refused"."""


class TransferObserver(Protocol):
    """Is called before the final dot and after its reply, so that a journal can record both.

    Between the two calls it is unknown whether the relay has the message (RFC 1047). Both run on the event
    loop and must not block for long.
    """

    def before_final_dot(self, key: Hashable) -> None:
        """Record that the final dot is about to be sent. If this raises, the dot is not sent."""

    def after_reply(self, key: Hashable, reply: Reply) -> None:
        """Record the reply to the final dot."""
