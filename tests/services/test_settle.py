"""Settling what nobody saw the outcome of, by a person and by evidence, and trying again what failed."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Mailer
from mailer.domain.settling import NoCode, Settlement
from mailer.domain.states import DeliveryState, IssueState, WrongState
from mailer.domain.ties import Tie
from mailer.services import explain, feedback, leave, preferences, report, retention, rights, schedule, settle
from mailer.services.report import Counts
from mailer.services.send.run import follow_up
from mailer.services.settle import NoSuchDelivery, Retry
from mailer.settings import Settings
from mailer.store import archive, batches, ledger
from mailer.store.ledger import Verdict
from tests.locks import wait_for_a_lock
from tests.services.test_feedback import notice, words
from tests.sinks import RunningSink

Ready = Callable[..., int]
Send = Callable[[], int]
REFUSED = "554 5.3.0 not today"


@pytest.fixture
def settings(settings: Settings, sink: RunningSink) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "smtp_connections": 1, "batch_size": 3})


@pytest.fixture
def ready(
    import_issue: Callable[..., int], add_readers: Callable[[str], None], prepare: Callable[[int], None]
) -> Ready:
    """An issue with that many readers, expanded and rendered; their ids count from 1."""

    def run(count: int) -> int:
        issue = import_issue("en")
        add_readers("\n".join(f"reader{n}@example.org;en;trade-and-crossings" for n in range(1, count + 1)))
        prepare(issue)
        return issue

    return run


@pytest.fixture
def uncertain(ready: Ready, sink: RunningSink, send: Send) -> int:
    """An issue that was sent to five readers; the relay took each mail and hung up without an answer."""
    issue = ready(5)
    sink.behaviour.drop_after = 1.0
    send()
    sink.behaviour.drop_after = 0.0
    return issue


@pytest.fixture
def failed(ready: Ready, sink: RunningSink, send: Send) -> int:
    """An issue that was sent to five readers, and refused for each."""
    issue = ready(5)
    sink.behaviour.faults = [Fault("final", REFUSED, 1.0)]
    send()
    sink.behaviour.faults = []
    return issue


def query(parts: Mailer, statement: str, **values: object) -> list[tuple[object, ...]]:
    with parts.database.transaction() as session:
        rows = session.connection().execute(text(statement), values)
        return [tuple(row) for row in rows] if rows.returns_rows else []


def counts(parts: Mailer, issue: int) -> Counts:
    assert report.audit(parts.database, issue) == []
    return report.status(parts.database, issue, datetime.now(UTC)).counts


def state(parts: Mailer, issue: int) -> IssueState:
    return report.status(parts.database, issue, datetime.now(UTC)).state


def row(parts: Mailer, subscriber: int) -> tuple[object, ...]:
    return query(parts, "SELECT state::text, reply FROM delivery WHERE subscriber_id = :s", s=subscriber)[0]


def settled(
    parts: Mailer, issue: int, subscribers: list[int], settlement: Settlement, why: str = "the relay's log"
) -> int:
    return settle.settle(parts.database, issue, subscribers, settlement, "ann", why, datetime.now(UTC))


def last_event(parts: Mailer, issue: int, what: str) -> tuple[str, str]:
    """(who, detail)"""
    found = [event for event in report.events(parts.database, issue) if event[2] == what]
    return found[-1][1], found[-1][3]


def due_now(parts: Mailer) -> None:
    """As if the time of the next attempt had come."""
    query(parts, "UPDATE delivery SET due_at = now() - interval '1 second' WHERE state = 'pending'")
    query(parts, "UPDATE batch SET due_at = now() - interval '1 second' WHERE state = 'ready'")


@pytest.mark.parametrize("settlement", [Settlement.sent, Settlement.failed])
def test_what_a_person_knows_is_written_down(parts: Mailer, uncertain: int, settlement: Settlement) -> None:
    assert counts(parts, uncertain) == Counts(candidates=5, uncertain=5)
    assert settled(parts, uncertain, [2, 4], settlement) == 2
    found = counts(parts, uncertain)
    assert (found.uncertain, getattr(found, settlement.value)) == (3, 2)
    became, said = row(parts, 2)
    assert became == settlement.value
    assert str(said).startswith(f"settled as {settlement.value} by ann, {datetime.now(UTC):%Y-%m-%d}")
    assert " UTC: the relay's log; before: " in str(said)
    assert last_event(parts, uncertain, "settled") == (
        "ann",
        f"2 as {settlement.value}: the relay's log (subscriber 2, 4)",
    )
    assert state(parts, uncertain) is IssueState.sent, "nothing is to be sent"
    assert settled(parts, uncertain, [2, 4], Settlement.again) == 0, "it is settled already"
    address = "reader2@example.org"
    told = explain.explain(parts.database, uncertain, address, parts.tokens.address_hash(address))
    assert f"It was settled as {settlement.value} by ann" in told.sentences[-1]


def test_sent_once_more_with_the_same_message_id(
    parts: Mailer, uncertain: int, sink: RunningSink, send: Send
) -> None:
    closed = report.status(parts.database, uncertain, datetime.now(UTC)).finished_at
    assert settled(parts, uncertain, [2], Settlement.again) == 1
    assert state(parts, uncertain) is IssueState.sending, "an issue that was sent goes on"
    assert counts(parts, uncertain) == Counts(candidates=5, uncertain=4)
    address = "reader2@example.org"
    told = explain.explain(parts.database, uncertain, address, parts.tokens.address_hash(address))
    assert "It is to be sent once more by ann" in told.sentences[-1]
    assert send() == 1
    assert sorted(sink.accepted(parts.tokens)) == [1, 2, 2, 3, 4, 5]
    assert counts(parts, uncertain) == Counts(candidates=5, sent=1, uncertain=4)
    assert state(parts, uncertain) is IssueState.sent, "and ends by itself"
    assert report.status(parts.database, uncertain, datetime.now(UTC)).finished_at == closed
    assert report.resent(parts.database, uncertain) == 1
    told = explain.explain(parts.database, uncertain, address, parts.tokens.address_hash(address))
    assert "it may have come twice" in told.sentences[-1]


def test_nothing_of_a_cancelled_issue_is_sent_again(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    issue = ready(3)
    sink.behaviour.drop_after = 1.0
    for batch, _ in schedule.hand_out(parts.database, datetime.now(UTC), timedelta(0), 9):
        parts.sender.send_batch(batch)
    schedule.cancel(parts.database, issue, "tests", datetime.now(UTC))
    for act in (
        lambda: settled(parts, issue, [1], Settlement.again),
        lambda: settle.retry(parts.database, issue, [], "ann", datetime.now(UTC)),
    ):
        with pytest.raises(WrongState, match="Issue 1 is cancelled: nothing of it can be sent again"):
            act()
    assert counts(parts, issue) == Counts(candidates=3, uncertain=3)
    assert settled(parts, issue, [1], Settlement.sent) == 1
    assert counts(parts, issue) == Counts(candidates=3, sent=1, uncertain=2)


def test_whose_delivery_is_not_uncertain(parts: Mailer, uncertain: int) -> None:
    settled(parts, uncertain, [2], Settlement.sent)

    def look(*addresses: str) -> list[int]:
        asked = {address: parts.tokens.address_hash(address) for address in addresses}
        return [found.subscriber for found in settle.look(parts.database, uncertain, asked)]

    assert look("reader3@example.org", "reader1@example.org") == [3, 1]
    with pytest.raises(
        NoSuchDelivery, match=r"to reader2@example\.org is sent, not uncertain. Nothing was done\."
    ):
        look("reader1@example.org", "reader2@example.org")
    with pytest.raises(NoSuchDelivery, match=r"Issue 1 has no delivery to nobody@example\.org"):
        look("nobody@example.org")
    with pytest.raises(NoSuchDelivery, match="There is no issue 9"):
        settle.look(parts.database, 9, None)
    assert [found.subscriber for found in settle.look(parts.database, uncertain, None)] == [1, 3, 4, 5]


def test_a_batch_that_is_with_a_worker_is_settled_too(
    parts: Mailer, uncertain: int, sink: RunningSink, send: Send
) -> None:
    settled(parts, uncertain, [1], Settlement.again)
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        claim = batches.claim(session, 1, parts.journals.worker, lease)
        assert claim
        batches.keep(session, claim, lease)
        assert [one.subscriber for one in ledger.take(session, claim, claim.first, 10)[0]] == [1]
    assert settled(parts, uncertain, [2], Settlement.again) == 1
    assert settled(parts, uncertain, [3], Settlement.failed) == 1
    with parts.database.transaction() as session:
        batches.give_back(session, claim)
    assert query(parts, "SELECT state::text FROM batch WHERE id = 1") == [("ready",)]
    assert counts(parts, uncertain) == Counts(candidates=5, failed=1, uncertain=2)


RETURNED = {
    "a bounce that is no reader's fault": (
        notice(status="5.2.2", said="smtp; 552 5.2.2 full"),
        "failed",
        False,
    ),
    "a bounce of a bad address": (notice(), "failed", True),
    "a delay": (notice(action="delayed", status="4.4.1"), "sent", False),
    "a confirmation": (notice(action="delivered", status="2.0.0"), "sent", False),
    "an answer from a machine": (words("Out of office", Auto_Submitted="auto-replied"), "sent", False),
}


@pytest.mark.parametrize("what", RETURNED)
def test_mail_that_comes_back_settles(parts: Mailer, uncertain: int, what: str) -> None:
    message, became, suppressed = RETURNED[what]
    slot = next(iter(parts.links.reader_slots(uncertain, [2])))
    recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
    said = feedback.receive(parts.database, parts.links, recipient, message, datetime.now(UTC))
    assert said.endswith("an uncertain delivery is settled")
    found = counts(parts, uncertain)
    assert (found.uncertain, getattr(found, became)) == (4, 1)
    assert row(parts, 2)[0] == became
    assert last_event(parts, uncertain, "settled")[0] == "mailer"
    assert bool(query(parts, "SELECT FROM suppression")) is suppressed
    again = feedback.receive(parts.database, parts.links, recipient, message, datetime.now(UTC))
    assert "settled" not in again
    assert counts(parts, uncertain) == found


USES = {
    "leaving": lambda parts, tie: leave.leave(parts.database, tie, "one click", datetime.now(UTC)),
    "leaving everything": lambda parts, tie: leave.leave_all(parts.database, tie, "mail", datetime.now(UTC)),
    "leaving by mail": lambda parts, tie: feedback.receive(
        parts.database,
        parts.links,
        f"unsubscribe+{next(iter(parts.links.reader_slots(tie.issue, [2]))).mail_unsubscribe}@example.org",
        b"",
        datetime.now(UTC),
    ),
    "fewer": lambda parts, tie: preferences.set_monthly(parts.database, tie, datetime.now(UTC)),
    "a pause": lambda parts, tie: preferences.pause(parts.database, tie, 4, "mail", datetime.now(UTC)),
    "the way to everything": lambda parts, tie: preferences.send_key(parts.database, tie, datetime.now(UTC)),
}


@pytest.mark.parametrize("use", USES)
def test_who_uses_a_link_of_the_mail_has_it(parts: Mailer, uncertain: int, use: str) -> None:
    assert preferences.profile(parts.database, Tie(2, uncertain), datetime.now(UTC))
    assert counts(parts, uncertain).sent == 0, "looking changes nothing: it may be a machine that looks"
    assert USES[use](parts, Tie(2, uncertain))
    assert counts(parts, uncertain) == Counts(candidates=5, sent=1, uncertain=4)
    assert str(row(parts, 2)[1]).startswith("settled as sent by a link in it, ")


def test_proof_that_it_came_keeps_it_from_being_sent_again(
    parts: Mailer, uncertain: int, sink: RunningSink, send: Send
) -> None:
    settled(parts, uncertain, [2, 3], Settlement.again)
    assert leave.leave(parts.database, Tie(2, uncertain), "one click", datetime.now(UTC))
    assert send() == 1
    assert sorted(sink.accepted(parts.tokens)) == [1, 2, 3, 3, 4, 5]
    assert counts(parts, uncertain) == Counts(candidates=5, sent=2, uncertain=3)
    assert state(parts, uncertain) is IssueState.sent


def test_what_came_back_before_the_worker_was_missed_settles(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    issue = ready(3)
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        claim = batches.claim(session, 1, "a worker on another host", lease)
        assert claim
        batches.keep(session, claim, lease)
        assert len(ledger.take(session, claim, claim.first, 10)[0]) == 3
    slots = list(parts.links.reader_slots(issue, [1, 2]))
    for slot, message in zip(slots, (notice(status="5.2.2"), notice("delayed", "4.4.1")), strict=True):
        recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
        feedback.receive(parts.database, parts.links, recipient, message, datetime.now(UTC))
    assert counts(parts, issue) == Counts(candidates=3), "they are with a worker, as far as anybody knows"
    query(parts, "UPDATE batch SET lease_until = now() - interval '1 second'")
    assert send() == 0
    assert counts(parts, issue) == Counts(candidates=3, failed=1, sent=1, uncertain=1)


def test_what_comes_back_while_the_outcome_is_written_settles(parts: Mailer, ready: Ready) -> None:
    issue, now = ready(3), datetime.now(UTC)
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        claim = batches.claim(session, 1, parts.journals.worker, lease)
        assert claim
        ledger.take(session, claim, claim.first, 10)
    bounce = f"bounce+{next(iter(parts.links.reader_slots(issue, [2]))).bounce}@lumen-basin.example.org"
    with ThreadPoolExecutor(1) as pool:
        with parts.database.transaction() as session:
            batches.keep(session, claim, lease)
            verdicts = [Verdict(2, DeliveryState.uncertain, "no answer after the final dot")]
            ledger.record(session, claim, verdicts, claim.epoch, now)
            follow_up(session, issue, verdicts, now)
            received = pool.submit(feedback.receive, parts.database, parts.links, bounce, notice(), now)
            wait_for_a_lock(session, received)
        assert received.result(10) == "bounce, suppressed; an uncertain delivery is settled"
    assert row(parts, 2)[0] == "failed"


def test_a_newsletter_may_have_uncertain_mail_sent_once_more(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    issue = ready(2)
    query(parts, "UPDATE newsletter SET uncertain = 'send_again'")
    sink.behaviour.drop_after = 1.0
    send()
    assert counts(parts, issue) == Counts(candidates=2), "both are due again"
    assert "2 to be sent once more: the newsletter's settings" in last_event(parts, issue, "settled")[1]
    assert send() == 0, "not at once: a bounce may still settle it"
    due_now(parts)
    send()
    assert counts(parts, issue) == Counts(candidates=2, uncertain=2), "once more, not for ever"
    assert sorted(sink.accepted(parts.tokens)) == [1, 1, 2, 2]
    assert report.resent(parts.database, issue) == 2
    assert state(parts, issue) is IssueState.sent


def test_a_lost_workers_mail_is_sent_once_more_if_the_newsletter_asks(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    issue = ready(3)
    query(parts, "UPDATE newsletter SET uncertain = 'send_again'")
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        claim = batches.claim(session, 1, "a worker on another host", lease)
        assert claim
        batches.keep(session, claim, lease)
        ledger.take(session, claim, claim.first, 10)
    query(parts, "UPDATE batch SET lease_until = now() - interval '1 second'")
    assert send() == 0
    due_now(parts)
    assert send() == 3
    assert counts(parts, issue) == Counts(candidates=3, sent=3)
    assert report.resent(parts.database, issue) == 3


def tried(parts: Mailer, issue: int, *codes: str) -> Retry:
    look = settle.retriable(parts.database, issue, codes, datetime.now(UTC))
    done = settle.retry(parts.database, issue, codes, "ann", datetime.now(UTC))
    assert (look.tried, look.left) == (done.tried, done.left), "it does what it said it would"
    return done


def test_what_failed_is_tried_again(parts: Mailer, failed: int, sink: RunningSink, send: Send) -> None:
    assert counts(parts, failed) == Counts(candidates=5, failed=5)
    assert state(parts, failed) is IssueState.sent
    assert tried(parts, failed) == Retry(5, {}, IssueState.sending)
    assert last_event(parts, failed, "retried") == ("ann", "5 that failed")
    assert counts(parts, failed) == Counts(candidates=5)
    assert tried(parts, failed).tried == 0, "the same twice tries once"
    assert query(parts, "SELECT DISTINCT state::text, retry FROM batch") == [("ready", True)]
    assert send() == 5
    assert counts(parts, failed) == Counts(candidates=5, sent=5)
    assert sorted(sink.accepted(parts.tokens)) == [1, 2, 3, 4, 5]
    assert state(parts, failed) is IssueState.sent
    assert report.resent(parts.database, failed) == 0, "it is known that the first one did not come"
    assert tried(parts, failed) == Retry(0, {}, IssueState.sent)


def test_what_went_out_stays_in_the_archive_whatever_becomes_of_a_second_try(
    parts: Mailer, failed: int
) -> None:
    def found() -> list[int]:
        with parts.database.transaction() as session:
            return [issue.id for issue in archive.sent(session, 1)]

    assert found() == [failed]
    tried(parts, failed)
    assert found() == [failed]
    assert schedule.cancel(parts.database, failed, "ann", datetime.now(UTC)) == 5
    assert counts(parts, failed) == Counts(candidates=5, skipped=5)
    assert found() == [failed]


def test_who_must_not_be_mailed_any_more_is_not_tried_again(
    parts: Mailer, failed: int, sink: RunningSink, send: Send
) -> None:
    feedback.suppress(parts.database, [parts.tokens.address_hash("reader1@example.org")], "complaint")
    leave.leave(parts.database, Tie(2, failed), "one click", datetime.now(UTC))
    preferences.pause(parts.database, Tie(3, failed), 4, "mail", datetime.now(UTC))
    preferences.set_monthly(parts.database, Tie(4, failed), datetime.now(UTC))
    left = {"monthly": 1, "paused": 1, "suppressed": 1, "unsubscribed": 1}
    assert tried(parts, failed) == Retry(1, left, IssueState.sending)
    assert send() == 1
    assert counts(parts, failed) == Counts(candidates=5, sent=1, failed=4)


def test_a_hard_bounce_is_not_tried_again(parts: Mailer, ready: Ready, sink: RunningSink, send: Send) -> None:
    issue = ready(3)
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 no such user", 1.0)]
    send()
    assert tried(parts, issue) == Retry(0, {"suppressed": 3}, IssueState.sent)
    assert state(parts, issue) is IssueState.sent, "it is not opened for nothing"


def test_only_what_failed_with_a_code(parts: Mailer, failed: int) -> None:
    replies = {
        1: "550 5.7.1 blocked",
        2: "550 5.7.26 no DKIM, see 552",
        3: "gave up: 451 4.7.0 later",
        4: "settled as failed by a bounce, 2026-11-25 10:00 UTC: 5.7.1 550 5.7.1 spam",
        5: "552 5.2.2 full",
    }
    for subscriber, reply in replies.items():
        query(parts, "UPDATE delivery SET reply = :r WHERE subscriber_id = :s", r=reply, s=subscriber)

    def fitting(*codes: str) -> int:
        return settle.retriable(parts.database, failed, codes, datetime.now(UTC)).tried

    assert [fitting(code) for code in ("5.7", "5.7.1", "550", "552", "4.7", "451", "5.2.2", "5.5")] == [
        3, 2, 3, 1, 1, 1, 1, 0,
    ]  # fmt: skip
    assert fitting("5.7.26", "552") == 2
    assert tried(parts, failed, "5.7") == Retry(3, {"code": 2}, IssueState.sending)
    assert last_event(parts, failed, "retried")[1] == "3 that failed, with 5.7"
    for code in ("5", "57", "2.0.0", "5.7.1.1", "5.7|.*", ""):
        with pytest.raises(NoCode, match="is no code of a failure, such as 550"):
            fitting(code)


def test_what_was_given_up_gets_its_time_anew(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    issue = ready(2)
    query(parts, "UPDATE delivery SET attempts = 100")
    sink.behaviour.faults = [Fault("final", "451 4.3.0 busy", 1.0)]
    send()
    assert counts(parts, issue) == Counts(candidates=2, failed=2)
    assert tried(parts, issue, "4.3").tried == 2
    send()
    assert counts(parts, issue).pending == 2, "deferred, not given up at the first deferral"


def test_what_failed_gets_its_attempts_anew(
    parts: Mailer, failed: int, sink: RunningSink, send: Send
) -> None:
    query(parts, "UPDATE delivery SET attempts = 3, resends = 1")
    tried(parts, failed)
    assert leave.leave(parts.database, Tie(1, failed), "one click", datetime.now(UTC)), (
        "the first one came after all"
    )
    sink.behaviour.faults = [Fault("rcpt", "550 5.7.1 blocked", 1.0)]
    send()
    assert counts(parts, failed) == Counts(candidates=5, sent=1), "refused once, which is not for good"
    assert query(parts, "SELECT max(attempts) FROM delivery") == [(1,)]


def test_a_paused_issue_stays_paused(parts: Mailer, failed: int, send: Send) -> None:
    query(parts, "UPDATE issue SET state = 'paused'")
    assert tried(parts, failed).state is IssueState.paused
    assert send() == 0
    schedule.resume(parts.database, failed, "tests")
    assert send() == 5
    assert state(parts, failed) is IssueState.sent


def test_what_was_never_sent_cannot_be_tried_again(parts: Mailer, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    with pytest.raises(WrongState, match="Issue 1 is draft"):
        settle.retriable(parts.database, issue, [], datetime.now(UTC))
    with pytest.raises(NoSuchDelivery, match="There is no issue 9"):
        settle.retry(parts.database, 9, [], "ann", datetime.now(UTC))


def test_settling_and_retrying_while_workers_send(
    parts: Mailer, ready: Ready, sink: RunningSink, send: Send
) -> None:
    """Nobody waits for another in a circle, and the counts follow the rows."""
    issue = ready(150)
    query(parts, "UPDATE newsletter SET uncertain = 'send_again'")
    sink.behaviour.drop_after = 0.2
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 no such user", 0.1), Fault("final", REFUSED, 0.2)]
    errors: list[BaseException] = []
    stop = threading.Event()

    def repeat(act: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                act()
        except BaseException as error:
            errors.append(error)

    def settle_all() -> None:
        now = datetime.now(UTC)
        settle.retry(parts.database, issue, [], "ann", now)
        found = [found.subscriber for found in settle.look(parts.database, issue, None)]
        settle.settle(parts.database, issue, found[::2], Settlement.again, "ann", "", now)
        for subscriber in found[1::4]:
            slot = next(iter(parts.links.reader_slots(issue, [subscriber])))
            recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
            feedback.receive(parts.database, parts.links, recipient, notice(status="5.2.2"), now)
        assert report.audit(parts.database, issue) == [], "at every moment"

    def work() -> None:
        query(parts, "UPDATE delivery SET due_at = now() WHERE state = 'pending' AND due_at > now()")
        send()

    threads = [threading.Thread(target=repeat, args=(act,)) for act in (settle_all, settle_all, work, work)]
    for thread in threads:
        thread.start()
    time.sleep(6)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    sink.behaviour.drop_after, sink.behaviour.faults = 0.0, []
    due_now(parts)
    send()
    found = counts(parts, issue)
    assert found.pending == 0 and found.candidates == 150


def test_what_was_settled_outlasts_the_readers_data(parts: Mailer, uncertain: int) -> None:
    settled(parts, uncertain, [1, 2], Settlement.sent, "reader2@example.org answered")
    settled(parts, uncertain, [3], Settlement.failed)
    rights.erase(parts.database, parts.tokens.address_hash("reader1@example.org"), datetime.now(UTC))
    long_after = datetime.now(UTC) + timedelta(days=400)
    keep = retention.Keep(requests=0, notes=0, feedback=0, deliveries=365, left=0)
    assert (retention.sweep(parts.database, keep, long_after) or {})["replies"] == 4
    assert (retention.sweep(parts.database, keep, long_after) or {})["replies"] == 0, (
        "the second time nothing"
    )
    assert [row(parts, n)[1] for n in (1, 2, 3, 4)] == ["settled as sent"] * 2 + ["settled as failed", None]
    assert counts(parts, uncertain) == Counts(candidates=5, sent=2, failed=1, uncertain=2)
