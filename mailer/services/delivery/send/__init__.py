"""Send: claim a batch, check each delivery once more, hand it over, record what became of it.

The order that nothing may break: claim (commit) → send with no transaction open → record (commit). While one chunk
of a batch is with the relay, the one before is recorded and the next one reserved, in one transaction.

``worker`` claims batches, ``batch_sender`` runs one claim, ``chunk`` reserves, submits and collects one chunk of it,
``recorder`` writes what became of the deliveries.
"""

from mailer.services.delivery.send.context import SendContext, SendLimits
from mailer.services.delivery.send.worker import SendWorker

__all__ = ["SendContext", "SendLimits", "SendWorker"]
