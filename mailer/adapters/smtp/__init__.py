"""An asyncio SMTP client that sends many messages over few pipelined connections.

Sources: RFC 5321 (SMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 3207 (STARTTLS), RFC 4954 (AUTH),
RFC 3461 (DSN), RFC 6531 (SMTPUTF8), RFC 2034 and 3463 (enhanced codes).
"""

from mailer.adapters.smtp.relay import Relay, Timeouts, Tls
from mailer.adapters.smtp.transport import Transport
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult

__all__ = ["Envelope", "Relay", "Timeouts", "Tls", "TransferObserver", "TransferResult", "Transport"]
