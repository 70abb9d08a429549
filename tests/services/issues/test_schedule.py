"""Scheduling, pausing and cancelling issues."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from mailer.bootstrap import Container
from mailer.domain.errors import IssueNotFound
from mailer.domain.states import InvalidIssueState, IssueState, SkipReason
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, report, schedule
from mailer.store import batches, ledger
from tests.conftest import NOW
from tests.support.locks import wait_for_lock
from tests.support.query_plans import disable_plans, with_each_plan

Import = Callable[..., int]
AddReaders = Callable[[str], None]
HOUR = timedelta(hours=1)


def many(count: int) -> str:
    return "\n".join(f"reader{n}@example.org;en;" for n in range(count))


@pytest.fixture
def issue(app: Container, import_issue: Import) -> int:
    """An approved one."""
    made = import_issue("en")
    approve.approve(app.database, compile.load_issue(app.database, app.urls, made), "tests")
    return made


@pytest.fixture
def in_batches(
    app: Container, issue: int, add_subscribers: AddReaders, prepare: Callable[[int], None]
) -> Callable[[int], list[int]]:
    """Gives the issue so many readers, and has it ready; returns its batches, each of ten readers."""

    def run(readers: int) -> list[int]:
        add_subscribers(many(readers))
        schedule.reopen(app.database, issue, "tests")
        prepare(issue)
        with app.database.transaction() as session:
            return list(session.scalars(text("SELECT id FROM batch ORDER BY id")))

    return run


def state(app: Container, issue: int) -> IssueState:
    return report.status(app.database, issue, NOW).state


def begin(app: Container, issue: int) -> None:
    schedule.schedule(app.database, issue, NOW, "tests")
    assert dispatch.start_due(app.database, NOW, 10) == [issue]


def test_issue_starts_once_at_its_time(app: Container, issue: int, add_subscribers: AddReaders) -> None:
    add_subscribers(many(25))
    schedule.schedule(app.database, issue, NOW + HOUR, "tests")
    assert dispatch.start_due(app.database, NOW, 10) == []
    schedule.schedule(app.database, issue, NOW + 2 * HOUR, "tests")
    assert dispatch.start_due(app.database, NOW + HOUR, 10) == []
    assert dispatch.start_due(app.database, NOW + 2 * HOUR, 10) == [issue]
    assert dispatch.start_due(app.database, NOW + 2 * HOUR, 10) == []
    assert dispatch.list_preparing(app.database) == [issue]
    found = report.status(app.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.counts.pending) == (IssueState.sending, 25, 25)
    with app.database.transaction() as session:
        rows = session.execute(
            text("SELECT first_subscriber_id, last_subscriber_id, candidates FROM batch ORDER BY 1")
        ).all()
    assert [row.candidates for row in rows] == [10, 10, 5]
    assert all(row.first_subscriber_id <= row.last_subscriber_id for row in rows)
    assert all(one.last_subscriber_id < other.first_subscriber_id for one, other in pairwise(rows))


def test_concurrent_schedulers_start_an_issue_once(app: Container, issue: int, add_subscribers: AddReaders) -> None:
    add_subscribers(many(25))
    schedule.schedule(app.database, issue, NOW, "tests")
    begun: list[list[int]] = []
    go = threading.Barrier(4)

    def beat() -> None:
        go.wait()
        begun.append(dispatch.start_due(app.database, NOW, 10))

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begun) == [[], [], [], [issue]]
    assert report.status(app.database, issue, NOW).counts.candidates == 25


def test_only_an_approved_issue_is_scheduled(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    with pytest.raises(InvalidIssueState, match=f"Issue {issue} is draft"):
        schedule.schedule(app.database, issue, NOW, "tests")
    with pytest.raises(IssueNotFound, match="There is no issue 99"):
        schedule.schedule(app.database, 99, NOW, "tests")


def test_an_issue_is_scheduled_at_most_two_years_ahead(app: Container, issue: int) -> None:
    now = datetime.now(UTC)
    latest = now + timedelta(days=schedule.MAX_DAYS_AHEAD) - HOUR
    schedule.schedule(app.database, issue, latest.astimezone(timezone(-12 * HOUR)), "tests")
    schedule.schedule_local_time(app.database, issue, latest.replace(tzinfo=None), "tests")
    for order, at in (
        (schedule.schedule, latest + 2 * HOUR),
        (schedule.schedule, datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-12 * HOUR))),
        (schedule.schedule_local_time, datetime(9999, 12, 31, 23, 59)),
    ):
        with pytest.raises(schedule.InvalidTime, match="is more than two years ahead"):
            order(app.database, issue, at, "tests")
    schedule.schedule(app.database, issue, datetime(1, 1, 1, tzinfo=timezone(14 * HOUR)), "tests")
    assert report.list_issues(app.database)[0][5] == datetime(2000, 1, 1, tzinfo=UTC), "the past means now"
    for change in ("scheduled_at = '10000-01-01Z'", "local_time = '9999-12-31'", "scheduled_at = 'infinity'"):
        with pytest.raises(IntegrityError, match="ck_issue_"), app.database.transaction() as session:
            session.execute(text(f"UPDATE issue SET {change}"))


def test_scheduled_issue_can_be_unscheduled(app: Container, issue: int) -> None:
    schedule.schedule(app.database, issue, NOW, "tests")
    schedule.unschedule(app.database, issue, "tests")
    assert state(app, issue) is IssueState.approved
    assert dispatch.start_due(app.database, NOW + HOUR, 10) == []
    schedule.reopen(app.database, issue, "tests")
    assert state(app, issue) is IssueState.draft


@pytest.mark.parametrize("now", [state for state in IssueState if state is not IssueState.scheduled])
def test_only_a_scheduled_issue_is_unscheduled(app: Container, issue: int, now: IssueState) -> None:
    """Above all a draft: it would be approved without anybody having looked it over."""
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = :now"), {"now": now})
    with pytest.raises(InvalidIssueState, match=f"Issue {issue} is {now.value}, not scheduled."):
        schedule.unschedule(app.database, issue, "tests")
    assert state(app, issue) is now


def test_pausing_and_resuming(app: Container, issue: int, add_subscribers: AddReaders) -> None:
    add_subscribers(many(3))
    with pytest.raises(InvalidIssueState):
        schedule.pause(app.database, issue, "tests")
    begin(app, issue)
    schedule.pause(app.database, issue, "tests", "typing error")
    schedule.pause(app.database, issue, "tests")
    assert state(app, issue) is IssueState.paused
    # What is paused is prepared all the same, and not handed out.
    assert expand.expand_next(app.database, issue, NOW) == 1
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, NOW, app.tokens.address_hash)
    assert dispatch.enqueue_due(app.database, NOW, timedelta(0), 10) == []
    assert dispatch.finish_done(app.database, NOW) == []
    schedule.resume(app.database, issue, "tests")
    schedule.resume(app.database, issue, "tests")
    assert len(dispatch.enqueue_due(app.database, NOW, timedelta(0), 10)) == 1
    assert [what for _, _, what, _ in report.events(app.database, issue)][-2:] == ["paused", "resumed"]


def test_batch_is_reenqueued_only_after_an_interval(app: Container, in_batches: Callable[[int], list[int]]) -> None:
    made, now = in_batches(25), datetime.now(UTC)
    first = dispatch.enqueue_due(app.database, now, HOUR, 2)
    assert len(first) == 2
    assert dispatch.enqueue_due(app.database, now, HOUR, 2) == [], "as many are hinted as may be"
    rest = dispatch.enqueue_due(app.database, now, HOUR, 10)
    assert len(rest) == 1
    assert dispatch.enqueue_due(app.database, now + 2 * HOUR, HOUR, 10) == sorted(first + rest)
    assert [batch for batch, _ in sorted(first + rest)] == made


@with_each_plan
def test_enqueued_batches_are_limited(
    app: Container, in_batches: Callable[[int], list[int]], without: tuple[str, ...]
) -> None:
    in_batches(60)
    with app.database.transaction() as session:
        disable_plans(session, without)
        assert len(batches.mark_enqueued(session, datetime.now(UTC), HOUR, 2)) == 2
        assert session.scalar(text("SELECT count(*) FROM batch WHERE enqueued_at IS NOT NULL")) == 2


def test_batch_of_a_lost_worker_does_not_wait_for_first_attempts(
    app: Container, in_batches: Callable[[int], list[int]]
) -> None:
    first, second, *_, last = in_batches(60)
    now = datetime.now(UTC)
    with app.database.transaction() as session:
        assert batches.claim(session, last, app.journals.worker, timedelta(0))
    assert dispatch.enqueue_due(app.database, now, HOUR, 1, host_grace=HOUR) == [(first, False)]
    assert dispatch.enqueue_due(app.database, now, HOUR, 1) == [(last, False)], "one first attempt has its hint"
    assert dispatch.enqueue_due(app.database, now, HOUR, 1) == []
    assert dispatch.enqueue_due(app.database, now, HOUR, 2, send_queue_has_room=False) == []
    assert dispatch.enqueue_due(app.database, now, HOUR, 2) == [(second, False)]


def test_an_issue_without_readers_is_sent_at_once(app: Container, issue: int, prepare: Callable[[int], None]) -> None:
    schedule.reopen(app.database, issue, "tests")
    prepare(issue)
    assert dispatch.finish_done(app.database, NOW) == [issue]
    found = report.status(app.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.editions) == (IssueState.sent, 0, 0)


@pytest.mark.parametrize("expanded", [0, 2, 3])
def test_cancelling_skips_every_pending_delivery(
    app: Container, issue: int, add_subscribers: AddReaders, expanded: int
) -> None:
    """At whatever point: batches that are expanded, and batches that are not yet."""
    add_subscribers(many(25) + "\nnone@example.org;en;none")
    begin(app, issue)
    if expanded:
        with app.database.transaction() as session:
            session.execute(
                text("UPDATE batch SET state = 'done' WHERE id IN (SELECT id FROM batch ORDER BY id DESC LIMIT :n)"),
                {"n": 3 - expanded},
            )
        assert expand.expand_next(app.database, issue, NOW) == expanded
        with app.database.transaction() as session:
            session.execute(
                text("UPDATE batch SET state = 'planned' WHERE id NOT IN (SELECT id FROM batch ORDER BY id LIMIT :n)"),
                {"n": expanded},
            )
    already = sum(report.skipped_by_reason(app.database, issue).values())
    assert schedule.cancel(app.database, issue, "tests", NOW) == 26 - already
    found = report.status(app.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.counts.skipped) == (IssueState.cancelled, 26, 26)
    assert found.counts.pending == 0
    assert report.audit(app.database, issue) == []
    assert report.skipped_by_reason(app.database, issue)[SkipReason.cancelled] == 26 - already
    assert dispatch.enqueue_due(app.database, NOW + HOUR, timedelta(0), 10) == []


def test_interrupted_cancellation_is_finished(
    app: Container, in_batches: Callable[[int], list[int]], issue: int
) -> None:
    planned, *_ = in_batches(25)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'cancelled'"))
        session.execute(text("DELETE FROM delivery WHERE subscriber_id <= 10"))
        session.execute(text("UPDATE batch SET state = 'planned' WHERE id = :id"), {"id": planned})
    dispatch.finish_cancelled(app.database, NOW)
    assert report.skipped_by_reason(app.database, issue) == {"cancelled": 25}
    assert report.audit(app.database, issue) == []
    with app.database.transaction() as session:
        assert batches.cancelled_with_work(session) == []


def test_cancelling_waits_for_a_reserving_worker(
    app: Container, issue: int, add_subscribers: AddReaders, prepare: Callable[[int], None]
) -> None:
    add_subscribers(many(9))
    schedule.reopen(app.database, issue, "tests")
    prepare(issue)
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        batch = session.scalar(text("SELECT id FROM batch"))
        claim = batches.claim(session, batch or 0, "worker", lease)
        assert claim is not None
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            assert batches.renew_lease(session, claim, lease)
            cancelled = pool.submit(schedule.cancel, app.database, issue, "tests", datetime.now(UTC))
            wait_for_lock(session, cancelled)
            taken, _, _ = ledger.reserve(session, claim, claim.first_subscriber_id, 4)
        assert cancelled.result(10) == 5
    assert len(taken) == 4
    with app.database.transaction() as session:
        assert batches.renew_lease(session, claim, lease) is False, "ours, but nothing more is to be taken"
        assert ledger.reserve(session, claim, claim.first_subscriber_id, 10)[0] == []
    counts = report.status(app.database, issue, NOW).counts
    assert (counts.skipped, counts.pending) == (5, 4)


def test_lost_workers_deliveries_are_resolved_in_a_cancelled_issue(
    app: Container, issue: int, add_subscribers: AddReaders, prepare: Callable[[int], None]
) -> None:
    add_subscribers(many(9))
    schedule.reopen(app.database, issue, "tests")
    prepare(issue)
    with app.database.transaction() as session:
        batch = session.scalar(text("SELECT id FROM batch"))
        claim = batches.claim(session, batch or 0, app.journals.worker, timedelta(minutes=1))
        assert claim is not None
        assert len(ledger.reserve(session, claim, claim.first_subscriber_id, 4)[0]) == 4
    assert schedule.cancel(app.database, issue, "tests", datetime.now(UTC)) == 5
    with app.database.transaction() as session:
        session.execute(text("UPDATE batch SET lease_until = clock_timestamp() - interval '1 second'"))
    assert dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 10) == [(batch, False)]
    assert app.send_worker.send_batch(claim.batch) == 0
    counts = report.status(app.database, issue, NOW).counts
    assert (counts.skipped, counts.pending) == (9, 0), "its journal shows that nothing was handed over"
    assert report.audit(app.database, issue) == []
