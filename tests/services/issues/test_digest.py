"""Monthly digests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.findings import FindingKind
from mailer.services.delivery import dispatch, expand, monitor, resolve
from mailer.services.issues import compile, digest, report, schedule
from tests.support.emails import html_body
from tests.support.explained import explain_delivery
from tests.support.transactional import emails_to

FIRST = datetime(2026, 10, 1, 6, tzinfo=UTC)
ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture
def september(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> int:
    """An issue that went out in September, to one of two readers."""
    issue = import_issue("en", "bs")
    add_subscribers(f"{ADA};bs;\n{BOB};en;water-and-rivers")
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'monthly' WHERE subscriber_id = 1"))
    prepare(issue)
    send()
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-09-14 10:00+00'"))
    return issue


def make(app: Container, now: datetime = FIRST) -> list[int]:
    return digest.create_due_digests(app.database, now, app.transactional_renderer.digest_texts)


@pytest.fixture
def expand_digest(app: Container) -> Callable[[int], None]:
    """Return a function that starts a digest and creates its deliveries."""

    def run(issue: int) -> None:
        at = issues_at(app, issue)
        assert dispatch.start_due(app.database, at, 10) == [issue]
        while expand.expand_next(app.database, issue, at):
            pass

    return run


def issues_at(app: Container, issue: int) -> datetime:
    """Return when a digest was scheduled."""
    at = report.status(app.database, issue, FIRST).scheduled_at
    assert at
    return at


@pytest.fixture
def send_digest(app: Container, expand_digest: Callable[[int], None], send: Callable[[], int]) -> Callable[[int], None]:
    """Return a function that sends a digest made in the past to everybody."""

    def run(issue: int) -> None:
        expand_digest(issue)
        while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
            pass
        assert dispatch.open_for_sending(app.database, issue, FIRST, app.tokens.address_hash)
        send()

    return run


def test_digest_contains_the_month_in_one_email(
    app: Container, inbox: InboxServer, september: int, send_digest: Callable[[int], None]
) -> None:
    assert [mail.recipients[0] for mail in inbox.messages()] == [BOB]
    assert report.skipped_by_reason(app.database, september) == {"digest_only": 1}
    (issue,) = make(app)
    assert make(app) == []
    send_digest(issue)
    (mail,) = emails_to(inbox, ADA)
    assert mail["Content-Language"] == "bs"
    assert mail["Subject"] == "Tromjesečni bilten sliva Lumena: septembar 2026."
    assert "Devet" in html_body(mail)
    assert report.status(app.database, issue, FIRST).counts.candidates == 1
    assert report.audit(app.database, issue) == []


def test_digest_contains_all_stories(app: Container, september: int) -> None:
    with app.database.transaction() as session:
        session.execute(text("UPDATE story_translation SET picture_credit = 'Photo: ' || headline"))
    (issue,) = make(app)
    query = """
        SELECT c.key, t.language, t.headline, t.body, t.alt, t.picture_credit, t.link, s.picture_id, count(k.contact_id)
        FROM story s JOIN section c ON c.id = s.section_id JOIN story_translation t ON t.story_id = s.id
        LEFT JOIN contact_story k ON k.story_id = s.id
        WHERE s.issue_id = :issue GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, s.position ORDER BY s.position, 2
    """
    with app.database.transaction() as session:
        copies, originals = (session.execute(text(query), {"issue": n}).all() for n in (issue, september))
    assert sorted(map(str, copies)) == sorted(map(str, originals))
    assert len(copies) > 10


def test_no_digest_without_readers_or_before_the_month_ends(app: Container, september: int) -> None:
    assert september
    assert make(app, datetime(2026, 9, 30, 23, tzinfo=UTC)) == []
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET skip_reason = 'paused' WHERE skip_reason = 'digest_only'"))
    assert make(app) == []


def test_missed_digest_is_made_up_and_ops_are_told(app: Container, september: int) -> None:
    assert september
    now = datetime(2026, 10, 5, 7, tzinfo=UTC)
    (issue,) = make(app, now)
    assert report.events(app.database, issue)[-1][3].endswith("stories of 2026/3, 4 days late")
    assert make(app, now) == []
    shown = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, now)
    assert [(late.issue, late.days) for late in shown.late_digests] == [(issue, 4)]


def test_staff_see_what_a_digest_holds(app: Container, september: int, send_digest: Callable[[int], None]) -> None:
    assert explain_delivery(app, september, ADA).sentences[-1] == "It waits for their next digest."
    (issue,) = make(app)
    assert [row[7] for row in report.list_issues(app.database)] == [["2026/3"], []]
    shown = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, FIRST)
    assert shown.issues[0].digest_of == ["2026/3"]
    assert "It is a digest. For them it holds 2026/3." in explain_delivery(app, issue, ADA).sentences
    send_digest(issue)
    assert report.held_by_digests(app.database, september) == {issue: 1}
    (held,) = [line for line in explain_delivery(app, september, ADA).sentences if "in digest" in line]
    assert held.startswith(f"It is in digest {issue} (2026-09), which is sent on ")
    assert "It is a digest. It holds nothing for them." in explain_delivery(app, issue, BOB).sentences


def test_digest_is_looked_over_like_an_issue(app: Container, september: int, caplog: pytest.LogCaptureFixture) -> None:
    assert september
    (issue,) = make(app)
    assert not any(finding.blocks for finding in digest.look_over(app.database, app.renderer, app.urls, "", issue))
    with app.database.transaction() as session:
        session.execute(text("UPDATE story_translation SET body = repeat('All the news there is. ', 300)"))
    findings = digest.look_over(app.database, app.renderer, app.urls, "", issue)
    assert FindingKind.clipped_by_gmail in {finding.kind for finding in findings}
    assert any("Gmail will cut" in event[3] for event in report.events(app.database, issue))
    assert {record.name for record in caplog.records} == {"mailer"}


def test_stories_without_a_translation_follow_the_policy_of_their_issue(
    app: Container, inbox: InboxServer, september: int, send_digest: Callable[[int], None]
) -> None:
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET missing_translations = 'omit' WHERE id = :id"), {"id": september})
        session.execute(
            text(
                "DELETE FROM story_translation WHERE language = 'bs'"
                " AND story_id > (SELECT min(id) FROM story WHERE issue_id = :id)"
            ),
            {"id": september},
        )
    (issue,) = make(app)
    send_digest(issue)
    with app.database.transaction() as session:
        query = text("SELECT language, story_count, fallback_count FROM edition WHERE sources = 1")
        assert session.execute(query).all() == [("bs", 1, 0)]
    assert len(emails_to(inbox, ADA)) == 1


def test_each_issue_is_in_one_digest(app: Container, september: int, send_digest: Callable[[int], None]) -> None:
    (issue,) = make(app)
    send_digest(issue)
    with app.database.transaction() as session:
        held = session.execute(text("SELECT issue_id, subscriber_id, digest_id FROM delivery WHERE digest_id > 0"))
        assert held.all() == [(september, 1, issue)]
    assert make(app, datetime(2026, 11, 1, tzinfo=UTC)) == []


def test_reader_who_wants_each_issue_again_gets_what_they_missed(
    app: Container, inbox: InboxServer, september: int, send_digest: Callable[[int], None]
) -> None:
    assert september
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'each' WHERE subscriber_id = 1"))
        session.execute(text("UPDATE subscription SET frequency = 'monthly' WHERE subscriber_id = 2"))
    (issue,) = make(app)
    send_digest(issue)
    assert len(emails_to(inbox, ADA)) == 1
    assert len(emails_to(inbox, BOB)) == 1, "the issue itself"


def test_cancelled_digest_leaves_its_issues_to_the_next_one(
    app: Container, september: int, expand_digest: Callable[[int], None]
) -> None:
    (issue,) = make(app)
    expand_digest(issue)
    assert schedule.cancel(app.database, issue, "ann", FIRST) == 1
    (other,) = make(app, datetime(2026, 11, 1, 6, tzinfo=UTC))
    expand_digest(other)
    with app.database.transaction() as session:
        query = text("SELECT digest_id FROM delivery WHERE issue_id = :issue AND subscriber_id = 1")
        assert session.scalar(query, {"issue": september}) == other
    assert report.audit(app.database, issue) == report.audit(app.database, other) == []


def test_cancelling_a_digest_before_its_expansion(app: Container, september: int) -> None:
    assert september
    (issue,) = make(app)
    dispatch.start_due(app.database, FIRST, 10)
    assert schedule.cancel(app.database, issue, "ann", FIRST) == 1
    assert report.audit(app.database, issue) == []
    assert make(app, datetime(2026, 11, 1, tzinfo=UTC))


def test_digest_has_an_hour_on_the_readers_own_clock(
    app: Container, september: int, expand_digest: Callable[[int], None]
) -> None:
    assert september
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscriber SET time_zone = 'America/New_York'"))
    (issue,) = make(app)
    expand_digest(issue)
    query = text("SELECT due_at FROM delivery WHERE issue_id = :issue")
    with app.database.transaction() as session:
        assert session.scalars(query, {"issue": issue}).all() == [datetime(2026, 10, 1, 13, tzinfo=UTC)]


@pytest.mark.parametrize("end", [schedule.pause, schedule.cancel])
def test_issue_stays_in_its_month_after_a_retry(app: Container, september: int, end: Callable[..., object]) -> None:
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET state = 'failed' WHERE state = 'sent'"))
        session.execute(text("UPDATE batch SET sent = 0, failed = 1"))
    assert resolve.retry(app.database, september, [], "ann", FIRST).retried == 1
    end(app.database, september, "ann", *([FIRST] if end is schedule.cancel else []))
    assert make(app)


def test_digest_waits_a_day_for_an_issue_that_is_not_sent_yet(app: Container, september: int) -> None:
    """An issue that is sent still later is in the next digest."""
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'paused', finished_at = NULL"))
        session.execute(text("DELETE FROM issue_event WHERE kind = 'sent'"))
    next_day = FIRST + timedelta(days=1)
    assert make(app) == make(app, next_day) == []
    schedule.resume(app.database, september, "ann")
    assert make(app) == []
    assert dispatch.finish_done(app.database, FIRST) == [september]
    assert make(app)


def test_previous_month_of_january(app: Container, september: int) -> None:
    assert september
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-12-31 23:59+00'"))
    (issue,) = make(app, datetime(2027, 1, 1, tzinfo=UTC))
    with app.database.transaction() as session:
        assert str(session.scalar(text("SELECT digest_month FROM issue WHERE id = :id"), {"id": issue})) == "2026-12-01"
