"""Dispatch: the scheduler's steps that take an issue from scheduled to sent. Workers are told which batches are due.

Each step reads and writes rows only, and may run any number of times and on several hosts at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.states import IssueEventKind, IssueState
from mailer.services.delivery.traffic import TrafficShaper
from mailer.store import audience, batches, issues, ledger
from mailer.store.database import Database


def start_due(database: Database, now: datetime, batch_size: int) -> list[int]:
    """Freeze the audience of every issue whose time has come; return the issues."""
    with database.transaction() as session:
        waiting = issues.due(session, now)
    begun = []
    for issue in waiting:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if row.state is not IssueState.scheduled or (row.scheduled_at or now) > now:
                continue
            audience.delete_language_choices(session, issue)
            count = audience.freeze(session, issue, row.newsletter_id, batch_size, digest=row.digest_month is not None)
            row.state, row.frozen_at = IssueState.sending, now
            issues.log(session, issue, "mailer", IssueEventKind.sending, f"{count} batches")
            begun.append(issue)
    return begun


def list_preparing(database: Database) -> list[int]:
    """Return the issues whose audience is frozen, but not yet all expanded and rendered."""
    with database.transaction() as session:
        rows = issues.in_state(session, (IssueState.sending, IssueState.paused))
        return [row.id for row in rows if row.ready_at is None]


def open_for_sending(database: Database, issue: int, now: datetime) -> bool:
    """Open an issue for sending once it has every delivery row and edition; return whether it is open."""
    with database.transaction() as session:
        return audience.mark_ready(session, issue, now)


def enqueue_due(
    database: Database,
    now: datetime,
    reenqueue_after: timedelta,
    limit: int,
    *,
    send_queue_has_room: bool = True,
    retry_queue_has_room: bool = True,
) -> list[tuple[int, bool]]:
    """Return (batch, is_retry) pairs to enqueue: batches that are due and were not enqueued for ``reenqueue_after``.

    At most ``limit`` are enqueued and not yet claimed; a queue without room gets none.
    """
    with database.transaction() as session:
        return batches.mark_enqueued(
            session,
            now,
            reenqueue_after,
            limit,
            first_attempts=send_queue_has_room,
            retries=retry_queue_has_room,
        )


def finish_done(database: Database, now: datetime) -> list[int]:
    """Mark issues as sent whose every delivery is finished; return them."""
    with database.transaction() as session:
        done = batches.list_finished_issues(session)
    closed = []
    for issue in done:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if row.state is IssueState.sending and issue in batches.list_finished_issues(session):
                # Who is tried again later does not make it a new issue.
                row.state, row.finished_at = IssueState.sent, row.finished_at or now
                issues.log(session, issue, "mailer", IssueEventKind.sent)
                closed.append(issue)
    return closed


def finish_cancelled(database: Database, now: datetime) -> None:
    """Skip the deliveries of cancelled issues that are still pending, since cancelling was interrupted."""
    with database.transaction() as session:
        left = batches.cancelled_with_work(session)
    for issue in left:
        with database.transaction() as session:
            ledger.cancel_pending(session, issue, now)


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    max_enqueued: int = 64
    """Jobs of one queue that no worker has taken yet: enough that none waits for the next tick."""
    reenqueue_after: timedelta = timedelta(seconds=15)
    """Until a batch that no worker has claimed is enqueued again, since the job may be lost."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Tells workers by jobs which issues to prepare and which batches to send."""

    database: Database
    traffic_shaper: TrafficShaper
    queue_lengths: Callable[[list[str]], Mapping[str, int]]
    enqueue: Callable[[str, int], None]
    """Put a job with the id of an issue or a batch into a queue."""
    limits: DispatchLimits = DispatchLimits()

    def tick(self, now: datetime, batch_size: int) -> None:
        """Start what is due, open what is ready, enqueue jobs, finish what is done."""
        start_due(self.database, now, batch_size)
        for issue in list_preparing(self.database):
            if not open_for_sending(self.database, issue, now):
                # Where nobody takes them they would pile up: Redis keeps also those that have expired.
                for queue in self._queues_with_room("expand", "compose"):
                    self.enqueue(queue, issue)
        self.enqueue_batches(now)
        finish_done(self.database, now)
        finish_cancelled(self.database, now)

    def enqueue_batches(self, now: datetime) -> None:
        """Enqueue the batches that are due; none while no relay can be used."""
        if self.traffic_shaper.all_relays_blocked():
            return
        # Where sending is slow, a job can wait in its queue for longer than it takes until it is enqueued again.
        room = self._queues_with_room("send", "retry")
        for batch, is_retry in enqueue_due(
            self.database,
            now,
            self.limits.reenqueue_after,
            self.limits.max_enqueued,
            send_queue_has_room="send" in room,
            retry_queue_has_room="retry" in room,
        ):
            self.enqueue("retry" if is_retry else "send", batch)

    def _queues_with_room(self, *queues: str) -> list[str]:
        lengths = self.queue_lengths(list(queues))
        return [queue for queue in queues if lengths.get(queue, 0) < self.limits.max_enqueued]
