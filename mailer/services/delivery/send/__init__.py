"""Send: claim a batch, check each delivery once more, hand it over, record what became of it.

The order that nothing may break: claim (commit) → send with no transaction open → record (commit). While one
micro-batch is with the relay, the one before is recorded and the next one taken, in one transaction.
"""

from mailer.services.delivery.send.traffic_shaper import TrafficShaper
from mailer.services.delivery.send.worker import SendWorker

__all__ = ["SendWorker", "TrafficShaper"]
