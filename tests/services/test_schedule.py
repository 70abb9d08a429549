"""When an issue goes out, and stopping it on its way."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.domain.states import IssueState, WrongState
from mailer.services import approve, compose, expand, report, schedule
from mailer.services.schedule import NoSuchIssue
from mailer.store import batches, ledger
from tests.conftest import NOW
from tests.locks import wait_for_a_lock
from tests.plans import by_whatever_plan, forbid

Import = Callable[..., int]
AddReaders = Callable[[str], None]
HOUR = timedelta(hours=1)


def many(count: int) -> str:
    return "\n".join(f"reader{n}@example.org;en;" for n in range(count))


@pytest.fixture
def issue(parts: Mailer, import_issue: Import) -> int:
    """An approved one."""
    made = import_issue("en")
    approve.approve(parts.database, compose.load(parts.database, parts.links, made), "tests")
    return made


@pytest.fixture
def in_batches(
    parts: Mailer, issue: int, add_readers: AddReaders, prepare: Callable[[int], None]
) -> Callable[[int], list[int]]:
    """Gives the issue so many readers, and has it ready; returns its batches, each of ten readers."""

    def run(readers: int) -> list[int]:
        add_readers(many(readers))
        schedule.reopen(parts.database, issue, "tests")
        prepare(issue)
        with parts.database.transaction() as session:
            return list(session.scalars(text("SELECT id FROM batch ORDER BY id")))

    return run


def state(parts: Mailer, issue: int) -> IssueState:
    return report.status(parts.database, issue, NOW).state


def begin(parts: Mailer, issue: int) -> None:
    schedule.schedule(parts.database, issue, NOW, "tests")
    assert schedule.begin_due(parts.database, NOW, 10) == [issue]


def test_an_issue_begins_when_its_time_has_come_and_once(
    parts: Mailer, issue: int, add_readers: AddReaders
) -> None:
    add_readers(many(25))
    schedule.schedule(parts.database, issue, NOW + HOUR, "tests")
    assert schedule.begin_due(parts.database, NOW, 10) == []
    schedule.schedule(parts.database, issue, NOW + 2 * HOUR, "tests")
    assert schedule.begin_due(parts.database, NOW + HOUR, 10) == []
    assert schedule.begin_due(parts.database, NOW + 2 * HOUR, 10) == [issue]
    assert schedule.begin_due(parts.database, NOW + 2 * HOUR, 10) == []
    assert schedule.preparing(parts.database) == [issue]
    found = report.status(parts.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.counts.pending) == (IssueState.sending, 25, 25)
    with parts.database.transaction() as session:
        rows = session.execute(text("SELECT first, last, candidates FROM batch ORDER BY first")).all()
    assert [row.candidates for row in rows] == [10, 10, 5]
    assert all(row.first <= row.last for row in rows)
    assert all(one.last < other.first for one, other in pairwise(rows))


def test_two_beats_begin_an_issue_once(parts: Mailer, issue: int, add_readers: AddReaders) -> None:
    add_readers(many(25))
    schedule.schedule(parts.database, issue, NOW, "tests")
    begun: list[list[int]] = []
    go = threading.Barrier(4)

    def beat() -> None:
        go.wait()
        begun.append(schedule.begin_due(parts.database, NOW, 10))

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begun) == [[], [], [], [issue]]
    assert report.status(parts.database, issue, NOW).counts.candidates == 25


def test_only_an_approved_issue_is_scheduled(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en")
    with pytest.raises(WrongState, match=f"mailer issue approve {issue}"):
        schedule.schedule(parts.database, issue, NOW, "tests")
    with pytest.raises(NoSuchIssue, match="There is no issue 99"):
        schedule.schedule(parts.database, 99, NOW, "tests")


def test_what_is_scheduled_can_be_taken_back(parts: Mailer, issue: int) -> None:
    schedule.schedule(parts.database, issue, NOW, "tests")
    schedule.unschedule(parts.database, issue, "tests")
    assert state(parts, issue) is IssueState.approved
    assert schedule.begin_due(parts.database, NOW + HOUR, 10) == []
    schedule.reopen(parts.database, issue, "tests")
    assert state(parts, issue) is IssueState.draft


@pytest.mark.parametrize("now", [state for state in IssueState if state is not IssueState.scheduled])
def test_only_what_is_scheduled_is_taken_back(parts: Mailer, issue: int, now: IssueState) -> None:
    """Above all a draft: it would be approved without anybody having looked it over."""
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = :now"), {"now": now})
    with pytest.raises(WrongState, match=f"Issue {issue} is {now.value}, not scheduled."):
        schedule.unschedule(parts.database, issue, "tests")
    assert state(parts, issue) is now


def test_pausing_and_resuming(parts: Mailer, issue: int, add_readers: AddReaders) -> None:
    add_readers(many(3))
    with pytest.raises(WrongState):
        schedule.pause(parts.database, issue, "tests")
    begin(parts, issue)
    schedule.pause(parts.database, issue, "tests", "typing error")
    schedule.pause(parts.database, issue, "tests")
    assert state(parts, issue) is IssueState.paused
    # What is paused is prepared all the same, and not handed out.
    assert expand.expand_some(parts.database, issue, NOW) == 1
    while compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8):
        pass
    assert expand.settle(parts.database, issue, NOW)
    assert schedule.hand_out(parts.database, NOW, timedelta(0), 10) == []
    assert schedule.finish_done(parts.database, NOW) == []
    schedule.resume(parts.database, issue, "tests")
    schedule.resume(parts.database, issue, "tests")
    assert len(schedule.hand_out(parts.database, NOW, timedelta(0), 10)) == 1
    assert [what for _, _, what, _ in report.events(parts.database, issue)][-2:] == ["paused", "resumed"]


def test_a_batch_is_handed_out_again_only_after_a_while(
    parts: Mailer, in_batches: Callable[[int], list[int]]
) -> None:
    made, now = in_batches(25), datetime.now(UTC)
    first = schedule.hand_out(parts.database, now, HOUR, 2)
    assert len(first) == 2
    assert schedule.hand_out(parts.database, now, HOUR, 2) == [], "as many are hinted as may be"
    rest = schedule.hand_out(parts.database, now, HOUR, 10)
    assert len(rest) == 1
    assert schedule.hand_out(parts.database, now + 2 * HOUR, HOUR, 10) == sorted(first + rest)
    assert [batch for batch, _ in sorted(first + rest)] == made


@by_whatever_plan
def test_no_more_batches_are_handed_out_than_asked_for(
    parts: Mailer, in_batches: Callable[[int], list[int]], without: tuple[str, ...]
) -> None:
    in_batches(60)
    with parts.database.transaction() as session:
        forbid(session, without)
        assert len(batches.hand_out(session, datetime.now(UTC), HOUR, 2)) == 2
        assert session.scalar(text("SELECT count(*) FROM batch WHERE hinted_at IS NOT NULL")) == 2


def test_what_a_lost_worker_left_waits_for_no_first_attempts(
    parts: Mailer, in_batches: Callable[[int], list[int]]
) -> None:
    first, second, *_, last = in_batches(60)
    now = datetime.now(UTC)
    with parts.database.transaction() as session:
        assert batches.claim(session, last, parts.journals.worker, timedelta(0))
    assert schedule.hand_out(parts.database, now, HOUR, 1, retry=False) == [(first, False)]
    assert schedule.hand_out(parts.database, now, HOUR, 1) == [(last, True)], "one first attempt has its hint"
    assert schedule.hand_out(parts.database, now, HOUR, 1) == []
    assert schedule.hand_out(parts.database, now, HOUR, 2, first=False) == []
    assert schedule.hand_out(parts.database, now, HOUR, 2) == [(second, False)]


def test_an_issue_without_readers_is_sent_at_once(
    parts: Mailer, issue: int, prepare: Callable[[int], None]
) -> None:
    schedule.reopen(parts.database, issue, "tests")
    prepare(issue)
    assert schedule.finish_done(parts.database, NOW) == [issue]
    found = report.status(parts.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.editions) == (IssueState.sent, 0, 0)


@pytest.mark.parametrize("expanded", [0, 2, 3])
def test_cancelling_settles_every_reader(
    parts: Mailer, issue: int, add_readers: AddReaders, expanded: int
) -> None:
    """At whatever point: batches that are expanded, and batches that are not yet."""
    add_readers(many(25) + "\nnone@example.org;en;none")
    begin(parts, issue)
    if expanded:
        with parts.database.transaction() as session:
            session.execute(
                text(
                    "UPDATE batch SET state = 'done'"
                    " WHERE id IN (SELECT id FROM batch ORDER BY id DESC LIMIT :n)"
                ),
                {"n": 3 - expanded},
            )
        assert expand.expand_some(parts.database, issue, NOW) == expanded
        with parts.database.transaction() as session:
            session.execute(
                text(
                    "UPDATE batch SET state = 'planned'"
                    " WHERE id NOT IN (SELECT id FROM batch ORDER BY id LIMIT :n)"
                ),
                {"n": expanded},
            )
    already = sum(report.skipped(parts.database, issue).values())
    assert schedule.cancel(parts.database, issue, "tests", NOW) == 26 - already
    found = report.status(parts.database, issue, NOW)
    assert (found.state, found.counts.candidates, found.counts.skipped) == (IssueState.cancelled, 26, 26)
    assert found.counts.pending == 0
    assert report.audit(parts.database, issue) == []
    assert report.skipped(parts.database, issue)["cancelled"] == 26 - already
    assert schedule.hand_out(parts.database, NOW + HOUR, timedelta(0), 10) == []


def test_cancelling_that_was_cut_off_is_finished(
    parts: Mailer, in_batches: Callable[[int], list[int]], issue: int
) -> None:
    planned, *_ = in_batches(25)
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'cancelled'"))
        session.execute(text("DELETE FROM delivery WHERE subscriber_id <= 10"))
        session.execute(text("UPDATE batch SET state = 'planned' WHERE id = :id"), {"id": planned})
    schedule.finish_cancelled(parts.database, NOW)
    assert report.skipped(parts.database, issue) == {"cancelled": 25}
    assert report.audit(parts.database, issue) == []
    with parts.database.transaction() as session:
        assert batches.left_by_cancelling(session) == []


def test_cancelling_waits_for_a_worker_that_is_taking(
    parts: Mailer, issue: int, add_readers: AddReaders, prepare: Callable[[int], None]
) -> None:
    add_readers(many(9))
    schedule.reopen(parts.database, issue, "tests")
    prepare(issue)
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        batch = session.scalar(text("SELECT id FROM batch"))
        claim = batches.claim(session, batch or 0, "worker", lease)
        assert claim is not None
    with ThreadPoolExecutor(1) as pool:
        with parts.database.transaction() as session:
            assert batches.keep(session, claim, lease)
            cancelled = pool.submit(schedule.cancel, parts.database, issue, "tests", datetime.now(UTC))
            wait_for_a_lock(session, cancelled)
            taken, _, _ = ledger.take(session, claim, claim.first, 4)
        assert cancelled.result(10) == 5
    assert len(taken) == 4
    with parts.database.transaction() as session:
        assert batches.keep(session, claim, lease) is False, "ours, but nothing more is to be taken"
        assert ledger.take(session, claim, claim.first, 10)[0] == []
    counts = report.status(parts.database, issue, NOW).counts
    assert (counts.skipped, counts.pending) == (5, 4)


def test_what_a_lost_worker_left_is_settled_though_the_issue_is_cancelled(
    parts: Mailer, issue: int, add_readers: AddReaders, prepare: Callable[[int], None]
) -> None:
    add_readers(many(9))
    schedule.reopen(parts.database, issue, "tests")
    prepare(issue)
    with parts.database.transaction() as session:
        batch = session.scalar(text("SELECT id FROM batch"))
        claim = batches.claim(session, batch or 0, parts.journals.worker, timedelta(minutes=1))
        assert claim is not None
        assert len(ledger.take(session, claim, claim.first, 4)[0]) == 4
    assert schedule.cancel(parts.database, issue, "tests", datetime.now(UTC)) == 5
    with parts.database.transaction() as session:
        session.execute(text("UPDATE batch SET lease_until = clock_timestamp() - interval '1 second'"))
    assert schedule.hand_out(parts.database, datetime.now(UTC), timedelta(0), 10) == [(batch, True)]
    assert parts.sender.send_batch(claim.batch) == 0
    counts = report.status(parts.database, issue, NOW).counts
    assert (counts.skipped, counts.pending) == (9, 0), "its journal shows that nothing was handed over"
    assert report.audit(parts.database, issue) == []
