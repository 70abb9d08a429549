"""Send: claim a batch, check each delivery once more, hand it over, record what became of it.

The order that nothing may break: claim (commit) → send with no transaction open → record (commit). While one
micro-batch is with the relay, the one before is recorded and the next one taken, in one transaction.
"""

from mailer.services.send.gate import Gate
from mailer.services.send.sender import Sender

__all__ = ["Gate", "Sender"]
