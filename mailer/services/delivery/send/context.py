"""What sending works with, the same for all batches of a process."""

import random
import threading
from dataclasses import dataclass, field
from datetime import timedelta

from mailer.domain.ports import Clock, Journals, MailUrls, Signer, SmtpPool
from mailer.services.delivery.send.chunk_size import AdaptiveChunkSize
from mailer.services.delivery.send.message_cache import MessageCache
from mailer.services.delivery.traffic import TrafficShaper
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class SendLimits:
    lease: timedelta
    """For which a claimed batch is a worker's own without a sign of life."""
    min_backoff: timedelta
    """Until the second attempt of a delivery that was deferred."""
    queue_lifetime: timedelta
    """After so much waiting a delivery that was only ever deferred has failed."""
    initial_refusals: int = 20
    """An issue's first deliveries that are all refused for good before it is paused."""
    max_chunks_in_flight: int = 2
    control_poll_seconds: float = 0.5
    """Between two looks, while a chunk is with the relay, whether the issue was stopped."""
    host_grace: timedelta = timedelta(0)
    """After the lease of a batch ended, how long only workers of the same host, which have its journal, may take it
    over."""
    max_permit_wait_seconds: float = 3.0
    """For which a claim waits for a permit; then other batches have their turn."""
    max_postponement_seconds: float = 3600.0
    journal_error_backoff: timedelta = timedelta(seconds=5)
    final_dot_margin_seconds: float = 2.0
    """Of the lease that must be left when a message's final dot goes out."""
    database_retry_seconds: float = 0.5
    drain_seconds: float = 5.0
    """For the relay to answer what is in flight when the process is to end."""


@dataclass(frozen=True, slots=True)
class SendContext:
    database: Database
    smtp_pool: SmtpPool
    traffic_shaper: TrafficShaper
    journals: Journals
    urls: MailUrls
    signer: Signer
    clock: Clock
    limits: SendLimits
    bounce_domain: str
    """Empty: the domain of the newsletter's sender."""
    rng: random.Random = field(default_factory=random.Random)
    messages: MessageCache = field(default_factory=MessageCache)
    chunk_size: AdaptiveChunkSize = field(default_factory=AdaptiveChunkSize)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end."""

    def final_dot_deadline(self, lease_started: float) -> float:
        """Return when no final dot may go out any more under a lease, both on the monotonic clock."""
        return lease_started + self.limits.lease.total_seconds() - self.limits.final_dot_margin_seconds
