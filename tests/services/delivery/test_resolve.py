"""Resolving uncertain deliveries, manually and by evidence, and retrying failed ones."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.consents import ConsentChannel
from mailer.domain.errors import IssueNotFound
from mailer.domain.personal_data import RetentionCategory
from mailer.domain.resolution import InvalidReplyCode, Resolution
from mailer.domain.states import DeliveryState, Frequency, InvalidIssueState, IssueState, SkipReason
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.domain.suppressions import SuppressionReason
from mailer.services.accounts import audit
from mailer.services.delivery import dispatch, resolve
from mailer.services.delivery.resolve import DeliveryNotFound, RetryPlan
from mailer.services.delivery.send.recorder import record
from mailer.services.feedback import bounces
from mailer.services.issues import report, schedule
from mailer.services.issues.report import DeliveryCounts
from mailer.services.maintenance import retention
from mailer.services.subscribers import personal_data, preferences, unsubscribe
from mailer.services.subscribers.preferences import Profile
from mailer.settings import Settings
from mailer.store import archive, batches, ledger
from mailer.store.ledger import DeliveryUpdate
from tests.services.feedback.test_bounces import notice, words
from tests.support.explained import explain_delivery
from tests.support.locks import wait_for_lock
from tests.support.smtp_sink import SinkServer

Ready = Callable[..., int]
Send = Callable[[], int]
REFUSED = "554 5.3.0 not today"


@pytest.fixture
def settings(settings: Settings, sink: SinkServer) -> Settings:
    return settings.model_copy(update={"smtp_port": sink.port, "smtp_connections": 1, "batch_size": 3})


@pytest.fixture
def ready(prepared_issue: Callable[..., int]) -> Ready:
    """An issue with that many readers, expanded and rendered; their ids count from 1."""

    def run(count: int) -> int:
        return prepared_issue(
            "\n".join(f"reader{n}@example.org;en;trade-and-crossings" for n in range(1, count + 1)), "en"
        )

    return run


@pytest.fixture
def uncertain(ready: Ready, sink: SinkServer, send: Send) -> int:
    """An issue that was sent to five readers; the relay took each mail and hung up without an answer."""
    issue = ready(5)
    sink.behaviour.drop_after = 1.0
    send()
    sink.behaviour.drop_after = 0.0
    return issue


@pytest.fixture
def failed(ready: Ready, sink: SinkServer, send: Send) -> int:
    """An issue that was sent to five readers, and refused for each."""
    issue = ready(5)
    sink.behaviour.faults = [Fault("final", REFUSED, 1.0)]
    send()
    sink.behaviour.faults = []
    return issue


def query(app: Container, statement: str, **values: object) -> list[tuple[object, ...]]:
    with app.database.transaction() as session:
        rows = session.connection().execute(text(statement), values)
        return [tuple(row) for row in rows] if rows.returns_rows else []


def counts(app: Container, issue: int) -> DeliveryCounts:
    assert report.audit(app.database, issue) == []
    return report.status(app.database, issue, datetime.now(UTC)).counts


def state(app: Container, issue: int) -> IssueState:
    return report.status(app.database, issue, datetime.now(UTC)).state


def row(app: Container, subscriber: int) -> tuple[object, ...]:
    columns = "state::text, last_reply, resolution::text, resolution_source::text, resolved_by, resolution_note"
    return query(app, f"SELECT {columns} FROM delivery WHERE subscriber_id = :s", s=subscriber)[0]


def settled(
    app: Container, issue: int, subscribers: list[int], settlement: Resolution, why: str = "the relay's log"
) -> int:
    return resolve.resolve(app.database, issue, subscribers, settlement, "ann", why, datetime.now(UTC))


def last_event(app: Container, issue: int, what: str) -> tuple[str, str]:
    """(who, detail)"""
    found = [event for event in report.events(app.database, issue) if event[2] == what]
    return found[-1][1], found[-1][3]


def due_now(app: Container) -> None:
    """As if the time of the next attempt had come."""
    query(app, "UPDATE delivery SET due_at = now() - interval '1 second' WHERE state = 'pending'")
    query(app, "UPDATE batch SET due_at = now() - interval '1 second' WHERE state = 'ready'")


@pytest.mark.parametrize("settlement", [Resolution.sent, Resolution.failed])
def test_manual_resolution_is_recorded(app: Container, uncertain: int, settlement: Resolution) -> None:
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, uncertain=5)
    assert settled(app, uncertain, [2, 4], settlement) == 2
    assert settled(app, uncertain, [2, 4], settlement) == 0
    (event,) = audit.search(app.database, AuditAction.deliveries_resolved, "ann", None)
    assert (event.object_kind, event.object_id) == ("issue", uncertain)
    assert event.detail == {"deliveries": 2, "outcome": settlement.value, "reason": "the relay's log"}
    found = counts(app, uncertain)
    assert (found.uncertain, getattr(found, settlement.value)) == (3, 2)
    before = row(app, 1)[1]
    assert before
    assert row(app, 2) == (
        settlement.value,
        before,
        settlement.value,
        "staff",
        "ann",
        "the relay's log",
    ), "the last reply stays the relay's"
    assert last_event(app, uncertain, "resolved") == (
        "ann",
        f"2 as {settlement.value}: the relay's log (subscriber 2, 4)",
    )
    assert state(app, uncertain) is IssueState.sent, "nothing is to be sent"
    assert settled(app, uncertain, [2, 4], Resolution.resend) == 0, "it is settled already"
    address = "reader2@example.org"
    told = explain_delivery(app, uncertain, address)
    assert f"It was marked as {settlement.value} by ann" in " ".join(told.sentences)


def test_resend_has_the_same_message_id(app: Container, uncertain: int, sink: SinkServer, send: Send) -> None:
    closed = report.status(app.database, uncertain, datetime.now(UTC)).finished_at
    assert settled(app, uncertain, [2], Resolution.resend) == 1
    assert state(app, uncertain) is IssueState.sending, "an issue that was sent goes on"
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, uncertain=4)
    address = "reader2@example.org"
    told = explain_delivery(app, uncertain, address)
    assert "It is queued for resending by ann" in " ".join(told.sentences)
    assert send() == 1
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 2, 3, 4, 5]
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, sent=1, uncertain=4)
    assert state(app, uncertain) is IssueState.sent, "and ends by itself"
    assert report.status(app.database, uncertain, datetime.now(UTC)).finished_at == closed
    assert report.count_resent(app.database, uncertain) == 1
    told = explain_delivery(app, uncertain, address)
    assert "may have received it twice" in " ".join(told.sentences)


def test_cancelled_issue_is_not_resent(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(3)
    sink.behaviour.drop_after = 1.0
    for batch, _ in dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 9):
        app.send_worker.send_batch(batch)
    schedule.cancel(app.database, issue, "tests", datetime.now(UTC))
    for act in (
        lambda: settled(app, issue, [1], Resolution.resend),
        lambda: resolve.retry(app.database, issue, [], "ann", datetime.now(UTC)),
    ):
        with pytest.raises(InvalidIssueState, match="Issue 1 is cancelled: its deliveries cannot be sent again"):
            act()
    assert counts(app, issue) == DeliveryCounts(candidates=3, uncertain=3)
    assert settled(app, issue, [1], Resolution.sent) == 1
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=1, uncertain=2)


def test_only_uncertain_deliveries_are_resolved(app: Container, uncertain: int) -> None:
    settled(app, uncertain, [2], Resolution.sent)

    def look(*addresses: str) -> list[int]:
        asked = {address: app.tokens.address_hash(address) for address in addresses}
        return [found.subscriber for found in resolve.preview(app.database, uncertain, asked)]

    assert look("reader3@example.org", "reader1@example.org") == [3, 1]
    with pytest.raises(DeliveryNotFound, match=r"to reader2@example\.org is sent, not uncertain. Nothing was done\."):
        look("reader1@example.org", "reader2@example.org")
    with pytest.raises(DeliveryNotFound, match=r"Issue 1 has no delivery to nobody@example\.org"):
        look("nobody@example.org")
    with pytest.raises(IssueNotFound, match="There is no issue 9"):
        resolve.preview(app.database, 9, None)
    assert [found.subscriber for found in resolve.preview(app.database, uncertain, None)] == [1, 3, 4, 5]


def test_delivery_in_a_claimed_batch_is_resolved(app: Container, uncertain: int, sink: SinkServer, send: Send) -> None:
    settled(app, uncertain, [1], Resolution.resend)
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        claim = batches.claim(session, 1, app.journals.worker, lease)
        assert claim
        batches.renew_lease(session, claim, lease)
        assert [one.subscriber for one in ledger.reserve(session, claim, claim.first_subscriber_id, 10)[0]] == [1]
    assert settled(app, uncertain, [2], Resolution.resend) == 1
    assert settled(app, uncertain, [3], Resolution.failed) == 1
    with app.database.transaction() as session:
        batches.release(session, claim)
    assert query(app, "SELECT state::text FROM batch WHERE id = 1") == [("ready",)]
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, failed=1, uncertain=2)


RETURNED = {
    "a bounce that is no reader's fault": (
        notice(status="5.2.2", said="smtp; 552 5.2.2 full", recipient="reader2@example.org"),
        "failed",
        False,
    ),
    "a bounce of a bad address": (notice(recipient="reader2@example.org"), "failed", True),
    "a bounce behind a forward": (notice(recipient="b@elsewhere.example"), "sent", False),
    "a delay": (notice(action="delayed", status="4.4.1"), "sent", False),
    "a confirmation": (notice(action="delivered", status="2.0.0"), "sent", False),
    "an answer from a machine": (words("Out of office", Auto_Submitted="auto-replied"), "sent", False),
}


@pytest.mark.parametrize("what", RETURNED)
def test_returned_mail_resolves(app: Container, uncertain: int, what: str) -> None:
    message, became, suppressed = RETURNED[what]
    slot = next(iter(app.urls.subscriber_slots(uncertain, [2])))
    recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
    said = bounces.receive(app.database, app.urls, recipient, message, datetime.now(UTC))
    assert said.endswith("an uncertain delivery is settled")
    found = counts(app, uncertain)
    assert (found.uncertain, getattr(found, became)) == (4, 1)
    assert row(app, 2)[0] == became
    assert last_event(app, uncertain, "resolved")[0] == ""
    assert bool(query(app, "SELECT FROM suppression")) is suppressed
    again = bounces.receive(app.database, app.urls, recipient, message, datetime.now(UTC))
    assert "settled" not in again
    assert counts(app, uncertain) == found


def choose_monthly(app: Container, ref: SubscriptionRef) -> Profile | None:
    now = datetime.now(UTC)
    found = preferences.profile(app.database, ref, now)
    assert found
    wanted = replace(found.preferences, languages=found.languages, frequency=Frequency.monthly)
    return preferences.save(app.database, ref, wanted, LinkKind.mail, now)


USES = {
    "leaving": lambda parts, tie: unsubscribe.unsubscribe(
        parts.database, tie, ConsentChannel.one_click, datetime.now(UTC)
    ),
    "leaving everything": lambda parts, tie: unsubscribe.unsubscribe_all(
        parts.database, tie, LinkKind.mail, datetime.now(UTC)
    ),
    "leaving by mail": lambda parts, tie: bounces.receive(
        parts.database,
        parts.urls,
        f"unsubscribe+{next(iter(parts.urls.subscriber_slots(tie.issue, [2]))).mail_unsubscribe}@example.org",
        b"",
        datetime.now(UTC),
    ),
    "fewer": lambda parts, tie: choose_monthly(parts, tie),
    "a pause": lambda parts, tie: preferences.pause(parts.database, tie, 4, LinkKind.mail, datetime.now(UTC)),
    "the way to everything": lambda parts, tie: preferences.send_magic_link(
        parts.database, tie, datetime.now(UTC), hash_mailbox=parts.tokens.mailbox_hash, requester=parts.requester("")
    ),
}


@pytest.mark.parametrize("use", USES)
def test_link_click_resolves_as_sent(app: Container, uncertain: int, use: str) -> None:
    assert preferences.profile(app.database, SubscriptionRef(2, uncertain), datetime.now(UTC))
    assert counts(app, uncertain).sent == 0, "looking changes nothing: it may be a machine that looks"
    assert USES[use](app, SubscriptionRef(2, uncertain))
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, sent=1, uncertain=4)
    assert row(app, 2)[2:] == ("sent", "link", None, None)


def test_proof_of_delivery_prevents_a_resend(app: Container, uncertain: int, sink: SinkServer, send: Send) -> None:
    settled(app, uncertain, [2, 3], Resolution.resend)
    assert unsubscribe.unsubscribe(
        app.database, SubscriptionRef(2, uncertain), ConsentChannel.one_click, datetime.now(UTC)
    )
    assert send() == 1
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 3, 3, 4, 5]
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, sent=2, uncertain=3)
    assert state(app, uncertain) is IssueState.sent


def test_bounce_before_the_lease_expired_resolves(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(3)
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        claim = batches.claim(session, 1, "a worker on another host", lease)
        assert claim
        batches.renew_lease(session, claim, lease)
        assert len(ledger.reserve(session, claim, claim.first_subscriber_id, 10)[0]) == 3
    slots = list(app.urls.subscriber_slots(issue, [1, 2]))
    for slot, message in zip(slots, (notice(status="5.2.2"), notice("delayed", "4.4.1")), strict=True):
        recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
        bounces.receive(app.database, app.urls, recipient, message, datetime.now(UTC))
    assert counts(app, issue) == DeliveryCounts(candidates=3), "they are with a worker, as far as anybody knows"
    query(app, "UPDATE batch SET lease_until = now() - interval '1 second'")
    assert send() == 0
    assert counts(app, issue) == DeliveryCounts(candidates=3, failed=1, sent=1, uncertain=1)


def test_bounce_during_recording_resolves(app: Container, ready: Ready) -> None:
    issue, now = ready(3), datetime.now(UTC)
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        claim = batches.claim(session, 1, app.journals.worker, lease)
        assert claim
        ledger.reserve(session, claim, claim.first_subscriber_id, 10)
    bounce = f"bounce+{next(iter(app.urls.subscriber_slots(issue, [2]))).bounce}@lumen-basin.example.org"
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            batches.renew_lease(session, claim, lease)
            verdicts = [DeliveryUpdate(2, DeliveryState.uncertain, "no answer after the final dot")]
            record(session, claim, verdicts, claim.epoch, now)
            received = pool.submit(
                bounces.receive, app.database, app.urls, bounce, notice(recipient="reader2@example.org"), now
            )
            wait_for_lock(session, received)
        assert received.result(10) == "bounce, suppressed; an uncertain delivery is settled"
    assert row(app, 2)[0] == "failed"


def test_resend_policy_of_the_newsletter(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(2)
    query(app, "UPDATE newsletter SET uncertain_policy = 'resend'")
    sink.behaviour.drop_after = 1.0
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=2), "both are due again"
    assert "2 queued for resending: the newsletter's settings" in last_event(app, issue, "resolved")[1]
    assert send() == 0, "not at once: a bounce may still settle it"
    due_now(app)
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=2, uncertain=2), "once more, not for ever"
    assert sorted(sink.accepted(app.tokens)) == [1, 1, 2, 2]
    assert report.count_resent(app.database, issue) == 2
    assert state(app, issue) is IssueState.sent


def test_resend_policy_applies_to_a_lost_worker(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(3)
    query(app, "UPDATE newsletter SET uncertain_policy = 'resend'")
    lease = timedelta(minutes=1)
    with app.database.transaction() as session:
        claim = batches.claim(session, 1, "a worker on another host", lease)
        assert claim
        batches.renew_lease(session, claim, lease)
        ledger.reserve(session, claim, claim.first_subscriber_id, 10)
    query(app, "UPDATE batch SET lease_until = now() - interval '1 second'")
    assert send() == 0
    due_now(app)
    assert send() == 3
    assert counts(app, issue) == DeliveryCounts(candidates=3, sent=3)
    assert report.count_resent(app.database, issue) == 3


def tried(app: Container, issue: int, *codes: str) -> RetryPlan:
    look = resolve.plan_retry(app.database, issue, codes, datetime.now(UTC))
    done = resolve.retry(app.database, issue, codes, "ann", datetime.now(UTC))
    assert (look.retried, look.ineligible, look.other_code) == (
        done.retried,
        done.ineligible,
        done.other_code,
    ), "it does what it said it would"
    return done


def test_failed_deliveries_are_retried(app: Container, failed: int, sink: SinkServer, send: Send) -> None:
    assert counts(app, failed) == DeliveryCounts(candidates=5, failed=5)
    assert state(app, failed) is IssueState.sent
    assert tried(app, failed) == RetryPlan(5, {}, 0, IssueState.sending)
    assert last_event(app, failed, "retried") == ("ann", "5 that failed")
    (event,) = audit.search(app.database, AuditAction.deliveries_retried, "ann", None)
    assert (event.object_kind, event.object_id, event.detail) == ("issue", failed, {"deliveries": 5})
    assert counts(app, failed) == DeliveryCounts(candidates=5)
    assert tried(app, failed).retried == 0, "the same twice tries once"
    assert query(app, "SELECT DISTINCT state::text, is_retry FROM batch") == [("ready", True)]
    assert send() == 5
    assert counts(app, failed) == DeliveryCounts(candidates=5, sent=5)
    assert sorted(sink.accepted(app.tokens)) == [1, 2, 3, 4, 5]
    assert state(app, failed) is IssueState.sent
    assert report.count_resent(app.database, failed) == 0, "it is known that the first one did not come"
    assert tried(app, failed) == RetryPlan(0, {}, 0, IssueState.sent)


def test_sent_issue_stays_in_the_archive_during_a_retry(app: Container, failed: int) -> None:
    def found() -> list[int]:
        with app.database.transaction() as session:
            return [issue.id for issue in archive.sent(session, 1)]

    assert found() == [failed]
    tried(app, failed)
    assert found() == [failed]
    assert schedule.cancel(app.database, failed, "ann", datetime.now(UTC)) == 5
    assert counts(app, failed) == DeliveryCounts(candidates=5, skipped=5)
    assert found() == [failed]


def test_ineligible_subscribers_are_not_retried(app: Container, failed: int, sink: SinkServer, send: Send) -> None:
    bounces.suppress(app.database, [app.tokens.address_hash("reader1@example.org")], SuppressionReason.complaint)
    unsubscribe.unsubscribe(app.database, SubscriptionRef(2, failed), ConsentChannel.one_click, datetime.now(UTC))
    preferences.pause(app.database, SubscriptionRef(3, failed), 4, LinkKind.mail, datetime.now(UTC))
    choose_monthly(app, SubscriptionRef(4, failed))
    left = dict.fromkeys((SkipReason.digest_only, SkipReason.paused, SkipReason.suppressed, SkipReason.unsubscribed), 1)
    assert tried(app, failed) == RetryPlan(1, left, 0, IssueState.sending)
    assert send() == 1
    assert counts(app, failed) == DeliveryCounts(candidates=5, sent=1, failed=4)


def test_hard_bounce_is_not_retried(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(3)
    sink.behaviour.faults = [Fault("rcpt", "550 5.1.1 no such user", 1.0)]
    send()
    assert tried(app, issue) == RetryPlan(0, {SkipReason.suppressed: 3}, 0, IssueState.sent)
    assert state(app, issue) is IssueState.sent, "it is not opened for nothing"


def test_retry_by_reply_code(app: Container, failed: int) -> None:
    replies = {
        1: "550 5.7.1 blocked",
        2: "550 5.7.26 no DKIM, see 552",
        3: "451 4.7.0 later",
        4: "5.7.1 550 5.7.1 spam",
        5: "552 5.2.2 full",
    }
    for subscriber, reply in replies.items():
        query(app, "UPDATE delivery SET last_reply = :r WHERE subscriber_id = :s", r=reply, s=subscriber)

    def fitting(*codes: str) -> int:
        return resolve.plan_retry(app.database, failed, codes, datetime.now(UTC)).retried

    assert [fitting(code) for code in ("5.7", "5.7.1", "550", "552", "4.7", "451", "5.2.2", "5.5")] == [
        3, 2, 3, 1, 1, 1, 1, 0,
    ]  # fmt: skip
    assert fitting("5.7.26", "552") == 2
    assert tried(app, failed, "5.7") == RetryPlan(3, {}, 2, IssueState.sending)
    assert last_event(app, failed, "retried")[1] == "3 that failed, with 5.7"
    for code in ("5", "57", "2.0.0", "5.7.1.1", "5.7|.*", ""):
        with pytest.raises(InvalidReplyCode, match="is not a failure code such as 550"):
            fitting(code)


def test_retry_restarts_the_queue_lifetime(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    issue = ready(2)
    query(app, "UPDATE delivery SET attempts = 100")
    sink.behaviour.faults = [Fault("final", "451 4.3.0 busy", 1.0)]
    send()
    assert counts(app, issue) == DeliveryCounts(candidates=2, failed=2)
    assert tried(app, issue, "4.3").retried == 2
    send()
    assert counts(app, issue).pending == 2, "deferred, not given up at the first deferral"


def test_retry_resets_the_attempts(app: Container, failed: int, sink: SinkServer, send: Send) -> None:
    query(app, "UPDATE delivery SET attempts = 3, resends = 1")
    tried(app, failed)
    assert unsubscribe.unsubscribe(
        app.database, SubscriptionRef(1, failed), ConsentChannel.one_click, datetime.now(UTC)
    ), "the first one came after all"
    sink.behaviour.faults = [Fault("rcpt", "550 5.7.1 blocked", 1.0)]
    send()
    assert counts(app, failed) == DeliveryCounts(candidates=5, sent=1), "refused once, which is not for good"
    assert query(app, "SELECT max(attempts) FROM delivery") == [(1,)]


def test_a_paused_issue_stays_paused(app: Container, failed: int, send: Send) -> None:
    query(app, "UPDATE issue SET state = 'paused'")
    assert tried(app, failed).state is IssueState.paused
    assert send() == 0
    schedule.resume(app.database, failed, "tests")
    assert send() == 5
    assert state(app, failed) is IssueState.sent


def test_unsent_issue_cannot_be_retried(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    with pytest.raises(InvalidIssueState, match="Issue 1 is draft"):
        resolve.plan_retry(app.database, issue, [], datetime.now(UTC))
    with pytest.raises(IssueNotFound, match="There is no issue 9"):
        resolve.retry(app.database, 9, [], "ann", datetime.now(UTC))


def test_resolving_and_retrying_while_workers_send(app: Container, ready: Ready, sink: SinkServer, send: Send) -> None:
    """Nobody waits for another in a circle, and the counts follow the rows."""
    issue = ready(150)
    query(app, "UPDATE newsletter SET uncertain_policy = 'resend'")
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
        resolve.retry(app.database, issue, [], "ann", now)
        found = [found.subscriber for found in resolve.preview(app.database, issue, None)]
        resolve.resolve(app.database, issue, found[::2], Resolution.resend, "ann", "", now)
        for subscriber in found[1::4]:
            slot = next(iter(app.urls.subscriber_slots(issue, [subscriber])))
            recipient = f"bounce+{slot.bounce}@lumen-basin.example.org"
            bounces.receive(app.database, app.urls, recipient, notice(status="5.2.2"), now)
        assert report.audit(app.database, issue) == [], "at every moment"

    def work() -> None:
        query(app, "UPDATE delivery SET due_at = now() WHERE state = 'pending' AND due_at > now()")
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
    due_now(app)
    send()
    found = counts(app, issue)
    assert found.pending == 0 and found.candidates == 150


def test_resolution_is_kept_after_an_erasure(app: Container, uncertain: int) -> None:
    settled(app, uncertain, [1, 2], Resolution.sent, "reader2@example.org answered")
    settled(app, uncertain, [3], Resolution.failed)
    personal_data.erase(app.database, app.tokens.address_hash("reader1@example.org"), datetime.now(UTC))
    long_after = datetime.now(UTC) + timedelta(days=400)
    keep = retention.RetentionPolicy(
        request_days=0, transactional_days=0, feedback_days=0, delivery_days=365, inactive_days=0
    )
    assert (retention.run(app.database, keep, long_after) or {})[RetentionCategory.replies] == 4
    assert (retention.run(app.database, keep, long_after) or {})[RetentionCategory.replies] == 0, (
        "the second time nothing"
    )
    kept = [(None, resolution, "staff", None, None) for resolution in ("sent", "sent", "failed")]
    assert [row(app, n)[1:] for n in (1, 2, 3)] == kept
    assert row(app, 4)[1] is None
    assert counts(app, uncertain) == DeliveryCounts(candidates=5, sent=2, failed=1, uncertain=2)
