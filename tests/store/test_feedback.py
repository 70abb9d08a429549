"""Recording feedback."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.feedback import FeedbackKind
from mailer.store import feedback
from tests.support.locks import wait_for_lock

SAID = "550 5.1.1 no such user"


def test_concurrent_suppressions_of_the_same_addresses_do_not_deadlock(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    addresses = [f"reader{n}@example.org" for n in range(5)]
    # By their ids, the readers stand in the other order than by the hashes of their addresses.
    for address in sorted(addresses, key=app.tokens.address_hash, reverse=True):
        add_subscribers(f"{address};en;")

    def bounced(*readers: int) -> None:
        with app.database.transaction() as session:
            feedback.record_hard_bounces(session, issue, dict.fromkeys(readers, SAID), now)

    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            feedback.record_hard_bounces(session, issue, {5: SAID}, now)
            others = pool.submit(bounced, 1, 2, 3, 4, 5)
            wait_for_lock(session, others)
            feedback.record_hard_bounces(session, issue, {1: SAID}, now)
        others.result(10)


def test_suppression_contains_no_address(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    add_subscribers("ada@example.org;en;")
    with app.database.transaction() as session:
        feedback.record_hard_bounces(session, issue, {1: "550 5.1.1 <ada@example.org> unknown"}, now)
        assert session.scalar(text("SELECT note FROM suppression")) == "550 5.1.1 <…> unknown"


def test_address_change_during_a_send_prevents_the_suppression(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue, now = import_issue("en"), datetime.now(UTC)
    add_subscribers("ada@example.org;en;\nbob@example.org;en;")
    with app.database.transaction() as session:
        moved = text("UPDATE subscriber SET address_changed_at = :at WHERE id = :id")
        session.execute(moved, [{"id": 1, "at": now}, {"id": 2, "at": now - timedelta(days=1)}])
        feedback.record_hard_bounces(session, issue, {1: SAID, 2: SAID}, now)
        assert session.scalar(text("SELECT count(*) FROM feedback")) == 2
        assert list(session.scalars(text("SELECT address_hash FROM suppression"))) == [
            app.tokens.address_hash("bob@example.org")
        ]


FULL = "552 5.2.2 mailbox full"


def add_issue(app: Container, days_ago: int, replies: dict[int, str | None]) -> int:
    """Add an issue that was sent some days ago, with the reply of each subscriber; None: it was accepted."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with app.database.transaction() as session:
        query = """
            INSERT INTO issue (newsletter_id, number, issue_date, state, missing_translations, revision, ready_at)
            SELECT id, :number, now(), 'sent', 'fallback', 1, :at FROM newsletter LIMIT 1 RETURNING id
        """
        issue = session.scalar(text(query), {"number": f"{days_ago} days ago", "at": at}) or 0
        session.execute(text(f"CREATE TABLE delivery_{issue} PARTITION OF delivery FOR VALUES IN ({issue})"))
        query = """
            INSERT INTO delivery (issue_id, subscriber_id, state, last_reply, due_at, finished_at)
            VALUES (:issue, :subscriber, CAST(:state AS delivery_state), :reply, :at, :at)
        """
        for subscriber, reply in replies.items():
            values = {"state": "failed" if reply else "sent", "reply": reply or "250 ok"}
            session.execute(text(query), values | {"issue": issue, "subscriber": subscriber, "at": at})
    return issue


def suppress_refused(app: Container, issue: int, *subscribers: int) -> list[int]:
    with app.database.transaction() as session:
        return feedback.suppress_repeatedly_refused(session, issue, subscribers, datetime.now(UTC))


@pytest.fixture
def two_subscribers(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> None:
    import_issue("en")
    add_subscribers("ada@example.org;en;\nbob@example.org;en;")
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE newsletter SET suppress_after_refused_issues = 3, suppress_after_refused_days = 9")
        )
        session.execute(text("UPDATE subscription SET consent_at = now() - interval '1 year'"))


@pytest.mark.usefixtures("two_subscribers")
def test_repeatedly_refused_address_is_suppressed(app: Container) -> None:
    for days_ago in (14, 7):
        issue = add_issue(app, days_ago, {1: FULL, 2: FULL})
        assert suppress_refused(app, issue, 1, 2) == []
    issue = add_issue(app, 0, {1: "550 <ada@example.org> mailbox unavailable", 2: None})
    assert suppress_refused(app, issue, 1) == [1]
    assert suppress_refused(app, issue, 1) == [], "it is known"
    with app.database.transaction() as session:
        row = session.execute(text("SELECT * FROM suppression")).one()
    assert (row.address_hash, row.reason, row.source) == (
        app.tokens.address_hash("ada@example.org"),
        "repeated_refusals",
        "system",
    )
    assert row.note.startswith("refused 3 issues since ")
    assert row.note.endswith("the last one with: 550 <…> mailbox unavailable")


@pytest.mark.usefixtures("two_subscribers")
def test_success_bounces_and_consent_affect_repeated_refusals(app: Container) -> None:
    add_issue(app, 21, {1: FULL, 2: FULL})
    accepted = add_issue(app, 14, {1: None, 2: None})
    add_issue(app, 7, {1: FULL, 2: FULL})
    last = add_issue(app, 0, {1: FULL, 2: FULL})
    assert suppress_refused(app, last, 1, 2) == []
    with app.database.transaction() as session:
        for subscriber in (1, 2):
            feedback.add(
                session, FeedbackKind.bounce, datetime.now(UTC), 1, accepted, subscriber, {"reply": "5.2.2 full"}
            )
        query = """
            INSERT INTO consent (subscriber_id, newsletter_id, kind, given, channel, at)
            SELECT 2, 1, 'subscribe', true, 'sign_up_form', now() - interval '10 days'
        """
        session.execute(text(query))
    assert suppress_refused(app, last, 1, 2) == [1]


def test_bounces_are_counted_by_issue(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers("ada@example.org;en;\nbob@example.org;en;\ncy@example.org;en;")
    issue = add_issue(app, 1, {1: None, 2: None, 3: SAID})
    at = datetime(2026, 9, 30, tzinfo=UTC)
    with app.database.transaction() as session:
        for subscriber in (1, 3):
            feedback.add(session, FeedbackKind.bounce, at, 1, issue, subscriber, {"reply": SAID})
        session.flush()
        assert feedback.count_bounced(session, issue) == 1
        assert feedback.bounce(session, issue, 1) == (at, SAID)
        assert feedback.bounce(session, issue, 2) is None
