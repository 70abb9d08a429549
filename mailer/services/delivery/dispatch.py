"""The scheduler's steps that take an issue from scheduled to sent, and enqueue batches that are due.

Each step only reads and writes rows. It may run repeatedly, and on several hosts at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.accounts import THE_SERVICE
from mailer.domain.plurals import format_count
from mailer.domain.states import IssueEventKind, IssueState, PauseReason
from mailer.domain.subscriber_fields import read_address
from mailer.models import Issue
from mailer.services.delivery import expand
from mailer.services.delivery.traffic import TrafficShaper
from mailer.store import audience, batches, editions, issues, ledger, newsletters, subscribers, transactional
from mailer.store.audience import LanguageRequest
from mailer.store.database import Database, Session

AddressHash = Callable[[str], bytes]
"""Returns the keyed hash of an address, by which suppressions are found."""


def start_due(database: Database, now: datetime, batch_size: int) -> list[int]:
    """Freeze the audience of every issue whose start time has passed. Return their ids.

    An issue that is later than its newsletter allows is not started: it waits until somebody schedules it again. Only
    a digest is sent however late it is.
    """
    with database.transaction() as session:
        due_issues = [issue for issue in issues.due(session, now) if not issues.is_waiting(session, issue)]
    started = []
    for issue in due_issues:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if row.state is not IssueState.scheduled or (row.scheduled_at or now) > now:
                continue
            late = _lateness(session, row, now)
            max_late = timedelta(hours=newsletters.by_id(session, row.newsletter_id).max_late_hours)
            if late > max_late and not row.digest_month:
                issues.log(
                    session, issue, THE_SERVICE, IssueEventKind.late, f"{_hours(late)} late: it waits to be sent"
                )
                continue
            audience.delete_language_choices(session, issue)
            count = audience.freeze(session, issue, row.newsletter_id, batch_size, row.digest_source_ids)
            for language, sections in _seed_editions(session, row).values():
                editions.add(session, issue, language, sections)
            row.state, row.frozen_at = IssueState.sending, now
            detail = format_count(count, "batch", "batches") + (
                f", {_hours(late)} late" if late >= _MIN_LOGGED_LATENESS else ""
            )
            issues.log(session, issue, THE_SERVICE, IssueEventKind.sending, detail)
            started.append(issue)
    return started


_MIN_LOGGED_LATENESS = timedelta(minutes=1)


def _lateness(session: Session, row: Issue, now: datetime) -> timedelta:
    """Return how long ago a scheduled issue should have started.

    For a local time that the first time zones had already passed, that is when it was scheduled.
    """
    since = row.scheduled_at or now
    if row.local_time is not None:
        since = max(since, issues.last_scheduled(session, row.id) or since)
    return now - since


def _hours(duration: timedelta) -> str:
    hours, minutes = divmod(int(duration / timedelta(minutes=1)), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def pause_late(database: Database, now: datetime) -> list[int]:
    """Pause issues of which nothing has been sent, though it was due longer ago than allowed. Return their ids."""
    with database.transaction() as session:
        unsent = issues.unsent_since(session, now)
    paused = []
    for issue, since in unsent:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if (issue, since) in issues.unsent_since(session, now):
                issues.pause(
                    session, row, PauseReason.late, THE_SERVICE, f"{_hours(now - since)} late: it waits to be sent"
                )
                paused.append(issue)
    return paused


def list_preparing(database: Database) -> list[int]:
    """Return the issues with a frozen audience that are not completely expanded and rendered."""
    with database.transaction() as session:
        rows = issues.in_state(session, (IssueState.sending, IssueState.paused))
        return [row.id for row in rows if row.ready_at is None]


def open_for_sending(database: Database, issue: int, now: datetime, address_hash: AddressHash) -> bool:
    """Open an issue for sending if all delivery rows and editions exist. Return whether this did.

    In the same transaction, so once, it is queued for the addresses of the seed list.
    """
    with database.transaction() as session:
        if not audience.mark_ready(session, issue, now):
            return False
        _send_to_seed_list(session, issues.by_id(session, issue), now, address_hash)
        return True


def _seed_editions(session: Session, issue: Issue) -> dict[str, tuple[str, int]]:
    """Return address → (language, section mask) of the full edition for each address of the seed list.

    A digest is not for them: they got each of its issues.
    """
    seeds = {} if issue.digest_month else newsletters.by_id(session, issue.newsletter_id).seed_list
    choices = expand.language_choices(session, issue, [LanguageRequest([language]) for language in seeds.values()])
    return {
        address: (language, sections)
        for address, (language, sections) in zip(seeds, choices, strict=True)
        if language and sections
    }


def _send_to_seed_list(session: Session, issue: Issue, now: datetime, address_hash: AddressHash) -> None:
    """Queue the issue for each address of the seed list that is not suppressed."""
    queued = 0
    for address, (language, sections) in _seed_editions(session, issue).items():
        key = address_hash(read_address(address)[1])
        edition = editions.find(session, issue.id, language, sections)  # none if the address was added just now
        if edition and not subscribers.suppression(session, key):
            queued += transactional.add_seed(session, issue, edition, address, key, now)
    if queued:
        detail = format_count(queued, "address", "addresses")
        issues.log(session, issue.id, THE_SERVICE, IssueEventKind.seed_list, detail)


def enqueue_due(
    database: Database,
    now: datetime,
    reenqueue_after: timedelta,
    limit: int,
    *,
    host_grace: timedelta = timedelta(0),
    send_queue_has_room: bool = True,
    retry_queue_has_room: bool = True,
) -> list[tuple[int, bool]]:
    """Mark due batches as enqueued that were not enqueued within ``reenqueue_after``. Return (batch, is_retry) pairs.

    At most ``limit`` batches are enqueued and unclaimed at any time. Nothing is enqueued for a queue without room.
    """
    with database.transaction() as session:
        return batches.mark_enqueued(
            session,
            now,
            reenqueue_after,
            limit,
            host_grace=host_grace,
            first_attempts=send_queue_has_room,
            retries=retry_queue_has_room,
        )


def finish_done(database: Database, now: datetime) -> list[int]:
    """Mark issues as sent if all their deliveries are finished. Return their ids."""
    with database.transaction() as session:
        finished_issues = batches.list_finished_issues(session)
    marked = []
    for issue in finished_issues:
        with database.transaction() as session:
            row = issues.lock(session, issue)
            if row.state is IssueState.sending and issue in batches.list_finished_issues(session):
                # A later retry does not change when the issue was finished.
                row.state, row.finished_at = IssueState.sent, row.finished_at or now
                issues.log(session, issue, THE_SERVICE, IssueEventKind.sent)
                marked.append(issue)
    return marked


def finish_cancelled(database: Database, now: datetime) -> None:
    """Skip pending deliveries of cancelled issues, for cancellations that were interrupted."""
    with database.transaction() as session:
        cancelled = batches.cancelled_with_work(session)
    for issue in cancelled:
        with database.transaction() as session:
            ledger.cancel_pending(session, issue, now)


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    max_enqueued: int = 64
    """Unclaimed jobs in one queue. High enough that workers do not wait for the next tick."""
    reenqueue_after: timedelta = timedelta(seconds=15)
    """When an unclaimed batch is enqueued again, because its job may be lost."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Enqueues jobs for the issues to prepare and the batches to send."""

    database: Database
    traffic_shaper: TrafficShaper
    queue_lengths: Callable[[list[str]], Mapping[str, int]]
    address_hash: AddressHash
    enqueue: Callable[[str, int], None]
    """Put a job with the id of an issue or a batch into a queue."""
    host_grace: timedelta
    """After the lease of a batch ended, how long only workers of the same host may take it over."""
    limits: DispatchLimits = DispatchLimits()

    def tick(self, now: datetime, batch_size: int) -> None:
        """Start due issues, pause late ones, open prepared ones, enqueue jobs and mark finished issues as sent."""
        start_due(self.database, now, batch_size)
        pause_late(self.database, now)
        for issue in list_preparing(self.database):
            if not open_for_sending(self.database, issue, now, self.address_hash):
                # Without a consumer jobs would accumulate: Redis keeps even expired ones.
                for queue in self._queues_with_room("expand", "compose"):
                    self.enqueue(queue, issue)
        self.enqueue_batches(now)
        finish_done(self.database, now)
        finish_cancelled(self.database, now)

    def enqueue_batches(self, now: datetime) -> None:
        """Enqueue the batches that are due, unless all relays are blocked."""
        if self.traffic_shaper.all_relays_blocked():
            return
        # When sending is slow, jobs can wait longer than reenqueue_after and would be enqueued twice.
        room = self._queues_with_room("send", "retry")
        for batch, is_retry in enqueue_due(
            self.database,
            now,
            self.limits.reenqueue_after,
            self.limits.max_enqueued,
            host_grace=self.host_grace,
            send_queue_has_room="send" in room,
            retry_queue_has_room="retry" in room,
        ):
            self.enqueue("retry" if is_retry else "send", batch)

    def _queues_with_room(self, *queues: str) -> list[str]:
        lengths = self.queue_lengths(list(queues))
        return [queue for queue in queues if lengths.get(queue, 0) < self.limits.max_enqueued]
